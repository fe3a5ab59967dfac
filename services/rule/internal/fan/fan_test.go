package fan_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/fan"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var now = time.UnixMilli(1_700_000_000_000)

func store(t *testing.T, env *bustest.Env, name string) *fan.Store {
	t.Helper()
	s := fan.New(slog.New(slog.DiscardHandler))
	require.NoError(t, s.Start(t.Context(), env.NewConn(t, name).JS()))
	t.Cleanup(func() { require.NoError(t, s.Stop(context.WithoutCancel(t.Context()))) })
	return s
}

// decision returns one about o_fan of shop.
func decision(id string, tags, untag []string, change *rulev1.FanChange) *rulev1.DecisionMade {
	return &rulev1.DecisionMade{Id: id, Account: "shop", Openid: "o_fan", Tags: tags, ClearTags: untag, Fan: change}
}

func TestADecisionChangesAFanOnce(t *testing.T) {
	env := bustest.Start(t)
	s := store(t, env, "a")
	apply := func(rec *rulev1.DecisionMade) { require.NoError(t, s.Apply(t.Context(), rec, now)) }
	get := func() *rulev1.FanRecord {
		record, err := s.Get(t.Context(), "shop", "o_fan")
		require.NoError(t, err)
		return record
	}
	require.Empty(t, get().GetTags())
	first := decision("1", []string{"vip", "new"}, nil, &rulev1.FanChange{SubscribedUnixS: 7, Language: "zh_CN"})
	apply(first)
	apply(decision("2", nil, []string{"new"}, &rulev1.FanChange{Cooldown: "greet", CooldownUntilUnixMs: now.Add(time.Hour).UnixMilli()}))
	apply(first) // the first one again, after a crash
	record := get()
	require.Equal(t, []string{"vip"}, record.GetTags())
	require.EqualValues(t, 7, record.GetSubscribedUnixS())
	require.Equal(t, "zh_CN", record.GetLanguage())
	require.Equal(t, map[string]int64{"greet": now.Add(time.Hour).UnixMilli()}, record.GetCooldowns())
	apply(decision("3", nil, nil, &rulev1.FanChange{Unsubscribed: true}))
	record = get()
	require.Zero(t, record.GetSubscribedUnixS())
	require.Equal(t, []string{"vip"}, record.GetTags(), "what was given once stays given")
}

func TestReplicasDoNotLoseEachOthersChanges(t *testing.T) {
	env := bustest.Start(t)
	stores := []*fan.Store{store(t, env, "a"), store(t, env, "b")}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			rec := decision(fmt.Sprint(i), []string{fmt.Sprintf("tag%02d", i)}, nil, nil)
			for stores[i%2].Apply(context.Background(), rec, now) != nil {
			}
		})
	}
	wg.Wait()
	record, err := stores[0].Get(t.Context(), "shop", "o_fan")
	require.NoError(t, err)
	require.Len(t, record.GetTags(), 16)
}

func TestWhatIsKeptAboutAFanIsBounded(t *testing.T) {
	s := store(t, bustest.Start(t), "a")
	for i := range 80 {
		until := now.Add(time.Duration(i) * time.Minute).UnixMilli()
		require.NoError(t, s.Apply(t.Context(), decision(fmt.Sprint(i), []string{fmt.Sprintf("tag%02d", i)}, nil,
			&rulev1.FanChange{Cooldown: fmt.Sprintf("rule%02d", i), CooldownUntilUnixMs: until}), now))
	}
	record, err := s.Get(t.Context(), "shop", "o_fan")
	require.NoError(t, err)
	require.Len(t, record.GetTags(), 64)
	require.Len(t, record.GetCooldowns(), 64)
	require.Len(t, record.GetApplied(), 16)
	require.NotContains(t, record.GetCooldowns(), "rule15", "those that end first go first")
	require.Contains(t, record.GetCooldowns(), "rule79")
}

