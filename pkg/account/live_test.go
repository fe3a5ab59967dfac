package account_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
)

// managed returns an account of the API.
func managed(name string, appid int, revision uint64) account.Update {
	a := shop()
	a.Name, a.AppID, a.Revision = name, fmt.Sprintf("wx%016x", appid), revision
	return account.Update{Name: name, Account: &a}
}

func gone(name string) account.Update { return account.Update{Name: name} }

func directory(t testing.TB) *account.Directory {
	t.Helper()
	d, err := account.NewDirectory([]account.Account{shop()})
	require.NoError(t, err)
	return d
}

func TestAccountsComeAndGoWhileTheFileStays(t *testing.T) {
	d := directory(t)
	require.NoError(t, d.Apply(managed("club", 2, 10), managed("bar", 3, 11)))
	require.Equal(t, []string{"shop", "bar", "club"}, names(d))
	club, ok := d.Get("club")
	require.True(t, ok)
	require.False(t, club.FromFile())
	require.Equal(t, account.KindService, club.Kind, "defaults are filled in")

	next := managed("club", 2, 12)
	next.Account.Disabled = true
	require.NoError(t, d.Apply(next))
	club, _ = d.ByAppID(club.AppID)
	require.True(t, club.Disabled)

	require.NoError(t, d.Apply(managed("club", 2, 11)), "a late update")
	require.EqualValues(t, 12, d.Find("club").Revision)

	require.NoError(t, d.Apply(gone("club"), gone("shop"), gone("nobody")))
	require.Equal(t, []string{"shop", "bar"}, names(d))
	_, ok = d.ByAppID(club.AppID)
	require.False(t, ok)
}

func names(d *account.Directory) []string {
	var out []string
	for _, a := range d.All() {
		out = append(out, a.Name)
	}
	return out
}

func TestTheFileWinsAndAClashIsAnError(t *testing.T) {
	d := directory(t)
	sameName := managed("shop", 2, 1)
	err := d.Apply(sameName)
	require.ErrorIs(t, err, account.ErrClash)
	require.ErrorContains(t, err, "accounts[0].name")
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	require.Error(t, d.Problem("shop"))
	require.True(t, d.Find("shop").FromFile())

	sameID := managed("other", 2, 1)
	sameID.Account.AppID = shop().AppID
	require.ErrorContains(t, d.Apply(sameID), "accounts[0].appid")
	require.Nil(t, d.Find("other"))

	broken := managed("broken", 3, 1)
	broken.Account.Token = secret.Value{}
	require.ErrorContains(t, d.Apply(broken), "token: must be set")
	require.ErrorContains(t, d.Problem("broken"), "token")
	require.NoError(t, d.Apply(gone("broken"), gone("other"), gone("shop")))
	require.NoError(t, d.Problem("broken"))
}

func TestAnAccountThatWasLeftOutIsServedWhenItsAppIDIsFree(t *testing.T) {
	d := directory(t)
	require.NoError(t, d.Apply(managed("first", 2, 1)))
	require.ErrorIs(t, d.Apply(managed("second", 2, 2)), account.ErrClash)
	require.NoError(t, d.Apply(gone("first")))
	require.NotNil(t, d.Find("second"))
	require.NoError(t, d.Problem("second"))
}

func TestWatchersSeeEveryChangeInOrder(t *testing.T) {
	d := directory(t)
	var seen []string
	stop := d.Watch(func(c account.Change) {
		before, after := uint64(0), uint64(0)
		if c.Before != nil {
			before = c.Before.Revision
		}
		if c.After != nil {
			after = c.After.Revision
		}
		seen = append(seen, fmt.Sprint(c.Name, " ", before, "-", after))
	})
	require.NoError(t, d.Apply(managed("club", 2, 1), managed("club", 2, 2)))
	require.NoError(t, d.Apply(managed("club", 2, 1), gone("club")))
	stop()
	require.NoError(t, d.Apply(managed("club", 2, 3)))
	require.Equal(t, []string{"club 0-1", "club 1-2", "club 2-0"}, seen)
}

