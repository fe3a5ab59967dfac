package tokens_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/tokens"
	"github.com/wxbus/wxbus/pkg/topology"
)

var start = time.UnixMilli(1_700_000_000_000)

// service is a token service that counts how often it is asked.
type service struct {
	get, bad atomic.Int32
	answer   func() (*tokenv1.AccessToken, int64, error)
}

func (s *service) GetToken(context.Context, *tokenv1.GetTokenRequest, ...grpc.CallOption) (*tokenv1.GetTokenResponse, error) {
	s.get.Add(1)
	t, valid, err := s.answer()
	return &tokenv1.GetTokenResponse{Token: t, ValidForMs: valid}, err
}

func (s *service) ReportBadToken(context.Context, *tokenv1.ReportBadTokenRequest, ...grpc.CallOption) (*tokenv1.ReportBadTokenResponse, error) {
	s.bad.Add(1)
	t, valid, err := s.answer()
	return &tokenv1.ReportBadTokenResponse{Token: t, ValidForMs: valid}, err
}

type fixture struct {
	env     *bustest.Env
	kv      jetstream.KeyValue
	sealer  *secret.Sealer
	clock   *testkit.Clock
	service *service
	client  *tokens.Client
}

func setUp(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{env: bustest.Start(t), clock: testkit.NewClock(start), service: &service{}}
	f.service.answer = func() (*tokenv1.AccessToken, int64, error) {
		return nil, 0, status.Error(codes.Unavailable, "no token service")
	}
	var err error
	f.kv, err = f.env.JS.KeyValue(t.Context(), topology.BucketTokens)
	require.NoError(t, err)
	f.sealer, err = secret.NewSealer(bytes.Repeat([]byte{7}, secret.KeySize))
	require.NoError(t, err)
	return f
}

func (f *fixture) start(t testing.TB) {
	f.client = tokens.New(tokens.Options{KV: f.kv, Sealer: f.sealer, Token: f.service, Now: f.clock.Now})
	bustest.Run(t, f.client)
}

func (f *fixture) put(t testing.TB, account, value string, generation uint64, life time.Duration) {
	t.Helper()
	box, err := tokens.SealRecord(f.sealer, account, &tokenv1.TokenRecord{Token: &tokenv1.AccessToken{
		Value: value, Generation: generation, ExpiresUnixMs: f.clock.Now().Add(life).UnixMilli(),
	}})
	require.NoError(t, err)
	_, err = f.kv.Put(t.Context(), account, box)
	require.NoError(t, err)
}

func (f *fixture) sees(t testing.TB, account, value string) {
	t.Helper()
	require.Eventually(t, func() bool {
		got, err := f.client.Current(t.Context(), account)
		return err == nil && got.Value.Reveal() == value
	}, 30*time.Second, 5*time.Millisecond)
}

func TestALookupCostsNoNetwork(t *testing.T) {
	f := setUp(t)
	f.put(t, "shop", "one", 1, time.Hour)
	f.start(t)
	require.NoError(t, f.env.Server.Stop(t.Context()))
	for range 1000 {
		got, err := f.client.Current(t.Context(), "shop")
		require.NoError(t, err)
		require.Equal(t, "one", got.Value.Reveal())
		require.EqualValues(t, 1, got.Generation)
	}
	require.Zero(t, f.service.get.Load())
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = f.client.Current(t.Context(), "shop") }))
}

func TestANewTokenIsSeenByWatching(t *testing.T) {
	f := setUp(t)
	f.start(t)
	f.put(t, "shop", "one", 1, time.Hour)
	f.sees(t, "shop", "one")
	f.put(t, "shop", "two", 2, time.Hour)
	f.sees(t, "shop", "two")
	got, err := f.client.Bad(t.Context(), "shop", 1, 40001)
	require.NoError(t, err)
	require.Equal(t, "two", got.Value.Reveal())
	require.Zero(t, f.service.bad.Load(), "memory has a newer one already")
}

func TestAnExpiredTokenIsNeverHandedOut(t *testing.T) {
	f := setUp(t)
	f.put(t, "shop", "one", 1, time.Hour)
	f.start(t)
	f.sees(t, "shop", "one")
	f.clock.Advance(time.Hour)
	_, err := f.client.Current(t.Context(), "shop")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))

	f.service.answer = func() (*tokenv1.AccessToken, int64, error) {
		return &tokenv1.AccessToken{Value: "dead", Generation: 2, ExpiresUnixMs: f.clock.Now().UnixMilli()}, 0, nil
	}
	_, err = f.client.Current(t.Context(), "shop")
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "not even from the service")
}

