package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/fault"
)

var allKinds = []fault.Kind{
	fault.Internal, fault.Invalid, fault.NotFound, fault.Conflict, fault.Permanent,
	fault.Refused, fault.Retryable, fault.Unavailable, fault.Exhausted,
}

func TestKindOf(t *testing.T) {
	plain := errors.New("disk is gone")
	tests := map[string]struct {
		err  error
		want fault.Kind
	}{
		"error without a kind":           {plain, fault.Internal},
		"new error":                      {fault.New(fault.NotFound, "no such rule"), fault.NotFound},
		"text added around a kind":       {fmt.Errorf("load rule: %w", fault.New(fault.NotFound, "none")), fault.NotFound},
		"outermost kind wins":            {fault.Wrap(fault.Permanent, fault.New(fault.Retryable, "x")), fault.Permanent},
		"kind over a formatted cause":    {fault.Errorf(fault.Invalid, "openid: %w", plain), fault.Invalid},
		"first of joined errors":         {errors.Join(fault.New(fault.Conflict, "a"), fault.New(fault.Invalid, "b")), fault.Conflict},
		"deadline":                       {fmt.Errorf("ask: %w", context.DeadlineExceeded), fault.Unavailable},
		"cancelled":                      {context.Canceled, fault.Unavailable},
		"kind over a deadline":           {fault.Wrap(fault.Refused, context.DeadlineExceeded), fault.Refused},
		"status of somebody else":        {status.Error(codes.NotFound, "x"), fault.NotFound},
		"status inside a formatted text": {fmt.Errorf("call: %w", status.Error(codes.Unavailable, "x")), fault.Unavailable},
		"delayed":                        {fault.After(time.Second, plain), fault.Retryable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, fault.KindOf(tt.err)) })
	}
}

func TestWrapKeepsTextAndChain(t *testing.T) {
	err := fault.Wrap(fault.Unavailable, fmt.Errorf("read body: %w", io.ErrUnexpectedEOF))
	require.EqualError(t, err, "read body: unexpected EOF")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NoError(t, fault.Wrap(fault.Invalid, nil))
	require.NoError(t, fault.After(time.Second, nil))
}

func TestNewMakesSentinels(t *testing.T) {
	a, b := fault.New(fault.Conflict, "same"), fault.New(fault.Conflict, "same")
	require.ErrorIs(t, fmt.Errorf("x: %w", a), a)
	require.NotErrorIs(t, a, b)
}

func TestRetryAfter(t *testing.T) {
	busy := fault.After(3*time.Second, errors.New("busy"))
	tests := map[string]struct {
		err  error
		want time.Duration
		ok   bool
	}{
		"delayed":                      {busy, 3 * time.Second, true},
		"text around":                  {fmt.Errorf("send: %w", busy), 3 * time.Second, true},
		"other retryable kind around":  {fault.Wrap(fault.Exhausted, busy), 3 * time.Second, true},
		"hopeless kind around":         {fault.Wrap(fault.Refused, busy), 0, false},
		"no delay":                     {fault.New(fault.Retryable, "x"), 0, false},
		"negative delay counts as now": {fault.After(-time.Second, errors.New("x")), 0, true},
		"no error":                     {nil, 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := fault.RetryAfter(tt.err)
			require.Equal(t, tt.ok, ok)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestCodeAndDisposition(t *testing.T) {
	want := map[fault.Kind]struct {
		code    codes.Code
		dispose fault.Disposition
	}{
		fault.Internal:    {codes.Internal, fault.Retry},
		fault.Invalid:     {codes.InvalidArgument, fault.DeadLetter},
		fault.NotFound:    {codes.NotFound, fault.DeadLetter},
		fault.Conflict:    {codes.Aborted, fault.Retry},
		fault.Permanent:   {codes.FailedPrecondition, fault.DeadLetter},
		fault.Refused:     {codes.FailedPrecondition, fault.DeadLetter},
		fault.Retryable:   {codes.Unavailable, fault.Retry},
		fault.Unavailable: {codes.Unavailable, fault.Retry},
		fault.Exhausted:   {codes.ResourceExhausted, fault.Retry},
	}
	require.Len(t, want, len(allKinds))
	for kind, w := range want {
		t.Run(kind.String(), func(t *testing.T) {
			err := fault.New(kind, "x")
			require.Equal(t, w.code, fault.Code(err))
			require.Equal(t, w.dispose, fault.Dispose(err))
		})
	}
	require.Equal(t, codes.OK, fault.Code(nil))
	require.Equal(t, fault.Ack, fault.Dispose(nil))
}

func TestNamesAreDistinctLabels(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range allKinds {
		require.Regexp(t, `^[a-z_]+$`, k.String())
		require.False(t, seen[k.String()])
		seen[k.String()] = true
	}
	require.Equal(t, "internal", fault.Kind(200).String())
	require.Equal(t, "ack retry dead_letter", fmt.Sprint(fault.Ack, " ", fault.Retry, " ", fault.DeadLetter))
}

// A kind and its text survive the way over the wire, except that Internal is masked.
func TestStatusRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(allKinds[1:]).Draw(t, "kind")
		text := rapid.StringN(1, 200, 600).Draw(t, "text")
		err := fault.FromStatus(overWire(fault.Status(fault.New(kind, text))))
		require.Equal(t, kind, fault.KindOf(err))
		require.Equal(t, text, err.Error())
		require.Empty(t, fault.ErrorID(err))
	})
}

