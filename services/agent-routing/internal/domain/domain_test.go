package domain_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

var start = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

func apply(t *testing.T, r domain.Record, cs ...domain.Command) domain.Record {
	t.Helper()
	for _, c := range cs {
		next, _, err := domain.Apply(r, c, start)
		require.NoError(t, err, "%#v", c)
		r = next
	}
	return r
}

func TestTableOfOwners(t *testing.T) {
	bot := domain.New("acc", "fan")
	waiting := apply(t, bot, domain.Join{Event: "e1", Queue: "returns", Reason: "rule human"})
	served := apply(t, waiting, domain.Accept{Agent: "li"})
	native := apply(t, bot, domain.Opened{Event: "e9", KfAccount: "a@kf", Reason: "kf_create_session"})
	day := domain.Limits{Waiting: time.Nanosecond, Serving: time.Nanosecond}
	late := start.Add(time.Hour)

	for _, c := range []struct {
		name    string
		from    domain.Record
		command domain.Command
		want    domain.Kind
		owner   string
		failure fault.Kind // Internal: none
	}{
		{name: "a rule sends the fan to a queue", from: bot, command: domain.Join{Event: "x", Queue: "q"}, want: domain.Queue, owner: "q"},
		{name: "the fan asks for the same queue again", from: waiting, command: domain.Join{Event: "x", Queue: "returns"}, want: domain.Queue, owner: "returns"},
		{name: "the fan asks for another queue", from: waiting, command: domain.Join{Event: "x", Queue: "flights"}, want: domain.Queue, owner: "flights"},
		{name: "a queue never takes a fan from an agent", from: served, command: domain.Join{Event: "x", Queue: "q"}, want: domain.Agent, owner: "li"},
		{name: "a queue never takes a fan from the native desk", from: native, command: domain.Join{Event: "x", Queue: "q"}, want: domain.Native, owner: "a@kf"},
		{name: "an agent accepts", from: waiting, command: domain.Accept{Agent: "li"}, want: domain.Agent, owner: "li"},
		{name: "an agent accepts twice", from: served, command: domain.Accept{Agent: "li"}, want: domain.Agent, owner: "li"},
		{name: "an agent is too late", from: served, command: domain.Accept{Agent: "chen"}, failure: fault.Conflict},
		{name: "nobody can accept a fan who does not wait", from: bot, command: domain.Accept{Agent: "li"}, failure: fault.Refused},
		{name: "nobody can accept a fan of the native desk", from: native, command: domain.Accept{Agent: "li"}, failure: fault.Refused},
		{name: "an answer accepts", from: waiting, command: domain.Reply{Agent: "li"}, want: domain.Agent, owner: "li"},
		{name: "the owner answers", from: served, command: domain.Reply{Agent: "li"}, want: domain.Agent, owner: "li"},
		{name: "another agent must not answer", from: served, command: domain.Reply{Agent: "chen"}, failure: fault.Refused},
		{name: "nobody answers instead of the bot", from: bot, command: domain.Reply{Agent: "li"}, failure: fault.Refused},
		{name: "nobody answers instead of the native desk", from: native, command: domain.Reply{Agent: "li"}, failure: fault.Refused},
		{name: "the owner closes", from: served, command: domain.Close{Agent: "li"}, want: domain.Bot},
		{name: "anybody closes a waiting fan", from: waiting, command: domain.Close{Agent: "chen"}, want: domain.Bot},
		{name: "another agent must not close", from: served, command: domain.Close{Agent: "chen"}, failure: fault.Refused},
		{name: "closing twice is fine", from: bot, command: domain.Close{Agent: "li"}, want: domain.Bot},
		{name: "WeChat ends its own sessions", from: native, command: domain.Close{Agent: "li"}, failure: fault.Refused},
		{name: "the native desk takes a fan from the bot", from: bot, command: domain.Opened{Event: "x", KfAccount: "b@kf"}, want: domain.Native, owner: "b@kf"},
		{name: "the native desk takes a fan from a queue", from: waiting, command: domain.Opened{Event: "x", KfAccount: "b@kf"}, want: domain.Native, owner: "b@kf"},
		{name: "the native desk takes a fan from an agent", from: served, command: domain.Opened{Event: "x", KfAccount: "b@kf"}, want: domain.Native, owner: "b@kf"},
		{name: "a native session moves", from: native, command: domain.Opened{Event: "x", KfAccount: "b@kf"}, want: domain.Native, owner: "b@kf"},
		{name: "a native session ends", from: native, command: domain.Closed{Event: "x"}, want: domain.Bot},
		{name: "the end of a native session leaves an agent alone", from: served, command: domain.Closed{Event: "x"}, want: domain.Agent, owner: "li"},
		{name: "a waiting fan unfollows", from: waiting, command: domain.Left{Event: "x"}, want: domain.Bot},
		{name: "a served fan unfollows", from: served, command: domain.Left{Event: "x"}, want: domain.Bot},
		{name: "nobody came in time", from: waiting, command: domain.Expire{Limits: day}, want: domain.Bot},
		{name: "a conversation fell silent", from: served, command: domain.Expire{Limits: day}, want: domain.Bot},
		{name: "no limit, no end", from: served, command: domain.Expire{}, want: domain.Agent, owner: "li"},
		{name: "a native session has no timer", from: native, command: domain.Expire{Limits: day}, want: domain.Native, owner: "a@kf"},
		{name: "a push proves that a silent native session is over", from: native, command: domain.Say{NativeIdle: time.Minute, Message: domain.Message{EventID: "x", At: late}}, want: domain.Bot},
		{name: "a push just after the native session began", from: native, command: domain.Say{NativeIdle: 2 * time.Hour, Message: domain.Message{EventID: "x", At: late}}, want: domain.Native, owner: "a@kf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := c.from.Clone()
			got, _, err := domain.Apply(c.from, c.command, late)
			require.Equal(t, before, c.from, "the input must be left alone")
			if c.failure != fault.Internal {
				require.Error(t, err)
				require.Equal(t, c.failure, fault.KindOf(err))
				require.Equal(t, before, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got.Owner.Kind)
			require.Equal(t, c.owner, got.Owner.Name)
		})
	}
}