func TestAnOpenFormIsKnownToEveryReplica(t *testing.T) {
	env := bustest.Start(t)
	one, two := store(t, env, "a"), store(t, env, "b")
	form := func(s *fan.Store) *rulev1.FormState {
		state, err := s.Form(t.Context(), "shop", "o_fan")
		require.NoError(t, err)
		return state
	}
	require.Nil(t, form(one))
	require.NoError(t, one.Apply(t.Context(), decision("1", nil, nil, &rulev1.FanChange{Form: &rulev1.FormState{Rule: "repair", Question: 1}}), now))
	require.EqualValues(t, 1, form(one).GetQuestion(), "at once where it was written")
	require.Eventually(t, func() bool { return form(two) != nil }, 30*time.Second, 5*time.Millisecond)
	three := store(t, env, "c")
	require.Equal(t, "repair", form(three).GetRule(), "also by one that starts later")
	require.NoError(t, two.Apply(t.Context(), decision("2", nil, nil, &rulev1.FanChange{FormEnded: true}), now))
	require.Nil(t, form(two))
	require.Eventually(t, func() bool { return form(one) == nil }, 30*time.Second, 5*time.Millisecond)
}

func TestAHistoryIsShortAndOfOneRule(t *testing.T) {
	s := store(t, bustest.Start(t), "a")
	for i := range 30 {
		turn := &rulev1.ChatTurn{Rule: "model", Question: fmt.Sprint(i), AtUnixMs: now.Add(time.Duration(i) * time.Minute).UnixMilli(), EventId: fmt.Sprint(i)}
		rec := decision(fmt.Sprint(i), nil, nil, &rulev1.FanChange{Turn: turn})
		require.NoError(t, s.Apply(t.Context(), rec, now))
		require.NoError(t, s.Apply(t.Context(), rec, now))
	}
	turns, err := s.History(t.Context(), "shop", "o_fan", "model", now, 3)
	require.NoError(t, err)
	require.Equal(t, []string{"27", "28", "29"}, questions(turns))
	turns, err = s.History(t.Context(), "shop", "o_fan", "model", now.Add(28*time.Minute), 20)
	require.NoError(t, err)
	require.Equal(t, []string{"28", "29"}, questions(turns))
	turns, err = s.History(t.Context(), "shop", "o_fan", "other", now, 20)
	require.NoError(t, err)
	require.Empty(t, turns)
	require.NoError(t, s.Apply(t.Context(), decision("x", nil, nil, &rulev1.FanChange{Unsubscribed: true}), now))
	turns, err = s.History(t.Context(), "shop", "o_fan", "model", now, 20)
	require.NoError(t, err)
	require.Empty(t, turns, "who unfollows is forgotten")
}

func questions(turns []*rulev1.ChatTurn) []string {
	var out []string
	for _, turn := range turns {
		out = append(out, turn.GetQuestion())
	}
	return out
}

func TestTokensAreCountedOverReplicasAndDays(t *testing.T) {
	env := bustest.Start(t)
	clock := now
	tell := func() time.Time { return clock }
	one, two := fan.NewTokens(store(t, env, "a"), tell), fan.NewTokens(store(t, env, "b"), tell)
	one.Use(t.Context(), "main", 60)
	require.EqualValues(t, 60, one.Used("main"))
	require.Zero(t, two.Used("main"), "it has not called yet")
	two.Use(t.Context(), "main", 5)
	require.EqualValues(t, 65, two.Used("main"))
	clock = clock.Add(24 * time.Hour)
	require.Zero(t, one.Used("main"))
}

func TestWithoutNATSNothingIsKnown(t *testing.T) {
	env := bustest.Start(t)
	s := store(t, env, "a")
	require.NoError(t, env.Server.Stop(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := s.Get(ctx, "shop", "o_fan")
	require.ErrorContains(t, err, "read bucket "+topology.BucketFans)
}
