package shadow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/shadow"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// record stores texts of fans of an account.
func record(t *testing.T, env *bustest.Env, account string, texts ...string) {
	t.Helper()
	for i, text := range texts {
		openid := fmt.Sprintf("o_%d", i)
		ev := &eventv1.InboundEvent{
			Id: fmt.Sprintf("%s%032x", account, time.Now().UnixNano()), Account: account, Openid: openid, Kind: eventv1.EventKind_EVENT_KIND_MESSAGE,
			MsgType: "text", Payload: &eventv1.InboundEvent_Text{Text: &eventv1.TextMessage{Content: text}},
		}
		subject, err := topology.SubjectInbound(account, env.Topology.Partition(account, openid), ev.GetKind(), openid)
		require.NoError(t, err)
		data, err := proto.Marshal(ev)
		require.NoError(t, err)
		_, err = env.Conn.Publish(t.Context(), bus.Msg{Subject: subject, ID: ev.GetId(), Data: data})
		require.NoError(t, err)
	}
}

// table judges by two tables from texts to rules.
func table(before, after map[string]string) shadow.Judge {
	outcome := func(rules map[string]string, text string) shadow.Outcome {
		rule := rules[text]
		if rule == "" {
			return shadow.Outcome{Route: rulev1.Route_ROUTE_NONE}
		}
		return shadow.Outcome{Rule: rule, Does: rule, Reply: "by " + rule, Route: rulev1.Route_ROUTE_PASSIVE}
	}
	return func(ev *eventv1.InboundEvent) (shadow.Outcome, shadow.Outcome, shadow.Event, bool, error) {
		text := ev.GetText().GetContent()
		b, a := outcome(before, text), outcome(after, text)
		if text == "changed reply" {
			a.Does = "something else"
		}
		return b, a, shadow.Event{InboundEvent: ev, Kind: "text", Text: text}, text != "ignore", nil
	}
}

func options() shadow.Options {
	return shadow.Options{Since: time.Now().Add(-time.Hour), MaxEvents: 1000}
}

func TestEveryKindOfDifferenceIsCounted(t *testing.T) {
	t.Parallel()
	env := bustest.Start(t)
	record(t, env, "shop", "same", "other rule", "changed reply", "new", "new！", "gone", "nothing", "ignore")
	before := map[string]string{"same": "a", "other rule": "a", "changed reply": "c", "gone": "g"}
	after := map[string]string{"same": "a", "other rule": "b", "changed reply": "c", "new": "b", "new！": "b"}
	var last shadow.Progress
	o := options()
	o.Progress = func(p shadow.Progress) error { last = p; return nil }
	got, err := shadow.Run(t.Context(), env.JS, o, table(before, after))
	require.NoError(t, err)
	require.Equal(t, []int64{7, 2, 2, 2, 1}, []int64{got.Events, got.Same, got.Changed, got.NewlyAnswered, got.NewlySilent})
	require.Equal(t, shadow.Progress{Read: 8, Total: 8, Events: 7, Differing: 5}, last)
	require.Equal(t, []shadow.Rule{
		{Name: "b", After: 3, Gained: 3, NewlyAnswered: 2},
		{Name: "a", Before: 2, After: 1, Lost: 1},
		{Name: "c", Before: 1, After: 1, Changed: 1},
		{Name: "g", Before: 1, Lost: 1, NewlySilent: 1},
	}, got.Rules)
	require.Len(t, got.Differences, 4)
	require.Equal(t, "new", got.Differences[0].Text)
	require.EqualValues(t, 2, got.Differences[0].Events, "punctuation makes no group of its own")
	require.False(t, got.From.After(got.To))
	require.False(t, got.Truncated)
}

func TestARunIsBounded(t *testing.T) {
	t.Parallel()
	env := bustest.Start(t)
	record(t, env, "shop", "a", "b", "c")
	record(t, env, "club", "d", "e")
	all := map[string]string{"a": "r", "b": "r", "c": "r", "d": "r", "e": "r"}
	o := options()
	o.MaxEvents = 2
	got, err := shadow.Run(t.Context(), env.JS, o, table(nil, all))
	require.NoError(t, err)
	require.EqualValues(t, 2, got.Events)
	require.True(t, got.Truncated)
	require.Equal(t, "club", got.Differences[0].Account, "the newest ones")

	o = options()
	o.Account = "shop"
	got, err = shadow.Run(t.Context(), env.JS, o, table(nil, all))
	require.NoError(t, err)
	require.EqualValues(t, 3, got.Events)
	o.Since = time.Now().Add(time.Hour)
	got, err = shadow.Run(t.Context(), env.JS, o, table(nil, all))
	require.NoError(t, err)
	require.Zero(t, got.Events)
	require.True(t, got.From.IsZero())
}

func TestARunEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	env := bustest.Start(t)
	record(t, env, "shop", "a", "b", "c")
	ctx, cancel := context.WithCancel(t.Context())
	judge := table(nil, nil)
	_, err := shadow.Run(ctx, env.JS, options(), func(ev *eventv1.InboundEvent) (shadow.Outcome, shadow.Outcome, shadow.Event, bool, error) {
		cancel()
		return judge(ev)
	})
	require.ErrorIs(t, err, context.Canceled)
	gone := errors.New("gone")
	o := options()
	o.Progress = func(shadow.Progress) error { return gone }
	_, err = shadow.Run(t.Context(), env.JS, o, judge)
	require.ErrorIs(t, err, gone)
}
