package vault_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/account/vault"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	canary = "CanaryToken"
	aesKey = "CanaryCanary0123456789ABCDEFGHIJKLMNOPQRSTU"
)

func sealer(t testing.TB, fill ...byte) *secret.Sealer {
	t.Helper()
	keys := make([][]byte, len(fill))
	for i, b := range fill {
		keys[i] = bytes.Repeat([]byte{b}, secret.KeySize)
	}
	s, err := secret.NewSealer(keys...)
	require.NoError(t, err)
	return s
}

func record(name string, appid int) *tokenv1.AccountRecord {
	return &tokenv1.AccountRecord{
		Settings: &tokenv1.AccountSettings{Name: name, Appid: fmt.Sprintf("wx%016x", appid)},
		Secrets:  &tokenv1.AccountSecrets{Token: canary, EncodingAesKey: aesKey, AppSecret: "CanarySecret"},
	}
}

func TestARecordOpensOnlyAtItsPlaceAndWithItsKey(t *testing.T) {
	s := sealer(t, 1)
	box, err := vault.Seal(s, "club", record("club", 2))
	require.NoError(t, err)
	require.NotContains(t, string(box), "Canary")
	got := &tokenv1.AccountRecord{}
	require.NoError(t, vault.Open(s, "club", box, got))
	require.True(t, proto.Equal(record("club", 2), got))
	require.NoError(t, vault.Open(sealer(t, 2, 1), "club", box, got), "the previous master key")
	for name, err := range map[string]error{
		"another account":    vault.Open(s, "shop", box, got),
		"another master key": vault.Open(sealer(t, 3), "club", box, got),
		"damaged":            vault.Open(s, "club", box[:len(box)-1], got),
	} {
		require.Equal(t, fault.Permanent, fault.KindOf(err), name)
		require.NotContains(t, err.Error(), "Canary", name)
	}
}

func TestEverySettingSurvivesTheWayToTheRecordAndBack(t *testing.T) {
	no := false
	a := account.Account{
		Name: "club", AppID: "wx0000000000000002", OriginalID: "gh_1", Kind: account.KindMiniProgram, Format: account.FormatJSON,
		Mode: account.ModeCompatible, APIBase: "http://127.0.0.1:1", Reply: account.ReplyStretch, KfAPI: &no,
		Ambiguous: account.AmbiguousResend, TokenAPI: account.TokenAPIToken, PassiveDeadline: time.Second,
		StretchAnswerEarly: true, AllowInsecure: true, CallbackURL: "https://example.com/wx/club",
		Token: secret.New("a"), PreviousToken: secret.New("b"), EncodingAESKey: secret.New("c"), PreviousEncodingAESKey: secret.New("d"), AppSecret: secret.New("e"),
		Disabled: true, DisabledReason: "moved", Revision: 7,
	}
	rec := &tokenv1.AccountRecord{
		Settings: vault.Settings(a), Disabled: true, DisabledReason: "moved",
		Secrets: &tokenv1.AccountSecrets{Token: "a", PreviousToken: "b", EncodingAesKey: "c", PreviousEncodingAesKey: "d", AppSecret: "e"},
	}
	require.Equal(t, a, vault.Account(rec, 7))
}

// FuzzOpen reads values that anybody could have put into the bucket.
func FuzzOpen(f *testing.F) {
	s := sealer(f, 1)
	fixed := s.WithRand(bytes.NewReader(make([]byte, 64))) // the same box in every process that fuzzes
	box, err := vault.Seal(fixed, "club", record("club", 2))
	require.NoError(f, err)
	plain, err := proto.Marshal(record("club", 2))
	require.NoError(f, err)
	f.Add(box)
	f.Add(plain)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		rec := &tokenv1.AccountRecord{}
		if err := vault.Open(s, "club", data, rec); err == nil && !bytes.Equal(data, box) {
			t.Fatal("opened what nobody sealed")
		}
		// The same bytes as somebody with the key would seal them.
		if vault.Open(s, "club", s.Seal(data, []byte("accounts/club")), rec) != nil {
			return
		}
		a := vault.Account(rec, 1)
		d, err := account.NewDirectory(nil)
		require.NoError(t, err)
		err = d.Apply(account.Update{Name: a.Name, Account: &a})
		require.Equal(t, err == nil, d.Find(a.Name) != nil, "served or refused")
	})
}

// world is a bucket with a directory that follows it.
type world struct {
	env *bustest.Env
	kv  jetstream.KeyValue
	s   *secret.Sealer
	dir *account.Directory
	log *bytes.Buffer
}

