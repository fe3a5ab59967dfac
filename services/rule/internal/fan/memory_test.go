package fan_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/fan"
)

// TestWhatIsErasedIsGoneInEveryReplica: also in one that wrote it and remembers that.
func TestWhatIsErasedIsGoneInEveryReplica(t *testing.T) {
	env := bustest.Start(t)
	a, b := store(t, env, "a"), store(t, env, "b")
	apply := func(rec *rulev1.DecisionMade) { require.NoError(t, b.Apply(t.Context(), rec, now)) }
	memory := func(s *fan.Store, openid string) *rulev1.GetFanMemoryResponse {
		got, err := s.Memory(t.Context(), "shop", openid)
		require.NoError(t, err)
		return got
	}
	turn := &rulev1.ChatTurn{EventId: "2", Rule: "chat", Question: "where do I live?", Answer: "here", AtUnixMs: now.UnixMilli()}
	apply(decision("1", []string{"vip"}, nil, &rulev1.FanChange{Form: &rulev1.FormState{Rule: "repair"}}))
	apply(decision("2", nil, nil, &rulev1.FanChange{Turn: turn, Cooldown: "greet", CooldownUntilUnixMs: now.Add(time.Hour).UnixMilli()}))
	other := decision("3", []string{"vip"}, nil, nil)
	other.Openid = "o_other"
	apply(other)
	kept := memory(b, "o_fan")
	require.Equal(t, []string{"vip"}, kept.GetRecord().GetTags())
	require.Equal(t, "repair", kept.GetForm().GetRule())
	require.Equal(t, "where do I live?", kept.GetChat().GetTurns()[0].GetQuestion())

	items, err := a.Erase(t.Context(), "shop", "o_fan")
	require.NoError(t, err)
	require.Len(t, items, 3)
	for _, it := range items {
		require.EqualValues(t, 1, it.GetErased(), it.GetPlace())
		require.Zero(t, it.GetLeft(), it.GetPlace())
	}
	for _, s := range []*fan.Store{a, b} {
		require.Eventually(t, func() bool { return proto.Equal(&rulev1.GetFanMemoryResponse{}, memory(s, "o_fan")) }, time.Minute, 5*time.Millisecond)
		record, err := s.Get(t.Context(), "shop", "o_fan")
		require.NoError(t, err)
		require.Empty(t, record.GetTags())
		form, err := s.Form(t.Context(), "shop", "o_fan")
		require.NoError(t, err)
		require.Nil(t, form)
		turns, err := s.History(t.Context(), "shop", "o_fan", "chat", now.Add(-time.Hour), 10)
		require.NoError(t, err)
		require.Empty(t, turns)
	}
	require.Equal(t, []string{"vip"}, memory(a, "o_other").GetRecord().GetTags(), "other fans keep theirs")

	again, err := b.Erase(t.Context(), "shop", "o_fan")
	require.NoError(t, err)
	for _, it := range again {
		require.Zero(t, it.GetErased()+it.GetLeft(), "nothing is left: %s", it.GetPlace())
	}
	for _, bucket := range []string{topology.BucketFans, topology.BucketDialogs} {
		for _, text := range stored(t, env, bucket) {
			require.NotContains(t, text, "where do I live")
		}
	}
}

// stored returns what the stream of a bucket holds of o_fan, and checks that the marks of what was erased go away.
func stored(t *testing.T, env *bustest.Env, bucket string) []string {
	t.Helper()
	stream, err := env.JS.Stream(t.Context(), "KV_"+bucket)
	require.NoError(t, err)
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("$KV."+bucket+".>"))
	require.NoError(t, err)
	var out []string
	for subject := range info.State.Subjects {
		m, err := stream.GetLastMsgForSubject(t.Context(), subject)
		require.NoError(t, err)
		out = append(out, string(m.Data))
		if op := m.Header.Get("KV-Operation"); op != "" {
			require.Equal(t, "1m0s", m.Header.Get("Nats-TTL"), subject)
		}
	}
	return out
}

func TestAFanWhoLeftGetsNoRecordByThat(t *testing.T) {
	env := bustest.Start(t)
	s := store(t, env, "a")
	require.NoError(t, s.Apply(t.Context(), decision("1", nil, nil, &rulev1.FanChange{Unsubscribed: true}), now))
	got, err := s.Memory(t.Context(), "shop", "o_fan")
	require.NoError(t, err)
	require.True(t, proto.Equal(&rulev1.GetFanMemoryResponse{}, got))
	require.Empty(t, stored(t, env, topology.BucketFans))
}

func TestAFanWithABadNameIsRefused(t *testing.T) {
	env := bustest.Start(t)
	s := store(t, env, "a")
	_, err := s.Erase(t.Context(), "shop.>", "o_fan")
	require.Error(t, err)
	_, err = s.Memory(t.Context(), "", "o_fan")
	require.Error(t, err)
}
