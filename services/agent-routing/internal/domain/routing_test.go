package domain_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

var now = time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)

func member(id string, load, places int) domain.Member {
	return domain.Member{ID: id, Name: id, Presence: domain.Online, LeaseUntil: now.Add(time.Minute), Load: load, Places: places}
}

func TestMethodsOfRouting(t *testing.T) {
	a, b, c := member("a", 2, 4), member("b", 3, 10), member("c", 0, 1)
	a.LastAssigned, b.LastAssigned, c.LastAssigned = now.Add(-3*time.Minute), now.Add(-2*time.Minute), now.Add(-time.Minute)
	all := []domain.Member{a, b, c}
	for _, test := range []struct {
		method domain.Method
		last   string
		want   string
		reason domain.Reason
		why    string
	}{
		{domain.LeastLoad, "", "c", domain.ByLeastLoad, "least load of 3, online, 1/1"},
		{domain.Rotation, "", "a", domain.WaitedLongest, "waited longest of 3, online, 3/4"},
		{domain.LastAgent, "b", "b", domain.TalkedBefore, "last agent, online, 4/10"},
		{domain.LastAgent, "gone", "c", domain.ByLeastLoad, "least load of 3, online, 1/1"},
	} {
		got, why := domain.Choose(domain.Conversation{}, domain.Group{Method: test.method}, all, test.last, now)
		require.Equal(t, test.want, got.ID, test.method)
		require.Equal(t, test.why, why.Why)
		require.Equal(t, test.reason, why.Reason)
		require.Equal(t, 3, why.Choices)
		require.Equal(t, got.Places, why.Capacity)
		require.Equal(t, got.Load+1, why.LoadAfter)
		require.Len(t, why.Candidates, 3)
	}
}

func TestWhyAnAgentIsLeftOut(t *testing.T) {
	offline, away, full, unskilled, foreign, declined := member("offline", 0, 1), member("away", 0, 1), member("full", 1, 1), member("unskilled", 0, 1), member("foreign", 0, 1), member("declined", 0, 1)
	offline.LeaseUntil = now
	away.Presence = domain.Away
	for _, m := range []*domain.Member{&offline, &away, &full, &foreign, &declined} {
		m.Skills = []string{"returns"}
	}
	foreign.Languages = []string{"zh"}
	declined.Languages = []string{"en"}
	c := domain.Conversation{Skills: []string{"returns"}, Language: "en_US", Declined: []string{"declined"}}
	got, why := domain.Choose(c, domain.Group{Languages: []string{"en", "ja"}}, []domain.Member{offline, away, full, unskilled, foreign}, "", now)
	require.Empty(t, got.ID)
	require.Equal(t, "nobody is free", why.Why)
	require.Equal(t, domain.NobodyFree, why.Reason)
	for _, cand := range why.Candidates {
		want := map[string]string{"unskilled": "skill", "foreign": "language"}[cand.Agent]
		if want == "" {
			want = cand.Agent
		}
		require.Equal(t, want, cand.ExcludedBy)
	}
	got, _ = domain.Choose(c, domain.Group{Languages: []string{"en"}}, []domain.Member{foreign, declined}, "", now)
	require.Equal(t, "declined", got.ID, "who gave it back is asked again when there is nobody else")
	got, _ = domain.Choose(domain.Conversation{Language: "fr"}, domain.Group{Languages: []string{"en"}}, []domain.Member{foreign}, "", now)
	require.Equal(t, "foreign", got.ID, "a language that the group does not name asks for nobody")
}

func TestNobodyGetsMoreThanFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var members []domain.Member
		free := false
		for i := range rapid.IntRange(0, 8).Draw(t, "members") {
			m := member(fmt.Sprint(i), rapid.IntRange(0, 4).Draw(t, "load"), rapid.IntRange(0, 4).Draw(t, "places"))
			m.Presence = domain.Presence(rapid.IntRange(0, 3).Draw(t, "presence"))
			free = free || (m.Presence == domain.Online && m.Load < m.Places)
			members = append(members, m)
		}
		g := domain.Group{Method: domain.Method(rapid.IntRange(0, 4).Draw(t, "method"))}
		got, why := domain.Choose(domain.Conversation{}, g, members, "1", now)
		require.Equal(t, free, got.ID != "")
		if got.ID != "" {
			require.Less(t, got.Load, got.Places)
			require.Equal(t, domain.Online, got.Presence)
			require.Equal(t, got.ID, why.Winner)
		}
	})
}

func TestADecisionByHandSaysWhoMadeItAndInWhichWords(t *testing.T) {
	m := member("a", 2, 4)
	for reason, want := range map[domain.Reason]string{
		domain.Picked: "picked by hand", domain.GivenByAgent: "given by another agent", domain.TookOver: "taken over", domain.CloseUndone: "close was undone",
	} {
		a := domain.ByHand(reason, "", m, now)
		require.Equal(t, want, a.Why)
		require.Equal(t, reason, a.Reason)
		require.Equal(t, 3, a.LoadAfter)
		require.NotEmpty(t, a.Method)
	}
	a := domain.ByHand(domain.TookOver, "投诉升级", m, now)
	require.Equal(t, "投诉升级", a.Why)
	require.Equal(t, "投诉升级", a.Remark)
}

func TestCapacityIsTheAgentsOwnOrTheLargestOfTheGroups(t *testing.T) {
	groups := map[string]domain.Group{"a": {Capacity: 3}, "b": {Capacity: 8}, "c": {}}
	require.Equal(t, 2, domain.Member{Capacity: 2, Groups: []string{"b"}}.CapacityIn(groups))
	require.Equal(t, 8, domain.Member{Groups: []string{"a", "b"}}.CapacityIn(groups))
	require.Equal(t, domain.DefaultCapacity, domain.Member{Groups: []string{"c"}}.CapacityIn(groups))
	require.Equal(t, domain.DefaultCapacity, domain.Member{}.CapacityIn(groups))
}