func TestLateDuplicateChangesNothing(t *testing.T) {
	join := domain.Join{Event: "e1", Queue: "returns"}
	opened := domain.Opened{Event: "e2", KfAccount: "a@kf"}
	closed := domain.Closed{Event: "e3"}
	left := domain.Left{Event: "e4"}

	t.Run("of the change itself", func(t *testing.T) {
		r := apply(t, domain.New("acc", "fan"), join)
		_, changed, err := domain.Apply(r, join, start)
		require.NoError(t, err)
		require.False(t, changed)
	})
	t.Run("after newer changes", func(t *testing.T) {
		r := apply(t, domain.New("acc", "fan"), join, domain.Accept{Agent: "li"}, domain.Close{Agent: "li"})
		again, changed, err := domain.Apply(r, join, start)
		require.NoError(t, err)
		require.False(t, changed)
		require.Equal(t, domain.Bot, again.Owner.Kind)
	})
	t.Run("of a command that was ignored the first time", func(t *testing.T) {
		r := apply(t, domain.New("acc", "fan"), opened, join, closed)
		require.Equal(t, domain.Bot, r.Owner.Kind)
		require.Equal(t, domain.Bot, apply(t, r, join).Owner.Kind)
	})
	t.Run("of the end of an older session", func(t *testing.T) {
		r := apply(t, domain.New("acc", "fan"), opened, closed, domain.Opened{Event: "e5", KfAccount: "a@kf"}, closed)
		require.Equal(t, domain.Native, r.Owner.Kind)
	})
	t.Run("an unknown fan who leaves costs nothing", func(t *testing.T) {
		_, changed, err := domain.Apply(domain.New("acc", "fan"), left, start)
		require.NoError(t, err)
		require.False(t, changed)
	})
}

