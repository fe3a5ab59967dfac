package api

import (
	"errors"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/console/internal/access"
)

// problem is an error as the caller sees it: {"error": {"code", "message", "field"}}.
type problem struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`

	retryAfter time.Duration
	cause      error
}

func (p *problem) Error() string { return p.Code + ": " + p.Message }

func invalid(field, message string) error {
	return &problem{Status: http.StatusBadRequest, Code: "invalid", Message: message, Field: field}
}

func notFound(message string) error {
	return &problem{Status: http.StatusNotFound, Code: "not_found", Message: message}
}

// The table of the API: what a kind of error means to a caller.
var byKind = map[fault.Kind]problem{
	fault.Invalid:     {Status: http.StatusBadRequest, Code: "invalid"},
	fault.NotFound:    {Status: http.StatusNotFound, Code: "not_found"},
	fault.Conflict:    {Status: http.StatusConflict, Code: "conflict"},
	fault.Permanent:   {Status: http.StatusUnprocessableEntity, Code: "refused"},
	fault.Refused:     {Status: http.StatusUnprocessableEntity, Code: "refused"},
	fault.Exhausted:   {Status: http.StatusTooManyRequests, Code: "exhausted", retryAfter: time.Second},
	fault.Retryable:   {Status: http.StatusServiceUnavailable, Code: "unavailable", retryAfter: time.Second},
	fault.Unavailable: {Status: http.StatusServiceUnavailable, Code: "unavailable", retryAfter: time.Second},
	fault.Internal:    {Status: http.StatusInternalServerError, Code: "internal"},
}

// problemOf turns any error of this package, of the guard or of a service into a problem.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large",
			Message: "the body must have at most " + strconv.FormatInt(tooLarge.Limit, 10) + " bytes"}
	}
	switch {
	case errors.Is(err, access.ErrNotLocal):
		return &problem{Status: http.StatusForbidden, Code: "local_only", Message: err.Error()}
	case errors.Is(err, access.ErrNoKey):
		return &problem{Status: http.StatusUnauthorized, Code: "unauthorized", Message: err.Error()}
	case errors.Is(err, access.ErrTooMany):
		return &problem{Status: http.StatusTooManyRequests, Code: "rate_limited", Message: err.Error(), retryAfter: time.Second}
	}
	return problemOfService(fault.FromStatus(err))
}

func problemOfService(err error) *problem {
	kind := fault.KindOf(err)
	p := byKind[kind]
	p.Message, p.cause = statusPrefix.ReplaceAllString(err.Error(), ""), err
	switch kind {
	case fault.Internal:
		p.Message = "internal error"
		if id := fault.ErrorID(err); id != "" {
			p.Message += " " + id
		}
	case fault.Unavailable, fault.Retryable:
		p.Message = "the service cannot answer now; repeat with the same Idempotency-Key"
	case fault.Invalid, fault.Conflict:
		p.Field, p.Message = fieldOf(p.Message)
	default: // the text of the service says it
	}
	if after, ok := fault.RetryAfter(err); ok {
		p.retryAfter = after
	}
	return &p
}

// statusPrefix is what grpc puts before the text of a status that was wrapped as it is.
var statusPrefix = regexp.MustCompile(`^rpc error: code = \w+ desc = `)

// Services name the field at the start of the text: "text.content: must not be empty".
var fieldPath = regexp.MustCompile(`^((?:[a-z_]+(?:\[\d+\])?)(?:\.[a-z_]+(?:\[\d+\])?)*): (.+)`)

func fieldOf(message string) (field, rest string) {
	if m := fieldPath.FindStringSubmatch(message); m != nil {
		return m[1], m[2]
	}
	return "", message
}

func writeProblem(w http.ResponseWriter, p *problem) {
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	writeJSON(w, p.Status, map[string]*problem{"error": p})
}