func TestStatusMasksInternalErrors(t *testing.T) {
	for name, err := range map[string]error{
		"unknown":        errors.New("password=hunter2"),
		"internal":       fault.New(fault.Internal, "password=hunter2"),
		"foreign status": status.Error(codes.Unknown, "password=hunter2"),
	} {
		t.Run(name, func(t *testing.T) {
			out := fault.Status(err)
			id := fault.ErrorID(out)
			require.Regexp(t, `^[0-9a-f]{8}$`, id)
			require.Equal(t, codes.Internal, status.Code(out))
			require.NotContains(t, out.Error(), "hunter2")
			require.Contains(t, out.Error(), id)

			in := fault.FromStatus(overWire(out))
			require.Equal(t, fault.Internal, fault.KindOf(in))
			require.Equal(t, id, fault.ErrorID(fmt.Errorf("ask rule: %w", in)))
		})
	}
}

func TestStatusKeepsDelay(t *testing.T) {
	out := fault.Status(fault.Wrap(fault.Exhausted, fault.After(90*time.Second, errors.New("quota"))))
	d, ok := fault.RetryAfter(fault.FromStatus(overWire(out)))
	require.True(t, ok)
	require.Equal(t, 90*time.Second, d)
}

func TestStatusKeepsFinerCodesOfPlainStatuses(t *testing.T) {
	out := fault.Status(status.Error(codes.Unauthenticated, "who are you"))
	require.Equal(t, codes.Unauthenticated, status.Code(out))
	require.Equal(t, fault.Refused, fault.KindOf(fault.FromStatus(overWire(out))))
}

func TestStatusCutsLongText(t *testing.T) {
	out := fault.Status(fault.New(fault.Invalid, string(make([]rune, 1))+longText()))
	require.Less(t, len(status.Convert(out).Message()), 2100)
	require.Contains(t, out.Error(), "…")
}

func longText() string {
	b := make([]rune, 5000)
	for i := range b {
		b[i] = '消'
	}
	return string(b)
}

func TestFromStatus(t *testing.T) {
	tests := map[codes.Code]fault.Kind{
		codes.InvalidArgument:    fault.Invalid,
		codes.OutOfRange:         fault.Invalid,
		codes.NotFound:           fault.NotFound,
		codes.Aborted:            fault.Conflict,
		codes.AlreadyExists:      fault.Conflict,
		codes.FailedPrecondition: fault.Refused,
		codes.PermissionDenied:   fault.Refused,
		codes.Unauthenticated:    fault.Refused,
		codes.Unimplemented:      fault.Permanent,
		codes.Unavailable:        fault.Unavailable,
		codes.DeadlineExceeded:   fault.Unavailable,
		codes.Canceled:           fault.Unavailable,
		codes.ResourceExhausted:  fault.Exhausted,
		codes.Internal:           fault.Internal,
		codes.Unknown:            fault.Internal,
		codes.DataLoss:           fault.Internal,
	}
	for code, kind := range tests {
		t.Run(code.String(), func(t *testing.T) {
			err := fault.FromStatus(status.Error(code, "text"))
			require.Equal(t, kind, fault.KindOf(err))
			require.Equal(t, code, status.Code(err), "the code can still be read")
			require.EqualError(t, err, "text")
		})
	}
	require.NoError(t, fault.FromStatus(nil))
	require.ErrorIs(t, fault.FromStatus(io.EOF), io.EOF)
	require.ErrorIs(t, fault.FromStatus(status.Error(codes.DeadlineExceeded, "")), context.DeadlineExceeded)
	require.ErrorIs(t, fault.FromStatus(status.Error(codes.Canceled, "")), context.Canceled)
	require.NotErrorIs(t, fault.FromStatus(status.Error(codes.Unavailable, "")), context.Canceled)
	require.EqualError(t, fault.FromStatus(status.Error(codes.Aborted, "")), "Aborted")
}

// A peer cannot make a kind up that does not fit its code.
func TestFromStatusIgnoresContradictingDetail(t *testing.T) {
	st := status.Convert(fault.Status(fault.New(fault.Permanent, "x"))).Proto()
	st.Code = int32(codes.Unavailable)
	require.Equal(t, fault.Unavailable, fault.KindOf(fault.FromStatus(status.ErrorProto(st))))
}

// overWire keeps of a status error only what the wire carries.
func overWire(err error) error {
	return status.ErrorProto(status.Convert(err).Proto())
}

type detailedError struct{ error }

func (detailedError) StatusDetails() []proto.Message {
	return []proto.Message{wrapperspb.String("more")}
}
func (e detailedError) Unwrap() error { return e.error }

func TestDetailsOfAnErrorReachTheClient(t *testing.T) {
	err := fault.Status(fmt.Errorf("reply: %w", detailedError{fault.New(fault.Conflict, "others wrote")}))
	require.Equal(t, codes.Aborted, status.Code(err))
	details := status.Convert(err).Details()
	require.Len(t, details, 2)
	require.Equal(t, "more", details[1].(*wrapperspb.StringValue).GetValue())
	masked := fault.Status(detailedError{errors.New("secret")})
	require.Len(t, status.Convert(masked).Details(), 1, "an internal error tells nothing")
}
