package trace

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
)

// keepsSecrets checks everything that leaves the process for an operator's eyes.
func keepsSecrets(t *testing.T, tel *telemetrytest.Telemetry) {
	t.Helper()
	spans := tel.Spans()
	require.NotEmpty(t, spans)
	for _, s := range spans {
		silent(t, "span "+s.Name, spanText(s))
	}
	families, err := tel.Registry.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, families)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			silent(t, "metric "+f.GetName(), m.String())
		}
	}
	seen := 0
	for line := range strings.Lines(tel.Log.String()) {
		var entry struct{ Level string }
		require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
		if entry.Level != "DEBUG" {
			silent(t, "log", line)
			seen++
		}
	}
	require.NotZero(t, seen)
}

func silent(t *testing.T, where, text string) {
	t.Helper()
	for what, canary := range canaries {
		require.NotContains(t, text, canary, "%s shows the %s", where, what)
	}
}

func spanText(s tracetest.SpanStub) string {
	var b strings.Builder
	fmt.Fprintln(&b, s.Name, s.Status.Description, s.SpanContext.TraceState().String())
	for _, a := range s.Attributes {
		fmt.Fprintln(&b, a.Key, a.Value.String())
	}
	for _, e := range s.Events {
		fmt.Fprintln(&b, e.Name)
		for _, a := range e.Attributes {
			fmt.Fprintln(&b, a.Key, a.Value.String())
		}
	}
	for _, l := range s.Links {
		for _, a := range l.Attributes {
			fmt.Fprintln(&b, a.Key, a.Value.String())
		}
	}
	return b.String()
}