func TestTheServicesClockCounts(t *testing.T) {
	f := setUp(t)
	f.start(t)
	f.clock.Advance(3 * time.Hour) // our clock is wrong
	f.service.answer = func() (*tokenv1.AccessToken, int64, error) {
		return &tokenv1.AccessToken{Value: "one", Generation: 1, ExpiresUnixMs: start.Add(time.Hour).UnixMilli()}, time.Hour.Milliseconds(), nil
	}
	for range 3 {
		got, err := f.client.Current(t.Context(), "shop")
		require.NoError(t, err)
		require.Equal(t, "one", got.Value.Reveal())
	}
	require.EqualValues(t, 1, f.service.get.Load())
}

func TestManyCallersAskOnce(t *testing.T) {
	f := setUp(t)
	f.put(t, "shop", "one", 1, time.Hour)
	f.start(t)
	release := make(chan struct{})
	f.service.answer = func() (*tokenv1.AccessToken, int64, error) {
		<-release
		return &tokenv1.AccessToken{Value: "two", Generation: 2}, time.Hour.Milliseconds(), nil
	}
	const callers = 1000
	var ready, done sync.WaitGroup
	ready.Add(callers)
	for range callers {
		done.Go(func() {
			ready.Done()
			got, err := f.client.Bad(t.Context(), "shop", 1, 40001)
			if err != nil || got.Value.Reveal() != "two" {
				t.Errorf("got generation %d, %v", got.Generation, err)
			}
		})
	}
	ready.Wait()
	close(release)
	done.Wait()
	require.EqualValues(t, 1, f.service.bad.Load())
	f.sees(t, "shop", "two")
}

func TestTheAnswerOfTheServiceIsNotUndoneByALateWatch(t *testing.T) {
	f := setUp(t)
	f.put(t, "shop", "one", 1, time.Hour)
	f.put(t, "other", "w", 1, time.Hour)
	f.start(t)
	f.service.answer = func() (*tokenv1.AccessToken, int64, error) {
		return &tokenv1.AccessToken{Value: "two", Generation: 2}, time.Hour.Milliseconds(), nil
	}
	_, err := f.client.Bad(t.Context(), "shop", 1, 42001)
	require.NoError(t, err)
	f.put(t, "shop", "one", 1, time.Hour)
	f.put(t, "other", "x", 2, time.Hour)
	f.sees(t, "other", "x") // the watch has passed both
	f.sees(t, "shop", "two")
}

func TestErrorsKeepTheirKind(t *testing.T) {
	f := setUp(t)
	f.start(t)
	for code, want := range map[codes.Code]fault.Kind{
		codes.NotFound: fault.NotFound, codes.FailedPrecondition: fault.Refused,
		codes.ResourceExhausted: fault.Exhausted, codes.Unavailable: fault.Unavailable,
	} {
		f.service.answer = func() (*tokenv1.AccessToken, int64, error) { return nil, 0, status.Error(code, "no") }
		_, err := f.client.Current(t.Context(), "shop")
		require.Equal(t, want, fault.KindOf(err))
		_, err = f.client.Bad(t.Context(), "shop", 1, 40001)
		require.Equal(t, want, fault.KindOf(err))
	}
}

func TestACallerThatLeavesDoesNotEndTheQuestionOfTheOthers(t *testing.T) {
	f := setUp(t)
	f.start(t)
	asked, release := make(chan struct{}), make(chan struct{})
	f.service.answer = func() (*tokenv1.AccessToken, int64, error) {
		close(asked)
		<-release
		return &tokenv1.AccessToken{Value: "one", Generation: 1}, time.Hour.Milliseconds(), nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := f.client.Current(ctx, "shop")
		first <- err
	}()
	<-asked
	cancel()
	require.ErrorIs(t, <-first, context.Canceled)
	close(release)
	f.sees(t, "shop", "one")
	require.EqualValues(t, 1, f.service.get.Load())
}

func TestARecordSealedForAnotherPlaceIsIgnored(t *testing.T) {
	f := setUp(t)
	box, err := tokens.SealRecord(f.sealer, "other", &tokenv1.TokenRecord{Token: &tokenv1.AccessToken{
		Value: "stolen", Generation: 9, ExpiresUnixMs: start.Add(time.Hour).UnixMilli(),
	}})
	require.NoError(t, err)
	require.NotContains(t, string(box), "stolen")
	_, err = f.kv.Put(t.Context(), "shop", box)
	require.NoError(t, err)
	f.start(t)
	_, err = f.client.Current(t.Context(), "shop")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}

func TestADeletedRecordIsForgotten(t *testing.T) {
	f := setUp(t)
	f.put(t, "shop", "one", 1, time.Hour)
	f.start(t)
	f.sees(t, "shop", "one")
	require.NoError(t, f.kv.Delete(t.Context(), "shop"))
	require.Eventually(t, func() bool {
		_, err := f.client.Current(t.Context(), "shop")
		return err != nil
	}, 30*time.Second, 5*time.Millisecond)
}

