package wechat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"syscall"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Outcome says whether a failed call can have had its effect.
type Outcome uint8

// The outcomes. The zero value is the careful one.
const (
	// OutcomeUnknown: WeChat may have done it. Time-out or reset after the request was written, 5xx,
	// an answer that is truncated or no JSON.
	OutcomeUnknown Outcome = iota
	// OutcomeNotSent: nothing of the request left this process.
	OutcomeNotSent
	// OutcomeRefused: WeChat, or a proxy before it, answered no.
	OutcomeRefused
)

// String returns the lower-case name, which is also fit for a metric label.
func (o Outcome) String() string {
	switch o {
	case OutcomeNotSent:
		return "not_sent"
	case OutcomeRefused:
		return "refused"
	default:
		return "unknown"
	}
}

// APIError is an answer of WeChat with an error code. Its outcome is OutcomeRefused; code -1 ("system
// busy") is refused as well, but field reports know it after an effect, so repeat a send at most
// twice (ClassTransient).
type APIError struct {
	// Path is the API, for example "/cgi-bin/message/custom/send".
	Path string
	// Code is errcode, Class what to do about it.
	Code  int
	Class Class
	// Msg is errmsg, with the rid that WeChat's support asks for.
	Msg string
	// HTTPStatus is usually 200.
	HTTPStatus int
}

func (e *APIError) Error() string {
	return fmt.Sprintf("call %s: errcode %d: %s", e.Path, e.Code, e.Msg)
}

// RID returns the request id inside Msg, or "".
func (e *APIError) RID() string {
	_, rid, found := strings.Cut(e.Msg, "rid:")
	if !found {
		return ""
	}
	rid, _, _ = strings.Cut(strings.TrimSpace(rid), " ")
	return rid
}

// CallError is a call without an answer of WeChat's API: the network, a proxy, or an answer that
// cannot be read. It holds no secret and no part of the body.
type CallError struct {
	Path    string
	Outcome Outcome
	// Class is ClassTransient, ClassRate, or ClassAccount when a proxy in our own network is at fault.
	Class Class
	// HTTPStatus is zero when there was no answer.
	HTTPStatus int

	reason string
	causes []error
}

func (e *CallError) Error() string { return "call " + e.Path + ": " + e.reason }

// Is reports whether the cause of the error is target, for the causes that hold no text of their own:
// context errors, end of file, refused and reset connections.
func (e *CallError) Is(target error) bool {
	for _, cause := range e.causes {
		if cause == target {
			return true
		}
	}
	return false
}

// plainCauses are the causes that CallError keeps. The original error is dropped: its text, or the
// text of something inside it, may hold the URL.
var plainCauses = []error{
	context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF,
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE,
}

// OutcomeOf returns the outcome of a failed call. It is OutcomeUnknown for errors of other origin.
func OutcomeOf(err error) Outcome {
	if _, ok := errors.AsType[*APIError](err); ok {
		return OutcomeRefused
	}
	if e, ok := errors.AsType[*CallError](err); ok {
		return e.Outcome
	}
	return OutcomeUnknown
}

// ClassOf returns the class of a failed call. It is ClassUnknown for errors of other origin.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*APIError](err); ok {
		return e.Class
	}
	if e, ok := errors.AsType[*CallError](err); ok {
		return e.Class
	}
	return ClassUnknown
}

// newAPIError returns an *APIError with the fault kind of its class.
func newAPIError(path string, status, code int, msg string, secrets []string) error {
	class := Classify(code)
	return class.fault(&APIError{
		Path: path, Code: code, Class: class, Msg: ScrubText(msg, secrets...), HTTPStatus: status,
	})
}

// failure describes a call without an answer of the API.
type failure struct {
	path    string
	outcome Outcome
	class   Class
	status  int
	text    string
	cause   error
	secrets []string
}

// err returns the *CallError with its fault kind.
func (f failure) err() error {
	reason := f.text
	e := &CallError{Path: f.path, Outcome: f.outcome, Class: f.class, HTTPStatus: f.status}
	if f.cause != nil {
		cause := f.cause
		if u, ok := errors.AsType[*url.Error](cause); ok {
			cause = u.Err // its text is the URL
		}
		reason += ": " + ScrubText(cause.Error(), f.secrets...)
		for _, known := range plainCauses {
			if errors.Is(f.cause, known) {
				e.causes = append(e.causes, known)
			}
		}
	}
	e.reason = reason
	if f.outcome == OutcomeUnknown {
		return fault.Wrap(fault.Unavailable, e)
	}
	return f.class.fault(e)
}
