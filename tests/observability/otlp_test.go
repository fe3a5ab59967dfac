package observability

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/wxbus/wxbus/tests/stack"
)

// receiver is an OTLP receiver as a collector has one. It keeps the spans by trace.
type receiver struct {
	collectorv1.UnimplementedTraceServiceServer
	endpoint string

	mu     sync.Mutex // guards traces
	traces map[string][]span
}

// span is a span with the service that ended it.
type span struct {
	service string
	*tracev1.Span
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &receiver{endpoint: "http://" + listener.Addr().String(), traces: map[string][]span{}}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, r)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-ended)
	})
	return r
}

// Export implements collectorv1.TraceServiceServer.
func (r *receiver) Export(_ context.Context, req *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				id := hex.EncodeToString(s.GetTraceId())
				r.traces[id] = append(r.traces[id], span{service, s})
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// with returns the traces that have a span of that name.
func (r *receiver) with(name string) [][]span {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out [][]span
	for _, spans := range r.traces {
		for _, s := range spans {
			if s.GetName() == name {
				out = append(out, append([]span(nil), spans...))
				break
			}
		}
	}
	return out
}

// all returns every trace.
func (r *receiver) all() [][]span {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out [][]span
	for _, spans := range r.traces {
		out = append(out, append([]span(nil), spans...))
	}
	return out
}

// ancestry is the way from a span to the root, as "service name", the span first.
func ancestry(spans []span, s span) []string {
	byID := map[string]span{}
	for _, x := range spans {
		byID[string(x.GetSpanId())] = x
	}
	out := []string{s.service + " " + s.GetName()}
	for len(s.GetParentSpanId()) > 0 {
		parent, ok := byID[string(s.GetParentSpanId())]
		if !ok {
			return append(out, "?")
		}
		s = parent
		out = append(out, s.service+" "+s.GetName())
	}
	return out
}

func describe(traces [][]span) string {
	var b strings.Builder
	for _, spans := range traces {
		var lines []string
		for _, s := range spans {
			lines = append(lines, "  "+strings.Join(ancestry(spans, s), " < "))
		}
		sort.Strings(lines)
		fmt.Fprintf(&b, "trace\n%s\n", strings.Join(lines, "\n"))
	}
	return b.String()
}

// The way of one push with two replies, the second by API, from WeChat's door to WeChat's API. Every process
// exports on its own; what makes it one trace is what they carry to each other.
var wayOfASend = []string{
	"sender POST /cgi-bin/message/custom/send",
	"sender process wx.out.{lane}.{account}.{partition}.{openid}",
	"sender send wx.out.{lane}.{account}.{partition}.{openid}",
	"sender wxbus.sender.v1.SenderService/Send",
	"rule wxbus.sender.v1.SenderService/Send",
	"rule process wx.in.{account}.{partition}.{kind}.{openid}",
	"gateway send wx.in.{account}.{partition}.{kind}.{openid}",
	"gateway POST /wx/{account}",
}

// The way of the first send to its access token, as far as the sender's own work.
var wayOfAToken = []string{
	"token POST /cgi-bin/stable_token",
	"token wxbus.token.v1.TokenService/GetToken",
	"sender wxbus.token.v1.TokenService/GetToken",
}

func TestSpansOfSeparateProcessesArriveAsOneTrace(t *testing.T) {
	r := startReceiver(t)
	s := stack.Start(t, stack.Options{Mode: stack.Split, Gateways: 1, Replicas: map[string]int{"rule": 1}, Config: map[string]any{
		"telemetry": map[string]any{"otlp_endpoint": r.endpoint, "sample_ratio": 1},
		"accounts":  []map[string]any{accountOf(1, desk, "passive")},
	}, Rules: twoReplies})
	var traces [][]span
	complete := func() bool {
		traces = r.with("POST /wx/{account}")
		send, token := false, false
		for _, spans := range traces {
			for _, s := range spans {
				way := strings.Join(ancestry(spans, s), "\n")
				send = send || way == strings.Join(wayOfASend, "\n")
				token = token || way == strings.Join(append(slices.Clone(wayOfAToken), wayOfASend[1:]...), "\n")
			}
		}
		return send && token
	}
	deadline := time.Now().Add(patience)
	for fan := 0; !complete(); fan++ {
		if time.Now().After(deadline) {
			t.Fatalf("the spans of no push become one trace:\n%s", describe(traces))
		}
		// On a slow machine an attempt may be given up, and what is tried again is a trace of its own: then another fan.
		if fan%50 == 0 {
			require.NoError(t, push(t.Context(), s.Simulator, desk, fmt.Sprintf("oTrace%d", fan), "两条"))
		}
		select {
		case <-time.After(200 * time.Millisecond): // processes export in batches
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	t.Log(describe(traces))
}
