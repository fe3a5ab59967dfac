package store_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// life is what happened to one fan: messages and conversations with changes, at few moments, so that many of them are the same.
func life(ctx context.Context, t require.TestingT, q store.Q, f domain.Fan, messages, changes []int) {
	moment := func(n int) time.Time { return now.Add(time.Duration(n) * time.Millisecond) }
	require.NoError(t, q.AddFan(ctx, f))
	slices.Sort(messages)
	for _, n := range messages {
		_, err := q.AddMessage(ctx, &f, &agentroutingv1.Message{Account: f.Account, Openid: f.OpenID, MsgType: "text", Text: "m", AtUnixMs: moment(n).UnixMilli()})
		require.NoError(t, err)
	}
	for n, at := range changes {
		id := fmt.Sprint("c-", n%2) // two conversations, whose changes may be interleaved
		require.NoError(t, q.SaveConversation(ctx, domain.Conversation{Account: f.Account, ID: f.OpenID + id, OpenID: f.OpenID, State: domain.Closed}, time.Time{}))
		what := []string{string(domain.Opened), domain.MessageState, string(domain.ClosedNow), domain.FanMessage}[n%4]
		body, err := proto.Marshal(&agentroutingv1.ConversationEvent{
			Account: f.Account, Conversation: f.OpenID + id, Openid: f.OpenID, Number: uint64(n + 1), AtUnixMs: moment(at).UnixMilli(), Actor: what,
		})
		require.NoError(t, err)
		require.NoError(t, q.AddChange(ctx, domain.Entry{Account: f.Account, Conversation: f.OpenID + id, Number: uint64(n + 1), At: moment(at), What: what}, body))
	}
	require.NoError(t, q.SaveFan(ctx, f))
}

func TestThePagesOfAPersonAreTheirWholeTimelineInOneOrder(t *testing.T) {
	each(t, func(t *testing.T, _ *store.Store, q store.Q) {
		ctx := t.Context()
		var all []domain.Fan
		for n, account := range []string{"shop", "mini", "Club"} { // capitals: the order of databases differs there
			f := domain.Fan{Account: account, OpenID: "fan", UnionID: "u", Owner: domain.Owner{Kind: domain.Bot}, FirstSeen: now}
			var messages, changes []int
			for k := range 12 {
				messages, changes = append(messages, 1+(k*5+n)%6), append(changes, 1+(k*k+n)%7)
			}
			life(ctx, t, q, f, messages, changes)
			all = append(all, f)
		}
		life(ctx, t, q, domain.Fan{Account: "shop", OpenID: "somebody else", Owner: domain.Owner{Kind: domain.Bot}}, []int{1, 2, 3}, []int{1, 2, 3})
		for _, fans := range [][]domain.Fan{all, all[1:2]} {
			whole, more, err := q.Person(ctx, fans, store.PersonPage{Limit: 1000})
			require.NoError(t, err)
			require.False(t, more)
			require.Len(t, whole, len(fans)*(12+6), "every second change is of the conversation itself")
			require.True(t, slices.IsSortedFunc(whole, func(a, b store.PersonEntry) int { return cmp.Compare(a.Place.AtMs, b.Place.AtMs) }))
			for _, e := range whole {
				require.NotContains(t, domain.NoChange, e.Change.GetActor(), "what messages tell already")
			}
			for _, limit := range []int{1, 4, 7} { // with 1 a page begins after each entry
				require.Equal(t, placesOf(whole), backwards(ctx, t, q, fans, limit))
				require.Equal(t, placesOf(whole), forwards(ctx, t, q, fans, limit))
			}
		}
	})
}

func placesOf(entries []store.PersonEntry) (out []store.Place) {
	for _, e := range entries {
		out = append(out, e.Place)
	}
	return out
}

// backwards reads from the newest entry to the oldest.
func backwards(ctx context.Context, t require.TestingT, q store.Q, fans []domain.Fan, limit int) []store.Place {
	var out []store.Place
	page := store.PersonPage{Limit: limit}
	for {
		found, more, err := q.Person(ctx, fans, page)
		require.NoError(t, err)
		out = append(placesOf(found), out...)
		if !more {
			return out
		}
		page.Before = &found[0].Place
	}
}

// forwards reads from before everything to the newest entry.
func forwards(ctx context.Context, t require.TestingT, q store.Q, fans []domain.Fan, limit int) []store.Place {
	var out []store.Place
	page := store.PersonPage{Limit: limit, After: &store.Place{}}
	for {
		found, more, err := q.Person(ctx, fans, page)
		require.NoError(t, err)
		out = append(out, placesOf(found)...)
		if !more {
			return out
		}
		page.After = &found[len(found)-1].Place
	}
}

func TestTheTimelineOfAPersonHasTheirFiles(t *testing.T) {
	each(t, func(t *testing.T, _ *store.Store, q store.Q) {
		ctx := t.Context()
		shop, mini := fan("fan"), fan("fan")
		mini.Account = "mini"
		for _, f := range []domain.Fan{shop, mini} {
			life(ctx, t, q, f, []int{1}, nil)
			require.NoError(t, q.AddFile(ctx, store.File{ID: "file-" + f.Account, Account: f.Account, OpenID: "fan", Seq: 1, Role: "content", Due: now, Until: now}))
		}
		got, _, err := q.Person(ctx, []domain.Fan{shop, mini}, store.PersonPage{Limit: 10})
		require.NoError(t, err)
		require.Len(t, got, 2)
		for _, e := range got {
			require.Equal(t, "file-"+e.Message.GetAccount(), e.Message.GetMedia()[0].GetId())
		}
	})
}
