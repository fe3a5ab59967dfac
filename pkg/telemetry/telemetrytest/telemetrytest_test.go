package telemetrytest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
	"github.com/wxbus/wxbus/pkg/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestSpansAndLogAreThereAtOnce(t *testing.T) {
	tel := telemetrytest.New(t)
	ctx, span := tel.TracerProvider.Tracer("x").Start(t.Context(), "push")
	tel.Logger.DebugContext(ctx, "hello")
	require.Empty(t, tel.Spans())
	span.End()
	require.Len(t, tel.Spans(), 1)
	require.Len(t, tel.Named("push"), 1)
	require.Empty(t, tel.Named("pull"))
	require.Contains(t, tel.Log.String(), span.SpanContext().TraceID().String())
}
