package app_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// automatic returns the automatic texts of a fan with an author, newest last.
func (w *world) automatic(openID, author string) (out []*agentroutingv1.Message) {
	w.t.Helper()
	q, err := w.store.Query()
	require.NoError(w.t, err)
	page, _, err := q.Messages(w.ctx, store.Page{Account: shop, OpenID: openID, Limit: 1000})
	require.NoError(w.t, err)
	for _, m := range page {
		if m.GetAuthorKind() == agentroutingv1.AuthorKind_AUTHOR_KIND_SYSTEM && (author == "" || m.GetAuthor() == author) {
			out = append(out, m)
		}
	}
	return out
}

func (w *world) replies(id, agent, key string, useKept bool) error {
	_, err := w.desk.Reply(w.ctx, app.Reply{Act: act(id, agent), Key: key, Content: text(key), UseKept: useKept})
	return err
}

func (w *world) left(openID string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.windows[openID]
}

// served is a fan with a window whom an agent talks to.
func served(t *testing.T, w *world, g domain.Group) string {
	g.ID = "g"
	w.group(g)
	w.agent(domain.Member{ID: "a", Groups: []string{"g"}, AutoAccept: true})
	w.online("a")
	w.window("fan", 5)
	id, err := w.asks("fan", "g") // they are told who talks to them: four are left
	require.NoError(t, err)
	require.Equal(t, domain.Active, w.conversation(id).State)
	return id
}

func TestAgentsLeaveOneMessageForTheEnd(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id := served(t, w, domain.Group{Survey: true})
		for n := range 3 {
			require.NoError(t, w.replies(id, "a", fmt.Sprint(n), false))
		}
		err := w.replies(id, "a", "one more", false)
		var kept *app.KeptError
		require.True(t, errors.As(err, &kept), err)
		detail := kept.StatusDetails()[0].(*agentroutingv1.ReplyWouldUseKept)
		require.Equal(t, []int32{1, 1}, []int32{detail.GetRemaining(), detail.GetKept()})
		require.Len(t, w.texts(), 4, "nothing was sent, and nothing stands in the timeline")
		require.NoError(t, w.replies(id, "a", "0", false), "a repetition is no further message")

		_, err = w.desk.Close(w.ctx, act(id, "a"), false)
		require.NoError(t, err)
		w.later(11*time.Second, "a")
		require.Equal(t, "menu: 本次会话已结束，请为本次服务评分：", w.texts()[4])
		require.Equal(t, agentroutingv1.MessageState_MESSAGE_STATE_QUEUED, w.automatic("fan", "survey")[0].GetState())
	})
}

// The sender counts what a fan does some milliseconds after the desk has heard it.
func TestAReplyToAMessageThatTheSenderHasNotCountedYetIsNotHeldBack(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id := served(t, w, domain.Group{Survey: true})
		for n := range 3 {
			require.NoError(t, w.replies(id, "a", fmt.Sprint(n), false))
		}
		require.NoError(t, w.says("fan", "还有一个问题"))
		w.late = map[string]int{"fan": 1}
		require.NoError(t, w.replies(id, "a", "请讲", false))
		w.window("fan", 1)
		require.Error(t, w.replies(id, "a", "one more", false), "it is not there whatever is counted")
	})
}

func TestAnEndThatDoesNotFitIsLeftOutWithItsReason(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id := served(t, w, domain.Group{})
		for n := range 3 {
			require.NoError(t, w.replies(id, "a", fmt.Sprint(n), false))
		}
		require.NoError(t, w.replies(id, "a", "one more", true), "on purpose")
		_, err := w.desk.Close(w.ctx, act(id, "a"), false)
		require.NoError(t, err)
		w.later(11*time.Second, "a")
		end := w.automatic("fan", "closed")[0]
		require.Equal(t, agentroutingv1.MessageState_MESSAGE_STATE_SKIPPED, end.GetState())
		require.Equal(t, "window exhausted", end.GetReason())
		require.Len(t, w.texts(), 5)
		w.requireNumbered()
	})
}

func TestTheWarningLeavesTheLastMessageForTheEnd(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id := served(t, w, domain.Group{})
		for n := range 3 {
			require.NoError(t, w.replies(id, "a", fmt.Sprint(n), false))
		}
		w.later(26*time.Minute, "a")
		warning := w.automatic("fan", "idle_warning")[0]
		require.Equal(t, agentroutingv1.MessageState_MESSAGE_STATE_SKIPPED, warning.GetState())
		require.Contains(t, warning.GetReason(), "kept for the end")
		w.later(5*time.Minute, "a")
		require.Equal(t, domain.Closed, w.conversation(id).State)
		require.Equal(t, agentroutingv1.MessageState_MESSAGE_STATE_QUEUED, w.automatic("fan", "closed")[0].GetState())
	})
}

func TestNothingIsKeptWhereNothingIsSaidAtTheEnd(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id := served(t, w, domain.Group{Texts: []domain.Text{{Kind: domain.TextClosed}}})
		for n := range 4 {
			require.NoError(t, w.replies(id, "a", fmt.Sprint(n), false))
		}
		v, err := w.desk.View(w.ctx, shop, id)
		require.NoError(t, err)
		require.Zero(t, w.desk.Wire(v).GetKeptForEnd())
	})
}

// Whatever fan and agent write, and whenever the conversation ends: the end fits unless the agent took what was kept for it, no automatic
// text ever stands there as failed, and whatever is left out says why.
func TestTheEndFitsUnlessTheAgentTookItsPlace(t *testing.T) {
	t.Parallel()
	db := sqldbtest.Open(t, sqldbtest.Options(t, sqldb.Postgres, store.Migrations()))
	rapid.Check(t, func(rt *rapid.T) {
		clearTables(t.Context(), rt, db)
		w := newWorld(t, db)
		w.t = rt
		w.group(domain.Group{ID: "g", Survey: rapid.Bool().Draw(rt, "survey")})
		w.agent(domain.Member{ID: "a", Groups: []string{"g"}, AutoAccept: true})
		w.online("a")
		w.window("fan", 5)
		id, err := w.asks("fan", "g")
		require.NoError(rt, err)
		took := false
		for n := range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				require.NoError(rt, w.says("fan", "你好"))
				took = false
			case 1:
				last := w.left("fan") == 1
				require.Equal(rt, w.left("fan") > 0, w.replies(id, "a", fmt.Sprint(n), true) == nil, "only the window itself refuses what is sent on purpose")
				took = took || last
			case 2:
				w.later(26*time.Minute, "a") // the warning
			default:
				_ = w.replies(id, "a", fmt.Sprint(n), false) // may be held back
			}
			if w.conversation(id).State != domain.Active {
				break
			}
		}
		w.later(31*time.Minute, "a")
		w.later(6*time.Minute, "a")
		w.later(11*time.Second, "a")
		require.Equal(rt, domain.Closed, w.conversation(id).State)
		ended := false
		for _, m := range w.automatic("fan", "") {
			require.NotEqual(rt, agentroutingv1.MessageState_MESSAGE_STATE_FAILED, m.GetState())
			left := m.GetState() == agentroutingv1.MessageState_MESSAGE_STATE_SKIPPED
			require.Equal(rt, left, m.GetReason() != "", "what is left out says why")
			if m.GetAuthor() == "closed" || m.GetAuthor() == "survey" {
				ended = true
				require.True(rt, !left || took, "the end did not fit")
			}
		}
		require.True(rt, ended)
	})
}
