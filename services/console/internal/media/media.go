// Package media gives the page the files of messages by address, so that pictures are shown and voices and videos are played, also
// from the middle. What fans send is hostile: a file is never more to a browser than a picture, a sound or a film.
package media

import (
	"context"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// Pattern is where files are: GET /api/media/{account}/{id}, with ?playable=1 the version for browsers when there is one.
const Pattern = "GET /api/media/{account}/{id}"

const (
	method = "wxbus.agentrouting.v1.ConversationService/GetMedia"
	// longest bounds one answer: a player that pauses leaves the connection alone, and asks again from where it is.
	longest = 15 * time.Minute
	// policy of a file that is opened by itself: it runs nothing and loads nothing.
	policy = "default-src 'none'; sandbox"
)

// shown are the types that a page may show, with the ending of a file that is saved. Everything else is only saved.
var shown = map[string]string{
	"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp", "image/bmp": ".bmp",
	"audio/mpeg": ".mp3", "audio/wave": ".wav", "video/mp4": ".mp4", "video/webm": ".webm",
}

// saved are further types that are told as what they are.
var saved = map[string]string{"audio/amr": ".amr", "audio/speex": ".spx", "application/pdf": ".pdf"}

// Door decides who may read. *door.Door is one.
type Door interface {
	// Enter applies the policy of a method to a request. When the caller may not it answers, and returns false; otherwise end must
	// be called when the answer is written.
	Enter(w http.ResponseWriter, r *http.Request, method string, request proto.Message) (ctx context.Context, end func(), ok bool)
	// Fail answers with an error.
	Fail(w http.ResponseWriter, r *http.Request, method string, err error)
}

// Handler serves files. Every field is required.
type Handler struct {
	Door  Door
	Files agentroutingv1.ConversationServiceClient
	Log   *slog.Logger
}

// ServeHTTP answers with a file or a part of it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request := &agentroutingv1.GetMediaRequest{
		Account: r.PathValue("account"), Id: r.PathValue("id"), Playable: r.URL.Query().Get("playable") == "1",
	}
	ctx, end, ok := h.Door.Enter(w, r, method, request)
	if !ok {
		return
	}
	defer end()
	file, err := open(ctx, h.Files, request) //nolint:contextcheck // Enter derives it from the request's
	if err != nil {
		h.Door.Fail(w, r, method, err)
		return
	}
	defer file.close()
	// The real clock: it is the deadline of a connection.
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(longest)); err != nil {
		h.Log.DebugContext(ctx, "an answer has no deadline", logkey.Error, err) //nolint:contextcheck // Enter derives it from the request's
	}
	describe(w.Header(), request, file.kind)
	http.ServeContent(w, r, "", time.Time{}, file)
	if file.err != nil && ctx.Err() == nil {
		h.Log.WarnContext(ctx, "a file ended early", logkey.Account, request.GetAccount(), logkey.Error, file.err) //nolint:contextcheck // Enter derives it from the request's
	}
}

// describe says what a browser may do with a file. A file never changes under its id, so the id is its tag.
func describe(head http.Header, request *agentroutingv1.GetMediaRequest, kind string) {
	tag := request.GetId()
	if request.GetPlayable() {
		tag += ".play"
	}
	disposition, ending := "inline", shown[kind]
	if ending == "" {
		if disposition, ending = "attachment", saved[kind]; ending == "" {
			kind, ending = "application/octet-stream", ".bin"
		}
	}
	head.Set("Content-Type", kind)
	head.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": request.GetId() + ending}))
	head.Set("Content-Security-Policy", policy)
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "private, no-store") // a desk's computer has many users
	head.Set("ETag", `"`+tag+`"`)
}
