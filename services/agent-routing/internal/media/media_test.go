package media_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/media"
	"github.com/wxbus/wxbus/services/agent-routing/internal/media/mediatest"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

func TestMain(m *testing.M) { sqldbtest.Main(m) }

func TestFolder(t *testing.T) { mediatest.Run(t, media.NewFolder(t.TempDir())) }

// source answers what it is told.
type source struct {
	file  wechat.MediaFile
	video []byte
	err   error
}

func (s *source) Media(context.Context, string, string) (wechat.MediaFile, error) {
	return s.file, s.err
}

func (s *source) Video(context.Context, string, string) ([]byte, string, error) {
	if s.video == nil {
		return nil, "", fault.New(fault.Permanent, "the address is not one of WeChat's")
	}
	return s.video, "video/mp4", nil
}

func TestAFileIsTriedUntilWeChatForgetsIt(t *testing.T) {
	db := sqldbtest.Open(t, sqldbtest.Options(t, sqldb.SQLite, store.Migrations()))
	s := store.New()
	s.Use(db)
	q, err := s.Query()
	require.NoError(t, err)
	clock := testkit.NewClock(time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC))
	from := &source{err: fault.New(fault.Unavailable, "no answer")}
	k := &media.Keeper{
		Desk:   app.New(app.Options{Store: s, Log: slog.New(slog.DiscardHandler), Now: clock.Now, Changed: func(context.Context, domain.Kind) {}}),
		Source: from, Files: media.NewFolder(t.TempDir()), Converter: &media.Converter{}, Log: slog.New(slog.DiscardHandler), Now: clock.Now,
	}
	ctx := t.Context()
	require.NoError(t, q.AddFan(ctx, domain.Fan{Account: "shop", OpenID: "fan", Owner: domain.Owner{Kind: domain.Bot}}))
	add := func(id string) {
		require.NoError(t, q.AddFile(ctx, store.File{
			ID: id, Account: "shop", OpenID: "fan", Role: "content", MediaID: "m", State: agentroutingv1.MediaState_MEDIA_STATE_PENDING,
			Due: clock.Now(), Until: clock.Now().Add(72 * time.Hour),
		}))
	}
	file := func(id string) store.File {
		f, _, err := q.File(ctx, "shop", id)
		require.NoError(t, err)
		return f
	}
	one := func() bool {
		found, err := k.One(ctx)
		require.NoError(t, err)
		return found
	}
	add("kept")
	require.True(t, one())
	require.False(t, one(), "it rests before the next try")
	require.Equal(t, "no answer", file("kept").Reason)
	clock.Advance(6 * time.Second)
	from.file, from.err = wechat.MediaFile{Content: []byte("<html><script>"), ContentType: "text/html"}, nil
	require.True(t, one())
	f := file("kept")
	require.Equal(t, agentroutingv1.MediaState_MEDIA_STATE_STORED, f.State)
	require.Equal(t, "application/octet-stream", f.ContentType, "never a type that a browser runs")

	add("lost")
	from.err = fault.New(fault.Unavailable, "no answer")
	tries := 0
	for file("lost").State == agentroutingv1.MediaState_MEDIA_STATE_PENDING {
		if one() {
			tries++
		}
		clock.Advance(30 * time.Minute)
		require.Less(t, tries, 200)
	}
	require.Equal(t, agentroutingv1.MediaState_MEDIA_STATE_LOST, file("lost").State)
	require.Greater(t, tries, 70, "about once an hour for three days")

	add("video")
	from.file, from.err = wechat.MediaFile{VideoURL: "http://169.254.169.254/latest"}, nil
	require.True(t, one())
	require.Equal(t, agentroutingv1.MediaState_MEDIA_STATE_LOST, file("video").State)
	require.Contains(t, file("video").Reason, "not one of WeChat's")

	add("film")
	from.file, from.video = wechat.MediaFile{VideoURL: "https://mp.qq.com/film"}, []byte("film")
	require.True(t, one())
	require.Equal(t, agentroutingv1.MediaState_MEDIA_STATE_STORED, file("film").State)
	require.Equal(t, "video/mp4", file("film").ContentType)

	add("voice")
	from.file = wechat.MediaFile{Content: amr(50), ContentType: "audio/x-anything"}
	require.True(t, one())
	f = file("voice")
	require.Equal(t, "audio/amr", f.ContentType, "the original is kept")
	require.Equal(t, "audio/wave", f.PlayableType)
	played, _, err := k.Files.Get(ctx, "voice"+app.PlayableSuffix, 0)
	require.NoError(t, err)
	require.NoError(t, played.Close())
}
