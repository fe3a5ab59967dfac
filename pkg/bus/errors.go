package bus

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/fault"
)

// What can go wrong on the way to the bus. Match with errors.Is; the kind says whether a retry helps.
var (
	// ErrDuplicateInProcess means that a message with the same id is being stored right now. It is
	// neither stored nor refused: publish again after 20 to 100 ms until the ack says Duplicate.
	ErrDuplicateInProcess = fault.New(fault.Retryable, "same message id is in process")
	// ErrStreamFull means that the stream takes no more. It must never be answered as a success.
	ErrStreamFull = fault.New(fault.Exhausted, "stream is full")
	// ErrSubjectFull means that the subject has its maximum of messages, which on a stream that
	// dedupes by subject is a duplicate.
	ErrSubjectFull = fault.New(fault.Conflict, "subject has its maximum of messages")
	// ErrNoStream means that no stream answers for the subject: it has no leader or does not exist.
	ErrNoStream = fault.New(fault.Unavailable, "no stream answers for the subject")
	// ErrTooLarge means that the message is larger than the stream or the server takes.
	ErrTooLarge = fault.New(fault.Permanent, "message is too large")
	// ErrWrongSequence means that a compare-and-set lost: somebody wrote first.
	ErrWrongSequence = fault.New(fault.Conflict, "wrong last sequence")
	// ErrWrongStream means that the subject is stored by another stream than expected.
	ErrWrongStream = fault.New(fault.Permanent, "stored by another stream")
	// ErrTimeout means that no answer came in time. The message may be stored: publish again with the
	// same id.
	ErrTimeout = fault.New(fault.Unavailable, "no answer in time")
	// ErrDisconnected means that there is no connection; nothing was sent.
	ErrDisconnected = fault.New(fault.Unavailable, "not connected")
	// ErrThrottled means that the server has too much to do; try again after 100 ms.
	ErrThrottled = fault.New(fault.Retryable, "server asks to slow down")
	// ErrUnavailable means that the cluster or its resources are not available now.
	ErrUnavailable = fault.New(fault.Unavailable, "stream is not available")
	// ErrNoResponders means that nobody listens on the subject of a request.
	ErrNoResponders = fault.New(fault.Unavailable, "nobody listens on the subject")
)

// The error codes of the server; reliability.md 1.2 says what to do about each.
const (
	codeClusterNotAvailable = 10008
	codeNoResources         = 10023
	codeMemoryExceeded      = 10028
	codeStorageExceeded     = 10047
	codeTooLarge            = 10054
	codeNotMatch            = 10060
	codeWrongSequence       = 10071
	codeStoreFailed         = 10077
	codeDuplicateInProcess  = 10158
	codeWrongSequenceR3     = 10164
	codeTooManyRequests     = 10167
	codeBatchDuplicate      = 10201
	codeBatchInflight       = 10210
)

// apiFault turns an error code in the answer to a publish into one of ours.
func apiFault(e *jetstream.APIError) error {
	return fault.Wrap(fault.KindOf(sentinelOf(e)), &publishError{sentinel: sentinelOf(e), cause: e})
}

func sentinelOf(e *jetstream.APIError) error {
	switch int(e.ErrorCode) {
	case codeDuplicateInProcess:
		return ErrDuplicateInProcess
	case codeStoreFailed:
		return storeFault(e.Description)
	case codeTooLarge:
		return ErrTooLarge
	case codeWrongSequence, codeWrongSequenceR3:
		return ErrWrongSequence
	case codeNotMatch:
		return ErrWrongStream
	case codeTooManyRequests, codeBatchInflight:
		return ErrThrottled
	case codeClusterNotAvailable, codeNoResources, codeStorageExceeded, codeMemoryExceeded:
		return ErrUnavailable
	}
	if e.Code >= 500 {
		return ErrUnavailable
	}
	return errRejected
}

// errRejected is for answers that no caller can act on.
var errRejected = fault.New(fault.Permanent, "refused by the server")

// storeFault tells apart what the server reports under one code. A full subject must not look like a
// full stream: the first is how a stream dedupes by subject.
func storeFault(description string) error {
	switch {
	case strings.Contains(description, "maximum messages per subject"):
		return ErrSubjectFull
	case strings.Contains(description, "maximum"):
		return ErrStreamFull
	}
	return ErrUnavailable
}

// publishError carries both our sentinel and the server's own words.
type publishError struct {
	sentinel error
	cause    error
}

func (e *publishError) Error() string   { return e.sentinel.Error() + ": " + e.cause.Error() }
func (e *publishError) Unwrap() []error { return []error{e.sentinel, e.cause} }

// transportFault turns an error of the connection into one of ours.
func transportFault(err error) error {
	sentinel := ErrDisconnected
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrStreamNotFound):
		sentinel = ErrNoStream
	case errors.Is(err, nats.ErrDisconnected):
		sentinel = ErrTimeout // lost while waiting: the request may have arrived
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		sentinel = ErrTimeout
	case errors.Is(err, nats.ErrMaxPayload):
		sentinel = ErrTooLarge
	case errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrInvalidMsg):
		return fault.Wrap(fault.Invalid, err)
	}
	return fault.Wrap(fault.KindOf(sentinel), &publishError{sentinel: sentinel, cause: err})
}
