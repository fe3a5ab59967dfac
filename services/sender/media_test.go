package sender_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/services/sender"
)

const mediaUpload = "/cgi-bin/media/upload"

var picture = []byte("\x89PNG\r\n\x1a\n a picture")

func upload(t testing.TB, s *sender.Service, content []byte) *senderv1.UploadMediaResponse {
	t.Helper()
	resp, err := s.UploadMedia(t.Context(), &senderv1.UploadMediaRequest{
		Account: "shop", Type: senderv1.MediaType_MEDIA_TYPE_IMAGE, Filename: "dir/photo.jpeg", Content: content,
	})
	require.NoError(t, err)
	return resp
}

func image(mediaID string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Image{Image: &eventv1.ImageContent{MediaId: mediaID}}}
}

func TestTheSameFileIsUploadedOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	a, b := f.replica(t, "a"), f.replica(t, "b")
	first := upload(t, a, picture)
	require.False(t, first.GetCached())
	again := upload(t, b, picture)
	require.True(t, again.GetCached())
	require.Equal(t, first.GetMediaId(), again.GetMediaId())
	require.Equal(t, first.GetSha256(), again.GetSha256())
	require.Len(t, f.wechat.of(mediaUpload), 1)
	require.Equal(t, string(picture), f.wechat.of(mediaUpload)[0].Body)
	life := time.UnixMilli(first.GetExpiresUnixMs()).Sub(f.clock.Now())
	require.Greater(t, life, 60*time.Hour)
	require.Less(t, life, 72*time.Hour)

	other, err := a.UploadMedia(t.Context(), &senderv1.UploadMediaRequest{Account: "other", Type: senderv1.MediaType_MEDIA_TYPE_IMAGE, Content: picture})
	require.NoError(t, err)
	require.False(t, other.GetCached(), "media belong to an account")
	f.clock.advance(71 * time.Hour)
	require.False(t, upload(t, a, picture).GetCached(), "WeChat forgets it soon")
}

func TestManyUploadsOfOneFileAtOnceAreOne(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	done := make(chan string, 10)
	for range 10 {
		go func() {
			resp, err := s.UploadMedia(t.Context(), &senderv1.UploadMediaRequest{Account: "shop", Type: senderv1.MediaType_MEDIA_TYPE_IMAGE, Content: picture})
			if err != nil {
				t.Error(err)
			}
			done <- resp.GetMediaId()
		}()
	}
	ids := map[string]bool{}
	for range 10 {
		ids[<-done] = true
	}
	require.Len(t, ids, 1)
	require.Len(t, f.wechat.of(mediaUpload), 1)
}

// TestForgottenMediaAreUploadedAgain: the message goes out with the new id, and the next one does not upload again.
func TestForgottenMediaAreUploadedAgain(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	old := upload(t, s, picture).GetMediaId()
	f.wechat.answer(func(c call, _ int) answer {
		if strings.Contains(c.Body, old) {
			return answer{errcode: 40007}
		}
		return answer{}
	})
	for n := range 2 {
		req := f.request("fan-1", fmt.Sprint("k", n), "")
		req.Content = image(old)
		rec := ends(t, s, "shop", send(t, s, req).GetId(), sent)
		require.EqualValues(t, 2, rec.GetAttempts())
	}
	require.Len(t, f.wechat.of(mediaUpload), 2)
	calls := f.wechat.of(customSend)
	require.Equal(t, calls[1].Body, calls[3].Body)
	require.NotContains(t, calls[1].Body, old)
	require.NotEqual(t, old, upload(t, s, picture).GetMediaId(), "whoever uploads gets the new id")
}

func TestMediaOfOthersAreNotUploadedAgain(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	f.wechat.answer(func(c call, _ int) answer { return answer{errcode: 40007} })
	req := f.request("fan-1", "k", "")
	req.Content = image("a-stranger")
	rec := ends(t, s, "shop", send(t, s, req).GetId(), failed)
	require.EqualValues(t, 1, rec.GetAttempts())
	require.EqualValues(t, 40007, rec.GetErrcode())
	require.Empty(t, f.wechat.of(mediaUpload))
}

func TestFilesAreCheckedBeforeTheyAreUploaded(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	s := f.replica(t, "a")
	const img, voice, video, thumb = senderv1.MediaType_MEDIA_TYPE_IMAGE, senderv1.MediaType_MEDIA_TYPE_VOICE, senderv1.MediaType_MEDIA_TYPE_VIDEO, senderv1.MediaType_MEDIA_TYPE_THUMB
	jpg := "\xff\xd8\xff"
	for _, tc := range []struct {
		account string
		typ     senderv1.MediaType
		content string
		want    string // of the error; empty when it is fine
	}{
		{"shop", img, jpg, ""}, {"shop", img, "GIF89a", ""}, {"shop", img, "BM....", ""},
		{"shop", voice, "#!AMR\n", ""}, {"shop", voice, "ID3...", ""}, {"shop", voice, "\xff\xfb\x90", ""},
		{"shop", video, "\x00\x00\x00\x18ftypmp42", ""}, {"shop", thumb, jpg, ""},
		{"shop", img, "<svg>", "is JPG, PNG, GIF, BMP, this is something else"},
		{"shop", voice, jpg, "is AMR, MP3, this is something else"},
		{"shop", video, "RIFF", "is MP4"},
		{"shop", thumb, "GIF89a", "is JPG"},
		{"shop", thumb, jpg + strings.Repeat("x", 64<<10), "1 to 65536 bytes"},
		{"shop", voice, "#!AMR" + strings.Repeat("x", 2<<20), "1 to 2097152 bytes"},
		{"shop", img, "", "this has 0"},
		{"shop", senderv1.MediaType_MEDIA_TYPE_UNSPECIFIED, jpg, "type: must be"},
		{"mini", img, jpg, ""}, {"mini", voice, "ID3", "a Mini Program has images only"},
		{"nobody", img, jpg, "not configured"},
	} {
		before := len(f.wechat.of(mediaUpload))
		resp, err := s.UploadMedia(t.Context(), &senderv1.UploadMediaRequest{Account: tc.account, Type: tc.typ, Content: []byte(tc.content)})
		if tc.want == "" {
			require.NoError(t, err)
			require.NotEmpty(t, resp.GetMediaId())
			continue
		}
		require.ErrorContains(t, err, tc.want)
		require.Contains(t, []fault.Kind{fault.Invalid, fault.NotFound}, fault.KindOf(err))
		require.Len(t, f.wechat.of(mediaUpload), before, "WeChat is not asked")
	}
}
