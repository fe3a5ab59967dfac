package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

func TestMain(m *testing.M) { sqldbtest.Main(m) }

var now = time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)

// each runs the suite against both engines.
func each(t *testing.T, test func(t *testing.T, s *store.Store, q store.Q)) {
	sqldbtest.Each(t, store.Migrations(), func(t *testing.T, db *sqldb.DB) {
		s := store.New()
		s.Use(db)
		q, err := s.Query()
		require.NoError(t, err)
		test(t, s, q)
	})
}

func TestAStoreThatIsNotOpenSaysSo(t *testing.T) {
	s := store.New()
	_, err := s.Query()
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Equal(t, fault.Unavailable, fault.KindOf(s.InTx(t.Context(), func(context.Context, store.Q) error { return nil })))
	require.NoError(t, s.Close())
}

func fan(openID string) domain.Fan {
	return domain.Fan{Account: "shop", OpenID: openID, Owner: domain.Owner{Kind: domain.Bot, Since: now}, FirstSeen: now}
}

func TestFansRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, _ *store.Store, q store.Q) {
		ctx := t.Context()
		_, ok, err := q.Fan(ctx, "shop", "nobody")
		require.NoError(t, err)
		require.False(t, ok)
		f := fan("o'1?")
		f.Owner = domain.Owner{Kind: domain.Queue, Name: "g", Epoch: 7, Since: now}
		f.Remark, f.Tags, f.UnionID, f.Conversation, f.Seq = "王\"先生", []string{"VIP"}, "u1", "c1", 3
		require.NoError(t, q.AddFan(ctx, f))
		require.NoError(t, q.AddFan(ctx, fan("o'1?")), "adding again changes nothing")
		got, ok, err := q.LockFan(ctx, "shop", "o'1?")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, f, got)
		other := fan("2")
		other.Account, other.UnionID = "mini", "u1"
		require.NoError(t, q.AddFan(ctx, other))
		linked, err := q.Linked(ctx, "u1")
		require.NoError(t, err)
		require.Len(t, linked, 2)
		none, err := q.Linked(ctx, "")
		require.NoError(t, err)
		require.Empty(t, none, "no unionid links nobody")
		n, err := q.OwnedBy(ctx, domain.Queue)
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
	})
}

func TestQueuesAreInTheOrderOfWaiting(t *testing.T) {
	each(t, func(t *testing.T, _ *store.Store, q store.Q) {
		ctx := t.Context()
		g := domain.Group{ID: "g"}
		for i, wait := range []int{3, 1, 2, 2} {
			c := domain.Open("shop", fmt.Sprint("fan-", i), fmt.Sprint("c", i), g, "", "rule", now.Add(time.Duration(wait)*time.Second), now.Add(time.Minute))
			require.NoError(t, q.SaveConversation(ctx, c, now.Add(time.Duration(wait)*time.Minute)))
		}
		waiting, err := q.WaitingConversations(ctx, "g", 10)
		require.NoError(t, err)
		var ids []string
		for i, c := range waiting {
			ids = append(ids, c.ID)
			ahead, err := q.Ahead(ctx, c)
			require.NoError(t, err)
			require.Equal(t, i, ahead)
		}
		require.Equal(t, []string{"c1", "c2", "c3", "c0"}, ids)
		due, err := q.DueBy(ctx, now.Add(2*time.Minute), 10)
		require.NoError(t, err)
		require.Len(t, due, 3)
		queues, err := q.Queues(ctx)
		require.NoError(t, err)
		require.Equal(t, store.QueueNow{Waiting: 4, Oldest: now.Add(time.Second)}, queues["g"])

		page, total, err := q.Conversations(ctx, store.Filter{States: []domain.State{domain.Waiting}, Group: "g"}, store.OpenOrder, 2, 10)
		require.NoError(t, err)
		require.Equal(t, 4, total)
		require.Len(t, page, 2)
		require.Equal(t, "c3", page[0].ID)
	})
}

