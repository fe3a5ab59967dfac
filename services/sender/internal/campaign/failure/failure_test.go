package failure_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/failure"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
)

func TestGroupsSayWhatToDoAndTheMostFrequentComesFirst(t *testing.T) {
	groups := failure.Groups(map[failure.Key]uint32{
		{State: ledger.Failed, Errcode: 43004}:  7,
		{State: ledger.Failed, Errcode: 45009}:  9,
		{State: ledger.Failed, Errcode: -1}:     3,
		{State: ledger.Failed, Errcode: 123456}: 2,
		{State: ledger.Failed, Errcode: 48001}:  1,
		{State: ledger.Failed}:                  1,
		{State: ledger.Refused}:                 4,
		{State: ledger.Ambiguous}:               5,
		{State: ledger.Failed, Errcode: 40001}:  0,
	})
	require.Len(t, groups, 8, "an empty group is none")
	replayable := map[int32]bool{}
	for i, g := range groups {
		require.NotEmpty(t, g.GetText())
		require.NotEmpty(t, g.GetAdvice())
		if i > 0 {
			require.LessOrEqual(t, g.GetRecipients(), groups[i-1].GetRecipients())
		}
		if g.GetState() == ledger.Failed {
			replayable[g.GetErrcode()] = g.GetReplayable()
		} else {
			require.Equal(t, g.GetState() == ledger.Refused, g.GetReplayable(), "who may have it is never replayed")
		}
	}
	require.Equal(t, map[int32]bool{43004: false, 45009: true, -1: true, 123456: true, 48001: false, 0: true}, replayable)
}
