package media

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

const (
	keepEvery = time.Second
	// claim is how long one replica has a file to itself.
	claim = 2 * time.Minute
	// The first retry comes after firstRetry, then the waits double up to maxRetry.
	firstRetry = 5 * time.Second
	maxRetry   = time.Hour
)

// Source downloads files from WeChat.
type Source interface {
	Media(ctx context.Context, account, mediaID string) (wechat.MediaFile, error)
	// Video downloads from the address that Media gave in the place of a video.
	Video(ctx context.Context, account, address string) (content []byte, contentType string, err error)
}

// Keeper fetches files from WeChat into the store. Every replica runs one; a file is claimed by one of them.
type Keeper struct {
	Desk      *app.Desk
	Source    Source
	Files     Store
	Converter *Converter
	Log       *slog.Logger
	Now       func() time.Time

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Start begins to fetch.
func (k *Keeper) Start(ctx context.Context) {
	ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	k.done.Go(func() {
		ticker := time.NewTicker(keepEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				k.round(ctx)
			}
		}
	})
}

// Stop ends the fetching and waits. It is safe to call twice, and without Start.
func (k *Keeper) Stop() {
	if k.cancel != nil {
		k.cancel()
	}
	k.done.Wait()
}

func (k *Keeper) round(ctx context.Context) {
	for ctx.Err() == nil {
		found, err := k.One(ctx)
		if err != nil && ctx.Err() == nil {
			k.Log.WarnContext(ctx, "file will be tried again", logkey.Error, err)
		}
		if !found || err != nil {
			return
		}
	}
}

// One fetches one file that is due and tells whether there was one.
func (k *Keeper) One(ctx context.Context) (bool, error) {
	now := k.Now()
	f, ok, err := k.Desk.ClaimFile(ctx, now, now.Add(claim))
	if err != nil || !ok {
		return false, err
	}
	fetchErr := k.fetch(ctx, &f)
	if fetchErr != nil && ctx.Err() != nil {
		return true, fetchErr // the claim runs out, and the file comes again
	}
	k.note(&f, fetchErr, now)
	return true, k.Desk.FileDone(ctx, f)
}

// note writes down what came of a try.
func (k *Keeper) note(f *store.File, err error, now time.Time) {
	f.Tries++
	switch {
	case err == nil:
		f.State, f.Due, f.Reason = agentroutingv1.MediaState_MEDIA_STATE_STORED, time.Time{}, ""
	case fault.Dispose(err) == fault.DeadLetter, !now.Before(f.Until):
		f.State, f.Due, f.Reason = agentroutingv1.MediaState_MEDIA_STATE_LOST, time.Time{}, shorten(err.Error())
	default:
		f.Due, f.Reason = now.Add(min(firstRetry<<min(f.Tries-1, 16), maxRetry)), shorten(err.Error())
		if f.Due.After(f.Until) {
			f.Due = f.Until
		}
	}
}

func shorten(s string) string { return s[:min(len(s), 200)] }

func (k *Keeper) fetch(ctx context.Context, f *store.File) error {
	got, err := k.Source.Media(ctx, f.Account, f.MediaID)
	if err != nil {
		return err
	}
	content, kind := got.Content, got.ContentType
	if got.VideoURL != "" {
		if content, kind, err = k.Source.Video(ctx, f.Account, got.VideoURL); err != nil {
			return err
		}
	}
	if err := k.Files.Put(ctx, f.ID, content); err != nil {
		return err
	}
	f.Size, f.ContentType = int64(len(content)), typeOf(content, kind)
	if !k.Converter.Takes(content) {
		return nil
	}
	played, playedType, err := k.Converter.Convert(ctx, content)
	if err != nil {
		k.Log.WarnContext(ctx, "voice is kept as it is", logkey.Account, f.Account, logkey.Error, err)
		return nil // the original is kept: a voice that nobody can convert is no reason to lose it
	}
	if err := k.Files.Put(ctx, f.ID+app.PlayableSuffix, played); err != nil {
		return err
	}
	f.PlayableType = playedType
	return nil
}

// typeOf trusts the bytes more than the header, and never returns a type that a browser would run.
func typeOf(content []byte, header string) string {
	switch {
	case strings.HasPrefix(string(content[:min(len(content), 9)]), "#!AMR"):
		return "audio/amr"
	case isVoice(content):
		return "audio/speex"
	}
	for _, t := range []string{http.DetectContentType(content), header} {
		for _, safe := range []string{"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "video/mp4", "video/webm", "audio/mpeg", "audio/wave", "audio/amr", "application/pdf"} {
			if strings.HasPrefix(t, safe) {
				return safe
			}
		}
	}
	return "application/octet-stream"
}
