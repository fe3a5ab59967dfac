package door

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/login"
)

// refusal is an error with a code of its own: those of the door itself.
type refusal struct {
	code  connect.Code
	text  string
	field string
}

func (r *refusal) Error() string { return r.text }

func denied(text string) error { return &refusal{code: connect.CodePermissionDenied, text: text} }

func deniedField(field, text string) error {
	return &refusal{code: connect.CodePermissionDenied, text: field + ": " + text, field: field}
}

// fixes say what the caller can do, by the kind of the error.
var fixes = map[string]string{
	"invalid":           "correct the field and repeat",
	"not_found":         "check the id and the account",
	"conflict":          "read it again and repeat the change",
	"refused":           "see the text; repeating the same request does not help",
	"permanent":         "see the text; repeating the same request does not help",
	"exhausted":         "wait and repeat",
	"retryable":         "repeat with the same idempotency key",
	"unavailable":       "repeat with the same idempotency key",
	"internal":          "tell the error id to whoever runs the system",
	"unauthenticated":   "log in, or send a valid key",
	"permission_denied": "ask an administrator for the role, the scope or the account",
}

// Error turns any error of a handler, of a service or of the door into what the caller sees. What is internal is
// masked by an id, and logged once with that id.
func (d *Door) Error(ctx context.Context, method string, err error) *connect.Error {
	if known, ok := errors.AsType[*connect.Error](err); ok && len(known.Details()) > 0 {
		return known
	}
	code, kind := codeOf(err)
	text := prefix.ReplaceAllString(err.Error(), "")
	detail := &consolev1.ErrorDetail{Kind: kind, Fix: fixes[kind]}
	switch kind {
	case "internal":
		masked := err
		if fault.ErrorID(err) == "" { // a service has logged its own already
			masked = fault.Status(fault.Wrap(fault.Internal, err))
			d.o.Log.ErrorContext(ctx, "method failed", logkey.Method, method, logkey.ErrorID, fault.ErrorID(masked), logkey.Error, err)
		}
		detail.ErrorId = fault.ErrorID(masked)
		text = "internal error " + detail.ErrorId
	case "invalid", "conflict", "refused", "not_found":
		detail.Field = fieldOf(text)
	case "permission_denied":
		if r, ok := errors.AsType[*refusal](err); ok {
			detail.Field = r.field
		}
	case "unavailable", "retryable":
		level := slog.LevelWarn
		if ctx.Err() != nil {
			level = slog.LevelDebug // the caller has gone
		}
		d.o.Log.Log(ctx, level, "method is unavailable", logkey.Method, method, logkey.Error, err)
		text = "the service cannot answer now"
	}
	if after, ok := fault.RetryAfter(err); ok {
		detail.RetryAfterMs = after.Round(time.Millisecond).Milliseconds()
	}
	out := connect.NewError(code, errors.New(text))
	if packed, err := connect.NewErrorDetail(detail); err == nil {
		out.AddDetail(packed)
	}
	return out
}

// codeOf returns the code and the kind of an error.
func codeOf(err error) (connect.Code, string) {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.code, r.code.String()
	}
	switch {
	case errors.Is(err, access.ErrNoKey), errors.Is(err, login.ErrNoSession), errors.Is(err, login.ErrWrong):
		return connect.CodeUnauthenticated, "unauthenticated"
	case errors.Is(err, access.ErrNotLocal):
		return connect.CodePermissionDenied, "permission_denied"
	case errors.Is(err, access.ErrTooMany):
		return connect.CodeResourceExhausted, "exhausted"
	}
	if c, ok := errors.AsType[*connect.Error](err); ok { // of the library: what it could not read
		return c.Code(), kindOf(c.Code())
	}
	kind := fault.KindOf(err)
	code := fault.Code(err)
	if s := status.Code(err); s != codes.Unknown && s != codes.OK && kind != fault.Internal {
		code = s // a service may say ALREADY_EXISTS or UNIMPLEMENTED, which is finer than a kind
	}
	return connect.Code(code), kind.String()
}

func kindOf(c connect.Code) string {
	switch c {
	case connect.CodeUnauthenticated, connect.CodePermissionDenied, connect.CodeUnavailable, connect.CodeInternal, connect.CodeNotFound:
		return c.String()
	case connect.CodeResourceExhausted:
		return "exhausted"
	case connect.CodeCanceled, connect.CodeDeadlineExceeded:
		return "unavailable"
	default:
		return "invalid"
	}
}

// prefix is what grpc puts before the text of a status that was wrapped as it is.
var prefix = regexp.MustCompile(`^(rpc error: code = \w+ desc = )+`)

// Services name the field at the start of the text: "text.content: must not be empty".
var fieldPath = regexp.MustCompile(`^((?:[a-z][a-z0-9_]*(?:\[\d+\])?)(?:\.[a-z0-9_]+(?:\[\d+\])?)*): `)

func fieldOf(text string) string {
	if m := fieldPath.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}
