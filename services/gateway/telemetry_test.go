package gateway_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
)

func attribute(s tracetest.SpanStub, key string) string {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

func TestTraceOfAPush(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, patient(), shop(passiveShop))
	r.onEvent(t, func(ctx context.Context, e *eventv1.InboundEvent) error {
		_, err := r.offer(ctx, e, say("hello"))
		return err
	})
	require.Equal(t, "hello", requireText(t, g.push(t, message{id: "1", content: "secret words"}), key))

	require.Eventually(t, func() bool { return len(r.tel.Named("POST /wx/{account}")) == 1 }, telemetryPatience, telemetryPace)
	server := r.tel.Named("POST /wx/{account}")[0]
	require.Equal(t, trace.SpanKindServer, server.SpanKind)
	require.Equal(t, "/wx/{account}", attribute(server, "http.route"))
	require.Equal(t, "200", attribute(server, "http.response.status_code"))
	require.Equal(t, "shop", attribute(server, "wxbus.account"))
	require.Equal(t, "reply", attribute(server, "wxbus.outcome"))

	stored := r.messages(t, topology.StreamInbound)
	require.Len(t, stored, 1)
	require.Equal(t, server.SpanContext.TraceID().String(), traceOf(stored[0].Header), "the trace goes on over the bus")
	require.Eventually(t, func() bool {
		for _, s := range r.tel.Spans() {
			if strings.HasPrefix(s.Name, "respond ") {
				return s.SpanContext.TraceID() == server.SpanContext.TraceID()
			}
		}
		return false
	}, telemetryPatience, telemetryPace, "the offer is in the same trace")

	for _, s := range r.tel.Spans() {
		require.NotContains(t, s.Name, openID)
		for _, a := range s.Attributes {
			for _, private := range []string{openID, "secret words", "hello", key, token} {
				require.NotContains(t, a.Value.String(), private, "%s of %s", a.Key, s.Name)
			}
		}
	}
}

func TestNothingPrivateInLogsAndMetrics(t *testing.T) {
	t.Parallel()
	r := newRig(t, tiny(topology.StreamInbound, topology.StreamSpill))
	g := r.gateway(t, quick(), shop(passiveShop))
	for _, m := range []message{{id: "1", content: "secret words"}, {id: "2", content: "secret words that are longer than the stream"}, {id: "3", content: "secret"}} {
		g.push(t, m)
	}
	stranger := valid
	stranger.token = "OtherToken"
	query, body := stranger.seal(t, "secure", 1, message{id: "4", content: "secret words"}.body())
	g.post(t.Context(), query, body)

	log := r.tel.Log.String()
	require.Contains(t, log, "push not stored", "the test provokes a line")
	families, err := r.tel.Registry.Gather()
	require.NoError(t, err)
	metrics := ""
	for _, f := range families {
		metrics += f.String()
	}
	require.Contains(t, metrics, "wxbus_gateway_pushes_total")
	for _, private := range []string{openID, "secret words", key, token} {
		require.NotContains(t, log, private)
		require.NotContains(t, metrics, private)
	}
}

func TestPushesAreCountedByOutcome(t *testing.T) {
	r := newRig(t)
	g := r.gateway(t, quick(), shop(nil))
	requireSuccess(t, g.push(t, message{id: "1", content: "x"}))
	query, _ := valid.seal(t, "secure", 1, message{id: "1", content: "x"}.body())
	g.post(t.Context(), query, []byte("<xml></xml>"))
	require.Equal(t, 1.0, r.metric(t, "wxbus_gateway_pushes_total", "account=shop", "outcome=success"))
	require.Equal(t, 1.0, r.metric(t, "wxbus_gateway_pushes_total", "account=shop", "outcome=refused"))
	require.Equal(t, 1.0, r.metric(t, "wxbus_gateway_answer_duration_seconds", "outcome=success"))
	require.Zero(t, r.metric(t, "wxbus_gateway_in_flight"))
}