func TestLoadIsCountedFromConversations(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store, q store.Q) {
		ctx := t.Context()
		require.NoError(t, s.InTx(ctx, func(ctx context.Context, q store.Q) error {
			_, err := q.SaveGroup(ctx, domain.Group{ID: "g", Name: "G", Capacity: 4})
			return err
		}))
		require.NoError(t, q.SaveMember(ctx, domain.Member{ID: "b", Name: "B", Groups: []string{"g"}}))
		require.NoError(t, q.SaveMember(ctx, domain.Member{ID: "a", Name: "A", Groups: []string{"g", "h"}, Capacity: 2}))
		require.NoError(t, q.Enrol(ctx, "c"))
		require.NoError(t, q.Enrol(ctx, "a"), "enrolling somebody known changes nothing")
		for i, state := range []domain.State{domain.Active, domain.Offered, domain.OnHold, domain.Closed, domain.Active} {
			c := domain.Conversation{Account: "shop", ID: fmt.Sprint(i), OpenID: fmt.Sprint(i), State: state, Agent: "a", Group: "g", StateSince: now}
			require.NoError(t, q.SaveConversation(ctx, c, time.Time{}))
		}
		members, err := q.LockMembers(ctx, "g")
		require.NoError(t, err)
		require.Len(t, members, 2)
		require.Equal(t, []int{3, 2, 1, 2}, []int{members[0].Load, members[0].Active, members[0].Held, members[0].Places})
		require.Equal(t, 4, members[1].Places, "the group's")

		require.NoError(t, q.SetPresence(ctx, "a", domain.Online, now, now.Add(time.Minute)))
		require.NoError(t, q.Renew(ctx, "a", now, now.Add(2*time.Minute)))
		n, err := q.Expire(ctx, now.Add(time.Minute))
		require.NoError(t, err)
		require.Zero(t, n)
		n, err = q.Expire(ctx, now.Add(2*time.Minute))
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		gone, err := q.Abandoned(ctx, 10)
		require.NoError(t, err)
		require.Len(t, gone, 3)
		require.NoError(t, q.Renew(ctx, "a", now.Add(2*time.Minute), now.Add(time.Hour)))
		m, _, err := q.Member(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, domain.Offline, m.Presence, "a heartbeat brings nobody back who was taken offline")
	})
}

func TestGroupsRefuseAnOldRevision(t *testing.T) {
	each(t, func(t *testing.T, _ *store.Store, q store.Q) {
		ctx := t.Context()
		first, err := q.SaveGroup(ctx, domain.Group{ID: "g", Name: "one"})
		require.NoError(t, err)
		first.Name = "two"
		_, err = q.SaveGroup(ctx, first)
		require.NoError(t, err)
		_, err = q.SaveGroup(ctx, first)
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		unknown, err := q.Group(ctx, "nobody made this")
		require.NoError(t, err)
		require.True(t, unknown.Implicit)
		require.Equal(t, domain.Manual, unknown.Method)
	})
}

// add puts texts into the timeline of a fan.
func add(ctx context.Context, t require.TestingT, q store.Q, openID string, texts ...string) {
	f := fan(openID)
	require.NoError(t, q.AddFan(ctx, f))
	f, _, err := q.Fan(ctx, "shop", openID)
	require.NoError(t, err)
	for i, text := range texts {
		ok, err := q.AddMessage(ctx, &f, &agentroutingv1.Message{
			Account: "shop", Openid: openID, AuthorKind: agentroutingv1.AuthorKind_AUTHOR_KIND_FAN, MsgType: "text", Text: text,
			AtUnixMs: now.Add(time.Duration(i) * time.Second).UnixMilli(),
		})
		require.NoError(t, err)
		require.True(t, ok)
	}
	require.NoError(t, q.SaveFan(ctx, f))
}

func TestTimelinePagesBothWays(t *testing.T) {
	each(t, func(t *testing.T, _ *store.Store, q store.Q) {
		ctx := t.Context()
		var texts []string
		for n := range 10 {
			texts = append(texts, fmt.Sprint("m", n))
		}
		add(ctx, t, q, "fan", texts...)
		seqs := func(p store.Page) (out []uint64, more bool) {
			p.Account, p.OpenID, p.Limit = "shop", "fan", 4
			page, more, err := q.Messages(ctx, p)
			require.NoError(t, err)
			for _, m := range page {
				out = append(out, m.GetSeq())
			}
			return out, more
		}
		got, more := seqs(store.Page{})
		require.Equal(t, []uint64{7, 8, 9, 10}, got)
		require.True(t, more)
		got, more = seqs(store.Page{Before: 4})
		require.Equal(t, []uint64{1, 2, 3}, got)
		require.False(t, more)
		got, more = seqs(store.Page{After: 5})
		require.Equal(t, []uint64{6, 7, 8, 9}, got)
		require.True(t, more)
	})
}

