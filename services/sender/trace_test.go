package sender_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/grpcx"
	"github.com/wxbus/wxbus/services/sender"
)

// dial serves the sender over gRPC in this process and returns a client.
func (f *fixture) dial(t testing.TB, s *sender.Service) senderv1.SenderServiceClient {
	t.Helper()
	server := grpcx.NewServer(grpcx.Options{InProcess: true, Log: f.tel.Logger, Tracer: f.tel.TracerProvider})
	s.RegisterGRPC(server)
	bustest.Run(t, server)
	conn, err := server.InProcessConn(grpcx.DialOptions{Tracer: f.tel.TracerProvider})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return senderv1.NewSenderServiceClient(conn)
}

func TestOneTraceGoesFromTheCallerToWeChat(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	client := f.dial(t, s)
	ctx, span := f.tel.TracerProvider.Tracer("test").Start(t.Context(), "caller")
	resp, err := client.Send(ctx, f.request("oSecretFan", "k1", "private words"))
	require.NoError(t, err)
	span.End()
	ends(t, s, "shop", resp.GetId(), sent)
	f.idle(t)

	var names []string
	require.Eventually(t, func() bool {
		names = nil
		for _, one := range f.tel.Spans() {
			if one.SpanContext.TraceID() == span.SpanContext().TraceID() {
				names = append(names, one.Name)
			}
		}
		return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "process wx.out") })
	}, 30*time.Second, 5*time.Millisecond)
	for _, want := range []string{"wxbus.sender.v1.SenderService/Send", "send wx.out", "process wx.out", "POST /cgi-bin/message/custom/send", "send wx.delivery"} {
		require.True(t, slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, want) }), "%s in %v", want, names)
	}
	f.keepsSecrets(t)
}

func TestNoSecretIsPrintedWhateverHappens(t *testing.T) {
	f := setUp(t)
	f.cfg.CallTimeout = 100 * time.Millisecond
	s := f.replica(t, "a")
	list := []answer{
		{errcode: 40003, errmsg: "invalid openid oSecretFan rid: 1"}, {errcode: 40001, errmsg: "invalid credential access-token-1"},
		{hang: true}, {reset: true}, {status: 502, raw: "access-token-1"}, {raw: "access-token-1"}, {errcode: 12345, errmsg: "private words"},
	}
	f.wechat.once(list...)
	for i := range list {
		req := f.request("oSecretFan", fmt.Sprint("k", i), "private words")
		req.Evidence = f.said(fmt.Sprint("said ", i))
		send(t, s, req)
		f.idle(t)
	}
	f.keepsSecrets(t)
	for _, one := range f.facts(t, len(list)) {
		require.NotContains(t, one.settled.GetReason(), "access-token")
		require.NotContains(t, one.settled.GetReason(), "private words")
	}
}

func (f *fixture) keepsSecrets(t testing.TB) {
	t.Helper()
	for _, secret := range []string{"access-token-", "oSecretFan", "private words", "the-app-secret"} {
		require.NotContains(t, f.tel.Log.String(), secret)
		require.NotContains(t, f.metrics(t), secret)
		for _, span := range f.tel.Spans() {
			require.NotContains(t, describe(span), secret, "span %s", span.Name)
		}
	}
}

func describe(s tracetest.SpanStub) string {
	return fmt.Sprint(s.Name, s.Attributes, s.Events, s.Status)
}

func TestErrorsHaveTheirCodeOverGRPC(t *testing.T) {
	f := setUp(t)
	client := f.dial(t, f.replica(t, "a"))
	req := f.request("fan-1", "k1", "hello")
	req.Evidence = nil
	_, err := client.Send(t.Context(), req)
	require.Equal(t, fault.Refused, fault.KindOf(err))
	require.ErrorContains(t, err, "window closed")
	_, err = client.Send(t.Context(), f.request("fan-2", "k2", ""))
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = client.Send(t.Context(), f.request("fan-2", "k3", "hello"))
	require.NoError(t, err)
	_, err = client.Send(t.Context(), f.request("fan-2", "k3", "hello!"))
	require.Equal(t, fault.Conflict, fault.KindOf(err))
}
