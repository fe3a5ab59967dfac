package wechat

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Upload is a file to upload as temporary media.
type Upload struct {
	// Type is "image", "voice", "video" or "thumb".
	Type string
	// Filename needs an extension: WeChat tells the file type from it.
	Filename string
	// ContentType may be empty.
	ContentType string
	Content     io.Reader
}

// UploadedMedia is temporary media; WeChat keeps it for three days.
type UploadedMedia struct {
	Type, MediaID string
	CreatedAt     time.Time
}

// MaxUpload is the largest file that MediaUpload sends; WeChat's own limits are lower for most types.
const MaxUpload = 10 << 20

// MediaUpload uploads temporary media (protocol g.4).
func (c *Client) MediaUpload(ctx context.Context, token string, u Upload) (UploadedMedia, error) {
	body, contentType, err := multipartBody(u)
	if err != nil {
		return UploadedMedia{}, err
	}
	var answer struct {
		Type         string      `json:"type"`
		MediaID      LooseString `json:"media_id"`
		ThumbMediaID LooseString `json:"thumb_media_id"`
		CreatedAt    LooseInt    `json:"created_at"`
	}
	r := Request{
		Path: "/cgi-bin/media/upload", Query: url.Values{"type": {u.Type}}, Token: token,
		Body: body, ContentType: contentType,
	}
	if err := c.callInto(ctx, r, &answer); err != nil {
		return UploadedMedia{}, err
	}
	media := UploadedMedia{Type: answer.Type, MediaID: string(answer.MediaID), CreatedAt: time.Unix(int64(answer.CreatedAt), 0)}
	if media.MediaID == "" {
		media.MediaID = string(answer.ThumbMediaID)
	}
	if media.MediaID == "" {
		return UploadedMedia{}, fault.Errorf(fault.Unavailable, "call %s: answer without a media id", r.Path)
	}
	return media, nil
}

// multipartBody builds the form with the one field that WeChat reads.
func multipartBody(u Upload) ([]byte, string, error) {
	var buf bytes.Buffer
	form := multipart.NewWriter(&buf)
	contentType := u.ContentType
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="media"; filename="` + asciiName(u.Filename) + `"`},
		"Content-Type":        {contentType},
	})
	if err != nil {
		return nil, "", fmt.Errorf("build upload: %w", err)
	}
	n, err := io.Copy(part, io.LimitReader(u.Content, MaxUpload+1))
	if err != nil {
		return nil, "", fmt.Errorf("read file to upload: %w", err)
	}
	if n == 0 || n > MaxUpload {
		return nil, "", fault.Errorf(fault.Invalid, "content: must be 1 to %d bytes", MaxUpload)
	}
	if err := form.Close(); err != nil {
		return nil, "", fmt.Errorf("build upload: %w", err)
	}
	return buf.Bytes(), form.FormDataContentType(), nil
}

// asciiName keeps what is safe in the file name of a form, above all the extension; WeChat does not
// understand encoded names.
func asciiName(name string) string {
	safe := strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && r != '"' && r != '\\' && r != '/' && r != ';' {
			return r
		}
		return '_'
	}, name)
	if safe == "" {
		return "file"
	}
	return safe
}

// MediaFile is temporary media of WeChat.
type MediaFile struct {
	ContentType, Filename string
	Content               []byte
	// VideoURL is set instead of Content for a video.
	VideoURL string
}

// MediaGet downloads temporary media, at most 32 MiB. The content is what a fan sent: untrusted.
func (c *Client) MediaGet(ctx context.Context, token, mediaID string) (MediaFile, error) {
	r := Request{Path: "/cgi-bin/media/get", Query: url.Values{"media_id": {mediaID}}, Token: token, Binary: true}
	answer, err := c.Call(ctx, r)
	if err != nil {
		return MediaFile{}, err
	}
	disposition := answer.Header.Get("Content-Disposition")
	if disposition == "" && answer.IsJSON() {
		var video struct {
			URL string `json:"video_url"`
		}
		if err := answer.Decode(&video); err != nil {
			return MediaFile{}, err
		}
		return MediaFile{VideoURL: video.URL}, nil
	}
	file := MediaFile{ContentType: answer.Header.Get("Content-Type"), Content: answer.Body}
	if _, params, err := mime.ParseMediaType(disposition); err == nil {
		file.Filename = params["filename"]
	}
	return file, nil
}
