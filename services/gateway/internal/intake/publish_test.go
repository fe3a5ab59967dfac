package intake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/gateway/internal/intake"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// script answers publishes with prepared results, one list for each stream. Most of these errors
// cannot be asked for from a server; the tests of the gateway use a real one.
type script struct {
	home, spill []any // error, bus.Ack, or time.Duration: hang so long, at most until the context or the patience ends
	calls       []string
}

func (s *script) Publish(ctx context.Context, m bus.Msg) (bus.Ack, error) {
	stream, answers := "home", &s.home
	if strings.HasPrefix(m.Subject, "wx.spill.") {
		stream, answers = "spill", &s.spill
	}
	s.calls = append(s.calls, stream)
	if m.ID != "id" {
		return bus.Ack{}, errors.New("every try must have the same id")
	}
	var next any = time.Hour
	if len(*answers) > 0 {
		next, *answers = (*answers)[0], (*answers)[1:]
	}
	switch next := next.(type) {
	case bus.Ack:
		return next, nil
	case error:
		return bus.Ack{}, next
	case time.Duration:
		if m.Patience > 0 {
			next = min(next, m.Patience)
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
		}
	}
	return bus.Ack{}, fmt.Errorf("no answer: %w", bus.ErrTimeout)
}

func TestPublishErrorTable(t *testing.T) {
	event := &eventv1.InboundEvent{Id: "id", Account: "shop", Openid: "o_fan", Kind: eventv1.EventKind_EVENT_KIND_MESSAGE}
	stored, twice := bus.Ack{Stream: "INBOUND", Seq: 7}, bus.Ack{Stream: "INBOUND", Seq: 3, Duplicate: true}
	spilled := bus.Ack{Stream: "INBOUND_SPILL", Seq: 9}
	tests := []struct {
		name   string
		home   []any
		spill  []any
		want   intake.Stored
		err    error
		calls  string
		within time.Duration
		spills int
	}{
		{name: "stored", home: []any{stored}, want: intake.Stored{Stream: "INBOUND", Seq: 7}, calls: "home"},
		{name: "duplicate", home: []any{twice}, want: intake.Stored{Stream: "INBOUND", Seq: 3, Duplicate: true}, calls: "home"},
		{
			name: "10158 is neither success nor failure", home: []any{bus.ErrDuplicateInProcess, bus.ErrDuplicateInProcess, twice},
			want: intake.Stored{Stream: "INBOUND", Seq: 3, Duplicate: true}, calls: "home home home", within: 250 * time.Millisecond,
		},
		{name: "throttled, then stored", home: []any{bus.ErrThrottled, stored}, want: intake.Stored{Stream: "INBOUND", Seq: 7}, calls: "home home", within: 200 * time.Millisecond},
		{name: "stream full", home: []any{bus.ErrStreamFull}, spill: []any{spilled}, want: intake.Stored{Stream: "INBOUND_SPILL", Seq: 9, Spilled: true}, calls: "home spill", spills: 1},
		{name: "no leader", home: []any{bus.ErrNoStream}, spill: []any{spilled}, want: intake.Stored{Stream: "INBOUND_SPILL", Seq: 9, Spilled: true}, calls: "home spill", spills: 1},
		{name: "cluster without resources", home: []any{bus.ErrUnavailable}, spill: []any{spilled}, want: intake.Stored{Stream: "INBOUND_SPILL", Seq: 9, Spilled: true}, calls: "home spill", spills: 1},
		{name: "disconnected", home: []any{bus.ErrDisconnected}, spill: []any{spilled}, want: intake.Stored{Stream: "INBOUND_SPILL", Seq: 9, Spilled: true}, calls: "home spill", spills: 1},
		{
			name: "no answer within the time of the home stream", home: []any{time.Hour}, spill: []any{spilled},
			want: intake.Stored{Stream: "INBOUND_SPILL", Seq: 9, Spilled: true}, calls: "home spill", within: 801 * time.Millisecond, spills: 1,
		},
		{
			name: "in process until the time is over", home: repeat(bus.ErrDuplicateInProcess, 100), spill: []any{spilled},
			want: intake.Stored{Stream: "INBOUND_SPILL", Seq: 9, Spilled: true}, within: time.Second, spills: 1,
		},
		{
			name: "spill stream hangs, home is back", home: []any{bus.ErrNoStream, stored}, spill: []any{time.Hour},
			want: intake.Stored{Stream: "INBOUND", Seq: 7}, calls: "home spill home", within: time.Second, spills: 1,
		},
		{
			name: "in process on the spill stream", home: []any{bus.ErrNoStream}, spill: []any{bus.ErrDuplicateInProcess, bus.Ack{Stream: "INBOUND_SPILL", Seq: 4, Duplicate: true}},
			want: intake.Stored{Stream: "INBOUND_SPILL", Seq: 4, Duplicate: true, Spilled: true}, calls: "home spill spill", spills: 1, within: 200 * time.Millisecond,
		},
		{name: "too large for any stream", home: []any{bus.ErrTooLarge}, err: bus.ErrTooLarge, calls: "home"},
		{name: "nobody answers", err: bus.ErrTimeout, within: 4001 * time.Millisecond, spills: 1},
		{name: "everything full", home: repeat(bus.ErrStreamFull, 100), spill: repeat(bus.ErrStreamFull, 100), err: bus.ErrStreamFull, within: 4101 * time.Millisecond, spills: 1},
		{name: "an answer that nobody knows", home: []any{fault.New(fault.Permanent, "strange")}, spill: []any{spilled}, want: intake.Stored{Stream: "INBOUND_SPILL", Seq: 9, Spilled: true}, calls: "home spill", spills: 1},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // time is virtual
				s := &script{home: tc.home, spill: tc.spill}
				spills := 0
				p := intake.NewPublisher(intake.Ways{
					Home: s, Single: s, Away: intake.NewAway(10), Spills: func(context.Context, error) { spills++ },
				}, intake.Times{Primary: 800 * time.Millisecond, Total: 4 * time.Second})
				ctx, cancel := context.WithCancel(t.Context())
				cancel() // WeChat has hung up; the push is stored all the same
				start := time.Now()
				got, err := p.Publish(ctx, event)
				require.LessOrEqual(t, time.Since(start), tc.within+20*time.Millisecond)
				require.Equal(t, tc.spills, spills)
				if tc.calls != "" {
					require.Equal(t, tc.calls, strings.Join(s.calls, " "))
				}
				if tc.err != nil {
					require.ErrorIs(t, err, tc.err)
					require.Zero(t, got)
					return
				}
				require.NoError(t, err)
				require.Equal(t, tc.want, got)
			})
		})
	}
}

func repeat(err error, n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = err
	}
	return out
}

func TestPublishRefusesAnEventWithoutASubject(t *testing.T) {
	p := intake.NewPublisher(intake.Ways{Home: &script{}, Single: &script{}, Away: intake.NewAway(10)}, intake.Times{Primary: time.Second, Total: 2 * time.Second})
	_, err := p.Publish(t.Context(), &eventv1.InboundEvent{Id: "id", Account: "a.b", Kind: eventv1.EventKind_EVENT_KIND_MESSAGE})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
