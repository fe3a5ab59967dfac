package domain_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

func anyCommand(t *rapid.T) domain.Command {
	name := rapid.SampledFrom([]string{"li", "chen", "zhou"})
	event := strconv.Itoa(rapid.IntRange(0, 40).Draw(t, "event"))
	switch rapid.IntRange(0, 10).Draw(t, "command") {
	case 0, 1:
		return domain.Join{Event: event, Queue: name.Draw(t, "queue")}
	case 2, 3:
		return domain.Accept{Agent: name.Draw(t, "agent")}
	case 4:
		return domain.Reply{Agent: name.Draw(t, "agent")}
	case 5:
		return domain.Close{Agent: name.Draw(t, "agent")}
	case 6:
		return domain.Opened{Event: event, KfAccount: name.Draw(t, "kf")}
	case 7:
		return domain.Closed{Event: event}
	case 8:
		return domain.Left{Event: event}
	case 9:
		return domain.Expire{Limits: domain.Limits{Waiting: time.Minute, Serving: time.Minute}}
	default:
		return domain.Say{NativeIdle: time.Minute, Message: domain.Message{EventID: event, Text: "t", At: start.Add(time.Hour)}}
	}
}

// Whatever happens, a fan has one owner, an epoch names one owner for ever, and nothing grows.
func TestOneOwnerPerEpoch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := domain.New("acc", "fan")
		owners := map[uint64]domain.Owner{0: r.Owner}
		now := start
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 120).Draw(t, "seconds")) * time.Second)
			c := anyCommand(t)
			next, changed, err := domain.Apply(r, c, now)
			refused := err != nil
			if refused {
				require.Contains(t, []fault.Kind{fault.Conflict, fault.Refused, fault.Unavailable}, fault.KindOf(err))
				require.Equal(t, r, next)
				next, _, err = domain.Apply(r, domain.Published{Epoch: r.Owner.Epoch}, now)
				require.NoError(t, err)
			}
			if next.Owner.Epoch == r.Owner.Epoch {
				require.Equal(t, r.Owner, next.Owner, "the owner changed without a new epoch")
			} else {
				require.True(t, changed)
				require.Equal(t, r.Owner.Epoch+1, next.Owner.Epoch)
				require.NotContains(t, owners, next.Owner.Epoch)
				require.Equal(t, next.Owner, next.Outbox[len(next.Outbox)-1].Owner, "a change without its fact")
			}
			owners[next.Owner.Epoch] = next.Owner

			again, _, err := domain.Apply(next, c, now)
			if err == nil && !refused {
				require.Equal(t, next.Owner, again.Owner, "a repetition moved the fan: %#v", c)
			}
			requireSound(t, next)
			r = next
		}
	})
}

func requireSound(t *rapid.T, r domain.Record) {
	require.LessOrEqual(t, len(r.Messages), domain.MaxMessages)
	require.LessOrEqual(t, len(r.Applied), domain.MaxApplied)
	require.LessOrEqual(t, len(r.Outbox), domain.MaxOutbox)
	require.Equal(t, r.Owner.Kind == domain.Bot, r.Conversation == "")
	require.Equal(t, r.Owner.Kind == domain.Bot, r.Owner.Name == "")
	if r.Owner.Kind == domain.Bot || r.Owner.Kind == domain.Native {
		require.Empty(t, r.Messages, "what a fan said is not kept without a conversation")
	}
}
