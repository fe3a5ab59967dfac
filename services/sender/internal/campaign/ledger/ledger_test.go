package ledger_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func newStore(t *testing.T) *ledger.Store {
	t.Helper()
	env := bustest.Start(t)
	stream, err := env.JS.Stream(t.Context(), topology.StreamCampaignLedger)
	require.NoError(t, err)
	return ledger.NewStore(env.Conn, stream)
}

func load(t *testing.T, s *ledger.Store, n uint32) *ledger.Chunk {
	t.Helper()
	c, err := s.Load(t.Context(), "shop", "spring", n, 3)
	require.NoError(t, err)
	return c
}

func TestAChunkThatWasNeverWrittenHasEverybodyPending(t *testing.T) {
	c := load(t, newStore(t), 7)
	require.Equal(t, 3, c.Len())
	require.Zero(t, c.Revision())
	for i := range c.Len() {
		require.Equal(t, ledger.Pending, c.Entry(i).GetState())
		require.Empty(t, c.Reason(i))
	}
}

func TestWhatWasSavedIsLoaded(t *testing.T) {
	s := newStore(t)
	c := load(t, s, 0)
	c.Set(0, &senderv1.LedgerEntry{State: ledger.Failed, Errcode: 45047, Round: 2}, "used up")
	c.Set(2, &senderv1.LedgerEntry{State: ledger.Refused}, "used up")
	require.NoError(t, s.Save(t.Context(), "shop", "spring", c, 4))
	c.Set(1, &senderv1.LedgerEntry{State: ledger.Sent}, "")
	require.NoError(t, s.Save(t.Context(), "shop", "spring", c, 4), "the revision is known after a write")

	again := load(t, s, 0)
	require.EqualValues(t, 4, again.Epoch)
	require.Equal(t, c.Revision(), again.Revision())
	require.True(t, proto.Equal(c.Entry(0), again.Entry(0)))
	require.Equal(t, "used up", again.Reason(0))
	require.Equal(t, "used up", again.Reason(2))
	require.Equal(t, again.Entry(0).GetReason(), again.Entry(2).GetReason(), "a reason is stored once")
	require.Zero(t, load(t, s, 1).Revision(), "another chunk is another message")
}

func TestOfTwoWritersOneLoses(t *testing.T) {
	s := newStore(t)
	mine, theirs := load(t, s, 0), load(t, s, 0)
	theirs.Set(0, &senderv1.LedgerEntry{State: ledger.Submitting}, "")
	require.NoError(t, s.Save(t.Context(), "shop", "spring", theirs, 2))
	mine.Set(1, &senderv1.LedgerEntry{State: ledger.Submitting}, "")
	require.ErrorIs(t, s.Save(t.Context(), "shop", "spring", mine, 1), ledger.ErrStale)
	require.Equal(t, ledger.Submitting, load(t, s, 0).Entry(0).GetState())
	require.Equal(t, ledger.Pending, load(t, s, 0).Entry(1).GetState())
}

func TestAWriteWhoseAnswerWasLostIsFoundAgain(t *testing.T) {
	s := newStore(t)
	first := load(t, s, 0)
	first.Set(0, &senderv1.LedgerEntry{State: ledger.Submitting}, "")
	repeat := load(t, s, 0)
	repeat.Set(0, &senderv1.LedgerEntry{State: ledger.Submitting}, "")
	require.NoError(t, s.Save(t.Context(), "shop", "spring", first, 1))
	require.NoError(t, s.Save(t.Context(), "shop", "spring", repeat, 1), "the same write again is no other writer")
	require.Equal(t, first.Revision(), repeat.Revision())
}

func TestALedgerOfAnotherSizeIsRefused(t *testing.T) {
	s := newStore(t)
	require.NoError(t, s.Save(t.Context(), "shop", "spring", load(t, s, 0), 1))
	_, err := s.Load(t.Context(), "shop", "spring", 0, 4)
	require.ErrorContains(t, err, "3 entries, not 4")
}

func TestASelectionIsWrittenOnce(t *testing.T) {
	s := newStore(t)
	chosen := &senderv1.ReplaySelection{Chunks: []*senderv1.SelectedChunk{{Chunk: 2, Recipients: []uint32{0, 4}}}}
	require.NoError(t, s.SaveReplay(t.Context(), "shop", "spring", "ab12", chosen))
	require.ErrorIs(t, s.SaveReplay(t.Context(), "shop", "spring", "ab12", &senderv1.ReplaySelection{}), ledger.ErrStale)
	got, err := s.LoadReplay(t.Context(), "shop", "spring", "ab12")
	require.NoError(t, err)
	require.True(t, proto.Equal(chosen, got))
}
