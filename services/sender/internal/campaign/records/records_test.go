package records_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/records"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func newStore(t *testing.T) *records.Store {
	t.Helper()
	env := bustest.Start(t)
	kv, err := env.JS.KeyValue(t.Context(), topology.BucketCampaigns)
	require.NoError(t, err)
	return records.New(kv, time.Now)
}

func TestRecordsAndLeasesLiveBesideEachOther(t *testing.T) {
	s := newStore(t)
	for _, id := range []string{"spring", "summer"} {
		require.NoError(t, s.Create(t.Context(), &senderv1.CampaignRecord{Account: "shop", Id: id, State: campaignstate.Draft}))
	}
	require.NoError(t, s.Create(t.Context(), &senderv1.CampaignRecord{Account: "other", Id: "spring", State: campaignstate.Draft}))
	require.ErrorIs(t, s.Create(t.Context(), &senderv1.CampaignRecord{Account: "shop", Id: "spring"}), records.ErrExists)
	_, err := s.Acquire(t.Context(), "shop", "spring", "a", records.Seen{}, 0)
	require.NoError(t, err)

	mine, err := s.List(t.Context(), "shop")
	require.NoError(t, err)
	require.Len(t, mine, 2, "a lease is no campaign")
	all, err := s.List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, 3)
	_, err = s.Get(t.Context(), "shop", "winter")
	require.ErrorIs(t, err, records.ErrNotFound)
	_, err = s.Change(t.Context(), "shop", "winter", campaignstate.Cancel{})
	require.ErrorIs(t, err, records.ErrNotFound)
	changed, err := s.Change(t.Context(), "shop", "spring", campaignstate.Cancel{})
	require.NoError(t, err)
	require.Equal(t, campaignstate.Cancelled, changed.Rec.GetState())
}

func TestOneHolderAtATimeAndEpochsOnlyGrow(t *testing.T) {
	s := newStore(t)
	a, err := s.Acquire(t.Context(), "shop", "spring", "a", records.Seen{}, 7)
	require.NoError(t, err)
	require.EqualValues(t, 8, a.Epoch(), "larger than the epoch of the record")
	_, err = s.Acquire(t.Context(), "shop", "spring", "b", records.Seen{}, 0)
	require.ErrorIs(t, err, records.ErrTaken)

	// Another replica has seen the lease stand still for long enough.
	seen := records.Seen{Lease: &senderv1.CampaignLease{Holder: "a", Epoch: a.Epoch()}, Revision: 1}
	b, err := s.Acquire(t.Context(), "shop", "spring", "b", seen, 0)
	require.NoError(t, err)
	require.EqualValues(t, 9, b.Epoch())
	require.ErrorIs(t, a.Renew(t.Context()), records.ErrTaken)
	require.ErrorIs(t, a.Release(t.Context()), records.ErrTaken, "who lost it cannot give it back")
	require.NoError(t, b.Renew(t.Context()))
	require.Less(t, b.Age(), time.Minute)
	require.NoError(t, b.Release(t.Context()))
}
