package trace

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/wxbus/wxbus/pkg/telemetry/telemetrytest"
)

const (
	spanPush         = "POST /wx/{account}"
	spanSendIn       = "send wx.in.{account}.{partition}.{kind}.{openid}"
	spanProcessIn    = "process wx.in.{account}.{partition}.{kind}.{openid}"
	spanDecide       = "decide"
	spanSendDecision = "send wx.decision.{account}.{partition}.{id}"
	spanReadDecision = "process wx.decision.{account}.{partition}.{id}"
	spanAskGateway   = "request wxgw.offer.{instance}"
	spanGateway      = "respond wxgw.offer.{instance}"
	spanSender       = "wxbus.sender.v1.SenderService/Send"
	spanToken        = "wxbus.token.v1.TokenService/GetToken"
	spanSendOut      = "send wx.out.{lane}.{account}.{partition}.{openid}"
	spanProcessOut   = "process wx.out.{lane}.{account}.{partition}.{openid}"
	spanWeChat       = "POST /cgi-bin/message/custom/send"
	spanSendDelivery = "send wx.delivery.{account}.{partition}.{openid}"
)

// tree is the spans of one trace.
type tree struct {
	spans tracetest.SpanStubs
	byID  map[oteltrace.SpanID]tracetest.SpanStub
}

func newTree(all tracetest.SpanStubs, id oteltrace.TraceID) tree {
	t := tree{byID: map[oteltrace.SpanID]tracetest.SpanStub{}}
	for _, s := range all {
		if s.SpanContext.TraceID() == id {
			t.spans = append(t.spans, s)
			t.byID[s.SpanContext.SpanID()] = s
		}
	}
	return t
}

// edge names a span with its kind and its parent.
type edge struct {
	name   string
	kind   oteltrace.SpanKind
	parent string // "" for a root
}

func (e edge) String() string { return fmt.Sprintf("%s %q below %q", e.kind, e.name, e.parent) }

// edges counts the edges. A span whose parent has not ended yet has the parent "?".
func (t tree) edges() map[edge]int {
	out := map[edge]int{}
	for _, s := range t.spans {
		e := edge{name: s.Name, kind: s.SpanKind}
		if s.Parent.SpanID().IsValid() {
			e.parent = "?"
			if p, ok := t.byID[s.Parent.SpanID()]; ok {
				e.parent = p.Name
			}
		}
		out[e]++
	}
	return out
}

// one returns the only span of that name and kind.
func (t tree) one(tb testing.TB, name string, kind oteltrace.SpanKind) tracetest.SpanStub {
	tb.Helper()
	var found tracetest.SpanStubs
	for _, s := range t.spans {
		if s.Name == name && s.SpanKind == kind {
			found = append(found, s)
		}
	}
	require.Len(tb, found, 1, "%s %s in\n%s", kind, name, t)
	return found[0]
}

func (t tree) String() string {
	var b strings.Builder
	var walk func(parent oteltrace.SpanID, depth int)
	walk = func(parent oteltrace.SpanID, depth int) {
		for _, s := range t.spans {
			if s.Parent.SpanID() == parent {
				fmt.Fprintf(&b, "%s%s [%s]\n", strings.Repeat("  ", depth), s.Name, s.SpanKind)
				walk(s.SpanContext.SpanID(), depth+1)
			}
		}
	}
	walk(oteltrace.SpanID{}, 0)
	return b.String()
}

func attribute(s tracetest.SpanStub, key string) string {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

// within waits until the trace of the only push has every wanted edge and no span without its parent.
func within(t *testing.T, tel *telemetrytest.Telemetry, want map[edge]int) tree {
	t.Helper()
	var got tree
	missing := func() string {
		roots := tel.Named(spanPush)
		if len(roots) == 0 {
			return "the span of the push has not ended"
		}
		got = newTree(tel.Spans(), roots[0].SpanContext.TraceID())
		edges := got.edges()
		for e, n := range want {
			if edges[e] < n {
				return fmt.Sprintf("%d of %d: %s", edges[e], n, e)
			}
		}
		for e := range edges {
			if e.parent == "?" {
				return "parent unknown: " + e.name
			}
		}
		return ""
	}
	deadline := time.Now().Add(15 * time.Second)
	for text := missing(); text != ""; text = missing() {
		if time.Now().After(deadline) {
			t.Fatalf("%s\nthe trace is\n%s", text, got)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	return got
}