func TestAMessageIsKeptOnce(t *testing.T) {
	each(t, func(t *testing.T, _ *store.Store, q store.Q) {
		ctx := t.Context()
		f := fan("fan")
		require.NoError(t, q.AddFan(ctx, f))
		for n, m := range []*agentroutingv1.Message{{EventId: "e"}, {EventId: "e"}, {ClientId: "k"}, {ClientId: "k"}, {}, {}} {
			m.Account, m.Openid = "shop", "fan"
			ok, err := q.AddMessage(ctx, &f, m)
			require.NoError(t, err)
			require.Equal(t, n != 1 && n != 3, ok)
		}
		require.EqualValues(t, 4, f.Seq, "a repetition takes no number")
	})
}

func search(ctx context.Context, t require.TestingT, q store.Q, query string) (out []string) {
	find := store.Find{Limit: 1000}
	find.Words, find.Grams = domain.Words(query)
	found, err := q.Search(ctx, find)
	require.NoError(t, err)
	for _, m := range found {
		out = append(out, m.GetText())
	}
	return out
}

func TestSearchWorksForChinese(t *testing.T) {
	each(t, func(t *testing.T, _ *store.Store, q store.Q) {
		ctx := t.Context()
		add(ctx, t, q, "fan", "我要退货", "货已经退了", "订单 ＡＢ１２ 什么时候发货", "100% 满意_谢谢!", "退 货")
		require.Equal(t, []string{"我要退货"}, search(ctx, t, q, "退货"))
		require.Equal(t, []string{"退 货", "订单 ＡＢ１２ 什么时候发货", "货已经退了", "我要退货"}, search(ctx, t, q, "货"), "one character, newest first")
		require.Equal(t, []string{"订单 ＡＢ１２ 什么时候发货"}, search(ctx, t, q, "ab12 订单"), "width, case and order do not matter")
		require.Equal(t, []string{"100% 满意_谢谢!"}, search(ctx, t, q, "100%"))
		require.Equal(t, []string{"100% 满意_谢谢!"}, search(ctx, t, q, "_谢谢!"))
		require.Empty(t, search(ctx, t, q, "%"+"意"))
		require.Empty(t, search(ctx, t, q, "发票"))
	})
}

// Both engines find exactly the messages that contain every word.
func TestSearchFindsWhatContainsTheWords(t *testing.T) {
	each(t, func(t *testing.T, _ *store.Store, q store.Q) {
		letters := []rune("退货订单ab %_'。")
		var texts []string
		for n := range 120 {
			var b strings.Builder
			for k := range 6 {
				b.WriteRune(letters[(n*7+k*n+k*k*3)%len(letters)])
			}
			texts = append(texts, b.String())
		}
		add(t.Context(), t, q, "fan", texts...)
		rapid.Check(t, func(rt *rapid.T) {
			query := string(rapid.SliceOfN(rapid.SampledFrom(letters), 1, 4).Draw(rt, "query"))
			words, _ := domain.Words(query)
			if len(words) == 0 {
				return
			}
			want := map[string]int{}
			for _, text := range texts {
				if domain.Contains(domain.Fold(text), words) {
					want[text]++
				}
			}
			got := map[string]int{}
			whole := search(t.Context(), rt, q, query)
			for _, text := range whole {
				got[text]++
			}
			require.Equal(rt, want, got, query)
			limit, near := rapid.IntRange(1, 8).Draw(rt, "limit"), rapid.SampledFrom([]int{1, 9, 60, 1000}).Draw(rt, "near")
			require.Equal(rt, whole, pages(t.Context(), rt, q, query, limit, near), "%q by pages of %d, the newest %d first", query, limit, near)
		})
	})
}

// pages searches page by page and returns all hits.
func pages(ctx context.Context, t require.TestingT, q store.Q, query string, limit, near int) (out []string) {
	find := store.Find{Limit: limit, Near: near}
	find.Words, find.Grams = domain.Words(query)
	for {
		found, err := q.Search(ctx, find)
		require.NoError(t, err)
		for _, m := range found {
			out = append(out, m.GetText())
		}
		if len(found) < limit {
			return out
		}
		last := found[len(found)-1]
		find.Before = store.Cursor{AtMs: last.GetAtUnixMs(), Account: last.GetAccount(), OpenID: last.GetOpenid(), Seq: last.GetSeq()}
	}
}

