package audience

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"
)

// order freezes a list and returns the openids in the order of the audience.
func order(t require.TestingT, s *Store, campaign string, openids []string) []string {
	ctx := context.Background()
	page := openids
	a, report, err := s.FreezeList(ctx, Campaign{Account: "shop", ID: campaign}, "list", func() ([]string, error) {
		if page == nil {
			return nil, io.EOF
		}
		next := page
		page = nil
		return next, nil
	})
	require.NoError(t, err)
	require.NoError(t, s.Verify(ctx, "shop", campaign, a))
	var out []string
	for chunk := range a.GetChunks() {
		recipients, err := s.Chunk(ctx, "shop", campaign, a.GetRevision(), chunk)
		require.NoError(t, err)
		for _, r := range recipients {
			require.Equal(t, r.GetOpenid(), openids[r.GetLine()-1])
			out = append(out, r.GetOpenid())
		}
	}
	require.Len(t, out, int(a.GetRecipients()))
	require.Equal(t, len(openids)-len(out), int(report.dropped()))
	require.NoError(t, s.Drop(ctx, "shop", campaign, a.GetRevision()))
	return out
}

func newShuffleStore(t *testing.T, spillAt int) *Store {
	t.Helper()
	env := bustest.Start(t)
	stream, err := env.JS.Stream(t.Context(), topology.StreamAudience)
	require.NoError(t, err)
	s := New(env.Conn, stream, 10_000, time.Now)
	s.spillAt = spillAt
	return s
}

func TestACanaryFollowsFromCampaignAndOpenIDAlone(t *testing.T) {
	held, spilled := newShuffleStore(t, spillAt), newShuffleStore(t, 20*perRecipient)
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfNDistinct(rapid.StringMatching(`o[A-Za-z0-9_-]{1,6}`), 1, 60, rapid.ID[string]).Draw(t, "list")
		want := order(t, held, "spring", list)
		require.ElementsMatch(t, list, want, "everybody is in it, and nobody twice")

		again := rapid.Permutation(append(slices.Clone(list), list[:rapid.IntRange(0, len(list)).Draw(t, "twice")]...)).Draw(t, "again")
		require.Equal(t, want, order(t, spilled, "spring", again), "whatever the order of the list, and however it is kept meanwhile")

		// Whoever else is on the list changes nothing between two recipients.
		left := slices.DeleteFunc(slices.Clone(want), func(string) bool { return rapid.Bool().Draw(t, "left out") })
		if len(left) > 0 {
			require.Equal(t, left, order(t, spilled, "spring", rapid.Permutation(left).Draw(t, "part")))
		}
		size := rapid.IntRange(0, len(want)).Draw(t, "canary")
		canary, rest := want[:size], want[size:]
		require.ElementsMatch(t, list, slices.Concat(canary, rest))
		for _, openid := range canary {
			require.NotContains(t, rest, openid)
		}
	})
	info, err := spilled.stream.Info(t.Context())
	require.NoError(t, err)
	require.Zero(t, info.State.Msgs, "nothing that was put aside stays")
}

func TestACanaryIsASampleOfTheWholeList(t *testing.T) {
	s := newShuffleStore(t, 100*perRecipient)
	var list []string
	for i := range 4000 {
		list = append(list, fmt.Sprintf("oFan%04d", i))
	}
	spring, summer := order(t, s, "spring", list), order(t, s, "summer", list)
	require.NotEqual(t, spring, summer, "another campaign begins with other people")
	for _, all := range [][]string{spring, summer} {
		quarters := map[string]int{}
		for _, openid := range all[:400] {
			quarters[list[1000*(slices.Index(list, openid)/1000)]]++
		}
		for quarter, n := range quarters {
			require.InDelta(t, 100, n, 35, "of the quarter from %s", quarter) // four standard deviations, and always the same
		}
		require.Len(t, quarters, 4)
	}
}

func TestWhatWasPutAsideIsTakenBackWhenFreezingFails(t *testing.T) {
	s := newShuffleStore(t, 10*perRecipient)
	ctx, cancel := context.WithCancel(t.Context())
	pages := 0
	_, _, err := s.FreezeList(ctx, Campaign{Account: "shop", ID: "spring"}, "list", func() ([]string, error) {
		pages++
		if pages == 4 {
			cancel()
			return nil, io.ErrUnexpectedEOF
		}
		var page []string
		for i := range 50 {
			page = append(page, fmt.Sprintf("oFan%d-%d", pages, i))
		}
		return page, nil
	})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	info, err := s.stream.Info(t.Context())
	require.NoError(t, err)
	require.NotZero(t, info.State.LastSeq, "some was put aside")
	require.Zero(t, info.State.Msgs)
}

func TestEveryProblemIsToldInTheOrderOfTheLines(t *testing.T) {
	report := newReport()
	for line := uint32(5000); line > 0; line-- {
		report.add(line, Duplicate, "", "")
	}
	told := report.Proto(true).GetProblems()
	require.Len(t, told, maxProblems)
	require.True(t, slices.IsSortedFunc(told, func(a, b *senderv1.AudienceProblem) int { return int(a.GetLine()) - int(b.GetLine()) }))
	require.EqualValues(t, maxProblems, told[maxProblems-1].GetLine())
}