func TestMessagesOfTheFan(t *testing.T) {
	say := func(n int) domain.Message {
		return domain.Message{EventID: "m" + strconv.Itoa(n), MsgType: "text", Text: "t", At: start.Add(time.Duration(n) * time.Second)}
	}
	waiting := apply(t, domain.New("acc", "fan"), domain.Join{Event: "m1", Queue: "q"})

	t.Run("a message for the bot is not kept", func(t *testing.T) {
		_, changed, err := domain.Apply(domain.New("acc", "fan"), domain.Say{Message: say(1)}, start)
		require.NoError(t, err)
		require.False(t, changed)
	})
	t.Run("the newest twenty in the order of time, once each", func(t *testing.T) {
		r := apply(t, waiting, domain.Say{Message: say(30)}, domain.Say{Message: say(30)})
		var missed []domain.Message
		for n := 1; n <= 30; n++ {
			missed = append(missed, say(n))
		}
		r = apply(t, r, domain.Fill{Conversation: "m1", Messages: missed})
		require.Len(t, r.Messages, domain.MaxMessages)
		require.Equal(t, "m11", r.Messages[0].EventID)
		require.Equal(t, "m30", r.Messages[19].EventID)
		require.Equal(t, uint64(1), r.Owner.Epoch)
	})
	t.Run("a late fill of an older conversation is ignored", func(t *testing.T) {
		r := apply(t, waiting, domain.Close{Agent: "li"}, domain.Join{Event: "m7", Queue: "q"})
		require.Empty(t, apply(t, r, domain.Fill{Conversation: "m1", Messages: []domain.Message{say(1)}}).Messages)
	})
	t.Run("nothing is kept when the fan unfollows or the conversation ends", func(t *testing.T) {
		r := apply(t, waiting, domain.Say{Message: say(1)})
		require.Empty(t, apply(t, r, domain.Left{Event: "x"}).Messages)
		require.Empty(t, apply(t, r, domain.Close{Agent: "li"}).Messages)
		require.Empty(t, apply(t, r, domain.Opened{Event: "x", KfAccount: "a@kf"}).Messages)
	})
	t.Run("a huge or broken text is cut between characters", func(t *testing.T) {
		r := apply(t, waiting, domain.Say{Message: domain.Message{EventID: "big", Text: strings.Repeat("好", 5000)}})
		require.Equal(t, strings.Repeat("好", domain.MaxTextBytes/3), r.Messages[0].Text)
		r = apply(t, waiting, domain.Say{Message: domain.Message{EventID: "bad", Text: "a\xffb"}})
		require.Equal(t, "a\uFFFDb", r.Messages[0].Text)
	})
}

func TestFactsWaitForTheStream(t *testing.T) {
	r := apply(t, domain.New("acc", "fan"),
		domain.Join{Event: "e1", Queue: "q", Reason: "rule human"}, domain.Accept{Agent: "li"}, domain.Close{Agent: "li"})
	require.Len(t, r.Outbox, 3)
	for i, f := range r.Outbox {
		require.Equal(t, uint64(i+1), f.Owner.Epoch)
		require.Equal(t, "e1", f.Conversation, "also the fact that ends a conversation belongs to it")
	}
	require.Empty(t, r.Conversation)

	r = apply(t, r, domain.Published{Epoch: 2})
	require.Len(t, r.Outbox, 1)
	require.Equal(t, domain.Bot, r.Outbox[0].Owner.Kind)

	for n := range domain.MaxOutbox - 1 {
		r = apply(t, r, domain.Opened{Event: strconv.Itoa(n), KfAccount: strconv.Itoa(n)})
	}
	_, _, err := domain.Apply(r, domain.Opened{Event: "one", KfAccount: "too many"}, start)
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "a dead stream must not grow a record")
}

func TestWaitingCountsFromTheQuestion(t *testing.T) {
	asked := start.Add(-time.Minute)
	r := apply(t, domain.New("acc", "fan"), domain.Join{Event: "e1", Queue: "q", At: asked})
	require.Equal(t, asked, r.Owner.Since)
	r = apply(t, domain.New("acc", "fan"), domain.Join{Event: "e1", Queue: "q", At: start.Add(time.Hour)})
	require.Equal(t, start, r.Owner.Since, "a clock that runs ahead must not hide a fan at the end of the list")
}