func TestTheOutboxKeepsItsOrder(t *testing.T) {
	each(t, func(t *testing.T, _ *store.Store, q store.Q) {
		ctx := t.Context()
		for n := range 3 {
			require.NoError(t, q.AddItem(ctx, store.Item{Account: "shop", OpenID: "fan", Kind: store.ItemEvent, Key: fmt.Sprint(n), Created: now}, &agentroutingv1.OwnerChanged{Reason: fmt.Sprint(n)}))
		}
		items, err := q.Items(ctx, "shop", "fan", 10)
		require.NoError(t, err)
		require.Len(t, items, 3)
		for n, it := range items {
			var f agentroutingv1.OwnerChanged
			require.NoError(t, proto.Unmarshal(it.Body, &f))
			require.Equal(t, fmt.Sprint(n), f.GetReason())
			require.NoError(t, q.DropItem(ctx, it.ID))
			left, err := q.FansWithItems(ctx, now, 10)
			require.NoError(t, err)
			require.Len(t, left, min(1, 2-n))
		}
	})
}

func TestAFileIsClaimedByOneReplica(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store, q store.Q) {
		ctx := t.Context()
		for n := range 6 {
			require.NoError(t, q.AddFile(ctx, store.File{ID: fmt.Sprint("file-", n), Account: "shop", OpenID: "fan", Seq: 1, Role: "content", MediaID: "m", Due: now, Until: now.Add(time.Hour)}))
		}
		claimed := make([]string, 6)
		var group errgroup.Group
		for n := range claimed {
			group.Go(func() error {
				for claimed[n] == "" {
					if err := s.InTx(ctx, func(ctx context.Context, q store.Q) error {
						f, _, err := q.ClaimFile(ctx, now, now.Add(time.Minute))
						claimed[n] = f.ID
						return err
					}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(t, group.Wait())
		seen := map[string]bool{}
		for _, id := range claimed {
			require.False(t, seen[id])
			seen[id] = true
		}
		_, ok, err := q.ClaimFile(ctx, now, now.Add(time.Minute))
		require.NoError(t, err)
		require.False(t, ok)
	})
}

func TestCannedRepliesByScope(t *testing.T) {
	each(t, func(t *testing.T, _ *store.Store, q store.Q) {
		ctx := t.Context()
		for n, c := range []*agentroutingv1.CannedReply{
			{Shortcut: "hi", Scope: agentroutingv1.CannedScope_CANNED_SCOPE_ALL},
			{Shortcut: "hi", Scope: agentroutingv1.CannedScope_CANNED_SCOPE_PERSONAL, ScopeId: "li"},
			{Shortcut: "hi", Scope: agentroutingv1.CannedScope_CANNED_SCOPE_PERSONAL, ScopeId: "chen"},
			{Shortcut: "fx", Scope: agentroutingv1.CannedScope_CANNED_SCOPE_GROUP, ScopeId: "sales", Account: "shop"},
		} {
			c.Id, c.Title = fmt.Sprint(n), "发票"
			require.NoError(t, q.SaveCanned(ctx, c, c.GetShortcut()+" 发票"))
		}
		err := q.SaveCanned(ctx, &agentroutingv1.CannedReply{Id: "9", Shortcut: "hi", Scope: agentroutingv1.CannedScope_CANNED_SCOPE_ALL}, "")
		require.True(t, sqldb.IsUnique(err))
		ids := func(f store.CannedFor) (out []string) {
			f.Limit = 10
			found, err := q.CannedReplies(ctx, f)
			require.NoError(t, err)
			for _, c := range found {
				out = append(out, c.GetId())
			}
			return out
		}
		require.Equal(t, []string{"1", "3", "0"}, ids(store.CannedFor{Agent: "li", Groups: []string{"sales"}}))
		require.Equal(t, []string{"1", "0"}, ids(store.CannedFor{Agent: "li"}))
		require.Equal(t, []string{"1", "0"}, ids(store.CannedFor{Agent: "li", Groups: []string{"sales"}, Account: "other"}))
		require.Equal(t, []string{"3"}, ids(store.CannedFor{Every: true, Folded: "fx"}))
		require.NoError(t, q.UsedCanned(ctx, "0"))
		c, _, err := q.Canned(ctx, "0")
		require.NoError(t, err)
		require.EqualValues(t, 1, c.GetUsed())
	})
}
