package api

import (
	"context"
	"io"
	"strings"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// maxMedia bounds a file; the largest that WeChat takes has 10 MB.
const maxMedia = 11 << 20

type mediaAnswer struct {
	MediaID       string `json:"media_id"`
	ExpiresUnixMS int64  `json:"expires_unix_ms"`
	SHA256        string `json:"sha256"`
	// Cached is true when the same bytes had been uploaded before.
	Cached bool `json:"cached"`
}

// uploadMedia takes the file as the body.
func (a *api) uploadMedia(ctx context.Context, c *call) (any, error) {
	kind := senderv1.MediaType_value["MEDIA_TYPE_"+strings.ToUpper(query(c.URL, "type"))]
	if kind == 0 {
		return nil, invalid("type", "is required in the query: image, voice, video or thumb")
	}
	file, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, readFault(err)
	}
	if len(file) == 0 {
		return nil, invalid("", "the body must be the file")
	}
	in := &senderv1.UploadMediaRequest{Account: c.account, Type: senderv1.MediaType(kind), Filename: query(c.URL, "filename"), Content: file}
	c.request = in
	done, err := a.Sender.UploadMedia(ctx, in)
	if err != nil {
		return nil, err
	}
	return mediaAnswer{MediaID: done.GetMediaId(), ExpiresUnixMS: done.GetExpiresUnixMs(), SHA256: done.GetSha256(), Cached: done.GetCached()}, nil
}
