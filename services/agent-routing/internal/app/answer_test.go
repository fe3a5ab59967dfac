package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// botSays is what the rules answered to an event.
func botSays(openID, event, words string) *agentroutingv1.Message {
	return &agentroutingv1.Message{
		Account: shop, Openid: openID, AuthorKind: agentroutingv1.AuthorKind_AUTHOR_KIND_BOT, Author: "hours", MsgType: "text", Text: words,
		Content: text(words), State: agentroutingv1.MessageState_MESSAGE_STATE_ACCEPTED, ClientId: "rule:" + event + ":0",
	}
}

// stored returns the timeline of a fan: who said what in which conversation.
func (w *world) stored(openID string) (out [][3]string) {
	w.t.Helper()
	q, err := w.store.Query()
	require.NoError(w.t, err)
	page, _, err := q.Messages(w.ctx, store.Page{Account: shop, OpenID: openID, Limit: 100})
	require.NoError(w.t, err)
	for _, m := range page {
		out = append(out, [3]string{m.GetAuthorKind().String()[len("AUTHOR_KIND_"):], m.GetText(), m.GetConversation()})
	}
	return out
}

func TestHistoryHoldsWhatTheRulesAnswered(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		first := w.event("fan", "几点开门")
		w.ruleSays("fan", botSays("fan", first.GetId(), "九点"))
		require.NoError(t, w.desk.Answered(w.ctx, botSays("fan", first.GetId(), "九点")))
		q, err := w.store.Query()
		require.NoError(t, err)
		_, known, err := q.Fan(w.ctx, shop, "fan")
		require.NoError(t, err)
		require.False(t, known, "the answers to a fan without a conversation never reach the database")

		asked := w.event("fan", "转人工")
		w.ruleSays("fan", botSays("fan", asked.GetId(), "请稍候"))
		require.NoError(t, w.join(asked, "q"))
		id := asked.GetId()
		history := [][3]string{{"FAN", "几点开门", ""}, {"BOT", "九点", ""}, {"FAN", "转人工", id}, {"BOT", "请稍候", id}}
		require.Equal(t, history, w.stored("fan"))

		// What is told again, by either stream and on any replica, stands there once.
		require.NoError(t, w.replica().Answered(w.ctx, botSays("fan", first.GetId(), "九点")))
		require.NoError(t, w.desk.Answered(w.ctx, botSays("fan", id, "请稍候")))
		require.Equal(t, history, w.stored("fan"))
		require.Zero(t, w.conversation(id).LastAgent, "an automatic answer is no answer of an agent")
		require.Equal(t, 1, w.conversation(id).Unanswered)

		// Between two conversations everything is kept as it comes.
		_, err = w.desk.Close(w.ctx, app.Act{Account: shop, Conversation: id, Agent: "li"}, true)
		require.NoError(t, err)
		later := w.event("fan", "周末呢")
		require.NoError(t, w.desk.Said(w.ctx, later))
		weekend := botSays("fan", later.GetId(), "周末休息")
		w.ruleSays("fan", weekend)
		require.NoError(t, w.desk.Answered(w.ctx, weekend))
		second, err := w.asks("fan", "q")
		require.NoError(t, err)
		require.Equal(t, append(history, [3]string{"FAN", "周末呢", ""}, [3]string{"BOT", "周末休息", ""}, [3]string{"FAN", "转人工", second}), w.stored("fan"))
		w.requireNumbered()
	})
}