func TestAClientThatIsStoppedAnswersNobody(t *testing.T) {
	f := setUp(t)
	f.start(t)
	require.NoError(t, f.client.Stop(t.Context()))
	require.NoError(t, f.client.Stop(t.Context()))
	_, err := f.client.Current(t.Context(), "shop")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.NoError(t, tokens.New(tokens.Options{}).Stop(t.Context()), "without a start")
	err = tokens.New(tokens.Options{KV: f.kv}).Start(t.Context())
	require.ErrorContains(t, err, "master_key")
}

func TestATokenIsNotPrinted(t *testing.T) {
	f := setUp(t)
	f.put(t, "shop", "very-secret", 1, time.Hour)
	f.start(t)
	got, err := f.client.Current(t.Context(), "shop")
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", got, got, got), "very-secret")
}

// FuzzOpenRecord: whatever is in the bucket, opening it neither panics nor yields a record that was
// not sealed.
func FuzzOpenRecord(f *testing.F) {
	sealer, err := secret.NewSealer(bytes.Repeat([]byte{7}, secret.KeySize))
	require.NoError(f, err)
	sealed := &tokenv1.TokenRecord{Token: &tokenv1.AccessToken{Value: "v", Generation: 1}}
	box, err := tokens.SealRecord(sealer, "shop", sealed)
	require.NoError(f, err)
	f.Add([]byte(nil))
	f.Add(box)
	f.Add(box[:len(box)-1])
	f.Fuzz(func(t *testing.T, value []byte) {
		rec, err := tokens.OpenRecord(sealer, "shop", value)
		// Every worker of the fuzzer has sealed a box of its own, so the content is compared and not the box.
		if err == nil && !proto.Equal(rec, sealed) {
			t.Fatalf("opened a forged record of generation %d", rec.GetToken().GetGeneration())
		}
		if err != nil && fault.KindOf(err) != fault.Permanent && !errors.Is(err, secret.ErrForged) {
			t.Fatalf("kind %s", fault.KindOf(err))
		}
	})
}

func BenchmarkCurrent(b *testing.B) {
	f := setUp(b)
	for i := range 50 {
		f.put(b, fmt.Sprintf("account-%d", i), "token", 1, time.Hour)
	}
	f.client = tokens.New(tokens.Options{KV: f.kv, Sealer: f.sealer, Token: f.service, Now: benchClock()})
	bustest.Run(b, f.client)
	ctx := b.Context()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.client.Current(ctx, "account-17"); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// benchClock costs what time.Now costs and stands near start.
func benchClock() func() time.Time {
	shift := -time.Since(start)
	return func() time.Time { return time.Now().Add(shift) }
}

func TestAnAccountThatIsDisabledLeavesNothingInMemory(t *testing.T) {
	f := setUp(t)
	dir, err := account.NewDirectory(nil)
	require.NoError(t, err)
	revision := uint64(0)
	shop := func(disabled bool) {
		revision++
		require.NoError(t, dir.Apply(account.Update{Name: "shop", Account: &account.Account{
			Name: "shop", AppID: "wx0000000000000001", Kind: account.KindService, Token: secret.New("token"), Mode: account.ModePlaintext, AllowInsecure: true, Disabled: disabled, Revision: revision,
		}}))
	}
	shop(false)
	for _, key := range []string{"shop", "shop.jsapi", "club"} {
		f.put(t, key, "first of "+key, 1, time.Hour)
	}
	f.client = tokens.New(tokens.Options{KV: f.kv, Sealer: f.sealer, Token: f.service, Accounts: dir, Now: f.clock.Now})
	bustest.Run(t, f.client)
	current := func(name string) string {
		got, err := f.client.Current(t.Context(), name)
		if err != nil {
			return "none"
		}
		return got.Value.Reveal()
	}
	require.Equal(t, "first of shop", current("shop"))

	shop(true)
	require.Equal(t, "none", current("shop"), "the service was asked, and refuses")
	require.EqualValues(t, 1, f.service.get.Load())
	require.Equal(t, "first of club", current("club"), "others keep theirs")
	f.put(t, "shop", "second of shop", 2, time.Hour)
	f.put(t, "club", "second of club", 2, time.Hour)
	require.Eventually(t, func() bool { return current("club") == "second of club" }, 30*time.Second, 5*time.Millisecond)
	require.Equal(t, "none", current("shop"), "a late write does not bring it back")

	shop(false)
	f.service.answer = func() (*tokenv1.AccessToken, int64, error) {
		return &tokenv1.AccessToken{Value: "third of shop", Generation: 3, ExpiresUnixMs: f.clock.Now().Add(time.Hour).UnixMilli()}, 0, nil
	}
	asked := f.service.get.Load()
	require.Equal(t, "third of shop", current("shop"))
	require.Equal(t, "third of shop", current("shop"))
	require.EqualValues(t, asked+1, f.service.get.Load(), "from memory again")
}
