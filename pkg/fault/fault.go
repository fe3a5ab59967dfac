// Package fault gives errors a kind, so that one question is answered in one place: would a
// retry help? From the kind follow the gRPC code (Code, Status) and what happens to a message
// whose handler failed (Dispose).
//
// A kind is put on where the meaning is known, usually next to the call that failed:
//
//	return fault.Wrap(fault.Unavailable, fmt.Errorf("publish event: %w", err))
//	return fault.Errorf(fault.Invalid, "openid: longer than %d", max)
//
// Layers in between only add text with fmt.Errorf and %w; the kind stays. A layer that knows
// better wraps again: the outermost kind wins. An error without a kind is Internal, which is
// retried inside and masked at the edges.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Kind says what the caller can do about an error.
type Kind uint8

// The kinds. The zero value is Internal: an error that nobody classified.
const (
	// Internal is a defect or an unclassified error. Its text never leaves the process.
	Internal Kind = iota
	// Invalid means the input is wrong; the same input always fails.
	Invalid
	// NotFound means the named thing does not exist.
	NotFound
	// Conflict means somebody else changed the thing first; read again and repeat.
	Conflict
	// Permanent means it can never work, for a reason that is not the input's form.
	Permanent
	// Refused means a rule, policy or remote side said no.
	Refused
	// Retryable means the same call may work later; see After for when.
	Retryable
	// Unavailable means a dependency did not answer, or the time was over. What it did is unknown.
	Unavailable
	// Exhausted means a quota, a rate or a queue is full.
	Exhausted
)

var kindNames = [...]string{
	Internal:    "internal",
	Invalid:     "invalid",
	NotFound:    "not_found",
	Conflict:    "conflict",
	Permanent:   "permanent",
	Refused:     "refused",
	Retryable:   "retryable",
	Unavailable: "unavailable",
	Exhausted:   "exhausted",
}

// String returns the lower-case name, which is also fit for a metric label.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Internal]
}

// kinded is an error with a kind; its text is that of the error inside.
type kinded struct {
	kind Kind
	err  error
}

func (e *kinded) Error() string { return e.err.Error() }
func (e *kinded) Unwrap() error { return e.err }

// delayed carries the delay of After.
type delayed struct {
	delay time.Duration
	err   error
}

func (e *delayed) Error() string { return e.err.Error() }
func (e *delayed) Unwrap() error { return e.err }

// New returns an error of kind k. Like errors.New, every call returns a distinct error, so the
// result can serve as a sentinel for errors.Is.
func New(k Kind, text string) error {
	return &kinded{kind: k, err: errors.New(text)}
}

// Errorf formats like fmt.Errorf, %w included, and gives the result the kind k.
func Errorf(k Kind, format string, a ...any) error {
	return &kinded{kind: k, err: fmt.Errorf(format, a...)}
}

// Wrap gives err the kind k and leaves its text and its chain as they are. A nil err stays nil.
func Wrap(k Kind, err error) error {
	if err == nil {
		return nil
	}
	return &kinded{kind: k, err: err}
}

// After makes err Retryable, not before d has passed. A nil err stays nil.
// Wrapping the result with another kind that is worth a retry keeps the delay.
func After(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &kinded{kind: Retryable, err: &delayed{delay: max(d, 0), err: err}}
}

// KindOf returns the outermost kind in the chain of err; of joined errors the first one counts.
// Without a kind, a gRPC status is read by its code and a context error is Unavailable; the rest
// is Internal. KindOf(nil) is Internal and means nothing.
func KindOf(err error) Kind {
	if k, ok := errors.AsType[*kinded](err); ok {
		return k.kind
	}
	if s, ok := errors.AsType[grpcStatus](err); ok {
		return kindOfStatus(s.GRPCStatus())
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Unavailable
	}
	return Internal
}

// RetryAfter returns the delay that After put into the chain of err. It reports false when there
// is none or when the outermost kind is not worth a retry.
func RetryAfter(err error) (time.Duration, bool) {
	d, ok := errors.AsType[*delayed](err)
	if !ok || Dispose(err) != Retry {
		return 0, false
	}
	return d.delay, true
}

// grpcStatus is implemented by errors that carry a gRPC status.
type grpcStatus interface {
	error
	GRPCStatus() *status.Status
}

// Code returns the gRPC code for err; nil is codes.OK.
func Code(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	return codeOf(KindOf(err))
}

func codeOf(k Kind) codes.Code {
	switch k {
	case Invalid:
		return codes.InvalidArgument
	case NotFound:
		return codes.NotFound
	case Conflict:
		return codes.Aborted
	case Permanent, Refused:
		return codes.FailedPrecondition
	case Retryable, Unavailable:
		return codes.Unavailable
	case Exhausted:
		return codes.ResourceExhausted
	default:
		return codes.Internal
	}
}

// Disposition is what a consumer does with a message after its handler returned.
type Disposition uint8

// The dispositions.
const (
	// Ack: the message is done.
	Ack Disposition = iota
	// Retry: deliver it again later.
	Retry
	// DeadLetter: no retry can help; keep it for a human.
	DeadLetter
)

// String returns the lower-case name, which is also fit for a metric label.
func (d Disposition) String() string {
	switch d {
	case Ack:
		return "ack"
	case Retry:
		return "retry"
	default:
		return "dead_letter"
	}
}

// Dispose returns what to do with the message whose handler returned err. Internal errors are
// retried: a defect is often fixed by the next release, and the delivery limit ends the loop.
func Dispose(err error) Disposition {
	if err == nil {
		return Ack
	}
	switch KindOf(err) {
	case Invalid, NotFound, Permanent, Refused:
		return DeadLetter
	default:
		return Retry
	}
}