func setUp(t testing.TB) *world {
	t.Helper()
	w := &world{env: bustest.Start(t), s: sealer(t, 1), log: &bytes.Buffer{}}
	var err error
	w.kv, err = w.env.JS.KeyValue(t.Context(), topology.BucketAccounts)
	require.NoError(t, err)
	w.dir, err = account.NewDirectory([]account.Account{{
		Name: "shop", AppID: "wx0000000000000001", Token: secret.New("token"), EncodingAESKey: secret.New(aesKey),
	}})
	require.NoError(t, err)
	return w
}

func (w *world) put(t testing.TB, key string, rec *tokenv1.AccountRecord) uint64 {
	t.Helper()
	box, err := vault.Seal(w.s, key, rec)
	require.NoError(t, err)
	revision, err := w.kv.Put(t.Context(), key, box)
	require.NoError(t, err)
	return revision
}

func (w *world) feed() *vault.Feed {
	return vault.NewFeed(w.kv, w.dir, w.s, slog.New(slog.NewTextHandler(w.log, nil)))
}

func TestADirectoryFollowsTheBucket(t *testing.T) {
	w := setUp(t)
	first := w.put(t, "club", record("club", 2))
	bustest.Run(t, w.feed())
	require.Equal(t, first, w.dir.Find("club").Revision, "what was there is known when Start returns")

	changed := record("club", 2)
	changed.Disabled = true
	second := w.put(t, "club", changed)
	w.put(t, "bar", record("bar", 3))
	require.Eventually(t, func() bool { return w.dir.Find("bar") != nil }, 30*time.Second, time.Millisecond)
	require.Equal(t, second, w.dir.Find("club").Revision)
	require.True(t, w.dir.Find("club").Disabled)

	require.NoError(t, w.kv.Purge(t.Context(), "club"))
	require.Eventually(t, func() bool { return w.dir.Find("club") == nil }, 30*time.Second, time.Millisecond)
}

func TestAClashWithTheFileStopsTheStartWithItsPath(t *testing.T) {
	w := setUp(t)
	w.put(t, "shop", record("shop", 2))
	err := w.feed().Start(t.Context())
	require.ErrorIs(t, err, account.ErrClash)
	require.ErrorContains(t, err, "accounts[0].name")
}

func TestWhatCannotBeReadIsLeftOutAndLoggedWithoutSecrets(t *testing.T) {
	w := setUp(t)
	other, err := vault.Seal(sealer(t, 9), "strange", record("strange", 4))
	require.NoError(t, err)
	_, err = w.kv.Put(t.Context(), "strange", other)
	require.NoError(t, err)
	w.put(t, "swapped", record("another", 5))
	broken := record("broken", 6)
	broken.Secrets.Token = "no-" + canary
	w.put(t, "broken", broken)
	w.put(t, "club", record("club", 2))
	f := w.feed()
	require.NoError(t, f.Start(t.Context()))
	require.NoError(t, f.Stop(t.Context()))
	require.Equal(t, 2, w.dir.Len())
	for _, name := range []string{"strange", "swapped", "broken"} {
		require.Contains(t, w.log.String(), name)
	}
	require.NotContains(t, w.log.String(), "Canary")
}

// TestThousandsOfAccounts is the size that one deployment must hold: the start is quick, and a change costs
// that account only.
func TestThousandsOfAccounts(t *testing.T) {
	const count = 5000
	w := setUp(t)
	for i := range count {
		name := fmt.Sprintf("a%04d", i)
		box, err := vault.Seal(w.s, name, record(name, i+2))
		require.NoError(t, err)
		_, err = w.env.JS.PublishAsync("$KV."+topology.BucketAccounts+"."+name, box)
		require.NoError(t, err)
	}
	<-w.env.JS.PublishAsyncComplete()

	before, began := heap(), time.Now()
	bustest.Run(t, w.feed())
	took := time.Since(began)
	require.Equal(t, count+1, w.dir.Len())
	perAccount := (int64(heap()) - int64(before)) / count
	t.Logf("%d accounts: start %s, %d bytes each", count, took, perAccount)
	require.Less(t, perAccount, int64(8<<10))

	made := 0
	v := account.NewDerived(w.dir, func(account.Account) (struct{}, error) { made++; return struct{}{}, nil })
	for _, a := range w.dir.All() {
		_, err := v.Get(a.Name)
		require.NoError(t, err)
	}
	revision := w.put(t, "a2500", record("a2500", 2502))
	require.Eventually(t, func() bool { return w.dir.Find("a2500").Revision == revision }, 30*time.Second, time.Millisecond)
	for _, a := range w.dir.All() {
		_, err := v.Get(a.Name)
		require.NoError(t, err)
	}
	require.Equal(t, count+2, made, "the others are not made again")
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAFeedStopsInTime(t *testing.T) {
	w := setUp(t)
	f := w.feed()
	require.NoError(t, f.Stop(t.Context()), "before Start")
	require.NoError(t, f.Start(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, f.Stop(ctx))
	require.NoError(t, f.Stop(ctx))
}
