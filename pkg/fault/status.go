package fault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// errorDomain marks the ErrorInfo detail that carries a Kind across gRPC.
const errorDomain = "wxbus"

// errorIDKey is the ErrorInfo metadata key of the error id.
const errorIDKey = "error_id"

// maxStatusText bounds the text of a status: it travels in an HTTP/2 trailer, which peers limit to 8 KiB.
const maxStatusText = 2048

// Status turns err into the gRPC status error that may leave the process. It keeps the text, the
// kind and the delay of RetryAfter. Internal errors are masked: the client sees only an id of
// 8 hex digits. ErrorID returns that id, so that the one place that calls Status can log it together
// with err. An err that already is a plain status keeps its code, unless it is INTERNAL or UNKNOWN.
// A nil err stays nil.
func Status(err error) error {
	if err == nil {
		return nil
	}
	kind := KindOf(err)
	if kind == Internal {
		id := NewErrorID()
		return withDetails(status.New(codes.Internal, "internal error "+id), kind, id, 0)
	}
	after, _ := RetryAfter(err)
	var more []proto.Message
	if d, ok := errors.AsType[detailer](err); ok {
		more = d.StatusDetails()
	}
	return withDetails(status.New(outgoingCode(err, kind), truncate(err.Error())), kind, "", after, more...)
}

// detailer is an error that tells the client more than its text: Status puts the messages into the details. They leave the
// process, so they hold nothing secret.
type detailer interface {
	error
	StatusDetails() []proto.Message
}

// ErrorID returns the id that Status gave to a masked error, on either side of the wire, or "".
func ErrorID(err error) string {
	s, ok := errors.AsType[grpcStatus](err)
	if !ok {
		return ""
	}
	if info := errorInfo(s.GRPCStatus()); info != nil {
		return info.GetMetadata()[errorIDKey]
	}
	return ""
}

// FromStatus is the client side of Status: it returns an error with the text, the kind and the
// delay of the server's error. It still carries the status, so status.Code works on it, and it
// matches context.DeadlineExceeded and context.Canceled when the code says so.
// Errors that are no status are returned as they are; nil stays nil.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	s, ok := errors.AsType[grpcStatus](err)
	if !ok {
		return err
	}
	st := s.GRPCStatus()
	var inner error = &remote{status: st}
	if d := retryDelay(st); d > 0 {
		inner = &delayed{delay: d, err: inner}
	}
	return &kinded{kind: kindOfStatus(st), err: inner}
}

// remote is an error that came over gRPC.
type remote struct{ status *status.Status }

func (e *remote) Error() string {
	if m := e.status.Message(); m != "" {
		return m
	}
	return e.status.Code().String()
}

func (e *remote) GRPCStatus() *status.Status { return e.status }

func (e *remote) Is(target error) bool {
	switch e.status.Code() {
	case codes.DeadlineExceeded:
		return target == context.DeadlineExceeded
	case codes.Canceled:
		return target == context.Canceled
	default:
		return false
	}
}

// outgoingCode keeps the finer code of a plain status (UNAUTHENTICATED, UNIMPLEMENTED, ...) that
// an interceptor or grpc itself made, and computes it from the kind otherwise.
func outgoingCode(err error, kind Kind) codes.Code {
	if _, ok := errors.AsType[*kinded](err); ok {
		return codeOf(kind)
	}
	if s, ok := errors.AsType[grpcStatus](err); ok {
		return s.GRPCStatus().Code()
	}
	return codeOf(kind)
}

// kindOfStatus prefers the exact kind that Status stored over the coarser code.
func kindOfStatus(st *status.Status) Kind {
	if info := errorInfo(st); info != nil {
		for k, name := range kindNames {
			if name == info.GetReason() && codeOf(Kind(k)) == st.Code() {
				return Kind(k)
			}
		}
	}
	switch st.Code() {
	case codes.InvalidArgument, codes.OutOfRange:
		return Invalid
	case codes.NotFound:
		return NotFound
	case codes.Aborted, codes.AlreadyExists:
		return Conflict
	case codes.Unimplemented:
		return Permanent
	case codes.FailedPrecondition, codes.PermissionDenied, codes.Unauthenticated:
		return Refused
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return Unavailable
	case codes.ResourceExhausted:
		return Exhausted
	default:
		return Internal
	}
}

func withDetails(st *status.Status, kind Kind, id string, after time.Duration, more ...proto.Message) error {
	info := &errdetails.ErrorInfo{Reason: kind.String(), Domain: errorDomain}
	if id != "" {
		info.Metadata = map[string]string{errorIDKey: id}
	}
	detailed, err := st.WithDetails(info)
	if err == nil && after > 0 {
		detailed, err = detailed.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	for _, m := range more {
		if err == nil {
			detailed, err = detailed.WithDetails(protoadapt.MessageV1Of(m))
		}
	}
	if err != nil {
		return st.Err()
	}
	return detailed.Err()
}

func errorInfo(st *status.Status) *errdetails.ErrorInfo {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == errorDomain {
			return info
		}
	}
	return nil
}

func retryDelay(st *status.Status) time.Duration {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// NewErrorID returns a random id of 8 hex digits, for edges that mask errors without gRPC.
func NewErrorID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never returns an error
	return hex.EncodeToString(b[:])
}

// truncate cuts at a rune border and makes the text valid UTF-8, which a status must be.
func truncate(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxStatusText {
		return text
	}
	cut := maxStatusText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