// TestDirectoryAgainstAModel applies updates in any order and with any overlap of names and AppIDs.
func TestDirectoryAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, err := account.NewDirectory([]account.Account{shop()})
		require.NoError(t, err)
		newest := map[string]uint64{} // by name, of what exists
		for revision := range rapid.IntRange(1, 40).Draw(t, "updates") {
			name := rapid.SampledFrom([]string{"a", "b", "c", "shop"}).Draw(t, "name")
			if rapid.IntRange(0, 3).Draw(t, "gone") == 0 {
				_ = d.Apply(gone(name))
				delete(newest, name)
			} else {
				_ = d.Apply(managed(name, rapid.IntRange(1, 3).Draw(t, "appid"), uint64(revision+1)))
				newest[name] = uint64(revision + 1)
			}
			ids := map[string]string{}
			for _, a := range d.All() {
				require.Empty(t, ids[a.AppID], "two accounts with one appid")
				ids[a.AppID] = a.Name
				byID, ok := d.ByAppID(a.AppID)
				require.True(t, ok)
				require.Equal(t, a.Name, byID.Name)
				if a.Name == "shop" {
					require.True(t, a.FromFile())
					continue
				}
				require.Equal(t, newest[a.Name], a.Revision, "only the newest is served")
			}
			for name := range newest {
				if d.Find(name) == nil {
					require.Error(t, d.Problem(name), "served or with a problem")
				}
			}
			require.Equal(t, len(d.All()), d.Len())
		}
	})
}

func TestADerivedValueIsMadeAgainForTheAccountThatChangedOnly(t *testing.T) {
	d := directory(t)
	require.NoError(t, d.Apply(managed("club", 2, 1)))
	made := map[string]int{}
	v := account.NewDerived(d, func(a account.Account) (uint64, error) {
		made[a.Name]++
		if a.Disabled {
			return 0, fault.New(fault.Refused, "disabled")
		}
		return a.Revision, nil
	})
	for range 3 {
		for _, name := range []string{"shop", "club"} {
			_, err := v.Get(name)
			require.NoError(t, err)
		}
	}
	require.NoError(t, d.Apply(managed("club", 2, 2)))
	got, err := v.Get("club")
	require.NoError(t, err)
	require.EqualValues(t, 2, got)
	_, err = v.Get("shop")
	require.NoError(t, err)
	require.Equal(t, map[string]int{"shop": 1, "club": 2}, made)

	off := managed("club", 2, 3)
	off.Account.Disabled = true
	require.NoError(t, d.Apply(off))
	for range 2 {
		_, err = v.Get("club")
		require.Equal(t, fault.Refused, fault.KindOf(err))
	}
	require.Equal(t, 3, made["club"], "an error is kept like a value")
	require.NoError(t, d.Apply(gone("club")))
	_, err = v.Get("club")
	require.ErrorIs(t, err, account.ErrUnknown)
}

func TestReadersAreSafeWhileAccountsChange(t *testing.T) {
	d := directory(t)
	v := account.NewDerived(d, func(a account.Account) (string, error) { return a.AppID, nil })
	var readers sync.WaitGroup
	end := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if id, err := v.Get("club"); err == nil && len(id) != 18 {
					t.Error("half an account")
				}
				_, _ = d.Get("shop")
				_ = d.All()
			}
		})
	}
	for i := range 500 {
		_ = d.Apply(managed("club", 2+i%2, uint64(i+1)))
		if i%10 == 9 {
			_ = d.Apply(gone("club"))
		}
	}
	close(end)
	readers.Wait()
}

// BenchmarkFind is what every push, send and call pays for accounts that can change.
func BenchmarkFind(b *testing.B) {
	d := directory(b)
	updates := make([]account.Update, 5000)
	for i := range updates {
		updates[i] = managed(fmt.Sprintf("a%04d", i), i+2, uint64(i+1))
	}
	require.NoError(b, d.Apply(updates...))
	v := account.NewDerived(d, func(a account.Account) (*account.Account, error) { return &a, nil })
	b.Run("find", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d.Find("a2500")
		}
	})
	b.Run("derived", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = v.Get("a2500")
		}
	})
	b.Run("apply", func(b *testing.B) {
		b.ReportAllocs()
		revision := uint64(10_000)
		for b.Loop() {
			revision++
			_ = d.Apply(managed("a2500", 2502, revision))
		}
	})
}

func TestADerivedForgetsAccountsThatAreGone(t *testing.T) {
	d := directory(t)
	v := account.NewDerived(d, func(a account.Account) (string, error) { return a.Name, nil })
	for i := range 300 {
		name := fmt.Sprintf("n%d", i)
		require.NoError(t, d.Apply(managed(name, i+2, uint64(i+1))))
		_, err := v.Get(name)
		require.NoError(t, err)
		require.NoError(t, d.Apply(gone(name)))
	}
	require.LessOrEqual(t, account.Kept(v), d.Len()+65)
}
