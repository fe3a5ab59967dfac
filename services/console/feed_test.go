package console_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/topology"
)

// happens stores the n-th change of a conversation and returns its sequence.
func (s *site) happens(account string, n uint64) uint64 {
	s.t.Helper()
	event := &agentroutingv1.ConversationEvent{Account: account, Conversation: "c", Number: n, Openid: "fan"}
	data, err := proto.Marshal(event)
	require.NoError(s.t, err)
	subject, err := topology.SubjectConversation(account, "c")
	require.NoError(s.t, err)
	ack, err := s.Conn.Publish(context.Background(), bus.Msg{Subject: subject, ID: fmt.Sprintf("%s:c:%d", account, n), Data: data,
		Header: nats.Header{bus.HeaderType: {"wxbus.agentrouting.v1.ConversationEvent"}}})
	require.NoError(s.t, err)
	return ack.Seq
}

// watch opens a feed; after nil begins at the present.
func (v *visitor) watch(ctx context.Context, t testing.TB, after *uint64, account string) *connect.ServerStreamForClient[consolev1.WatchResponse] {
	t.Helper()
	stream, err := v.feed.Watch(ctx, connect.NewRequest(&consolev1.WatchRequest{AfterSeq: after, Account: account}))
	require.NoError(t, err)
	return stream
}

// until reads a feed until wanted says so and returns that message; it fails when the feed ends first.
func until(t testing.TB, stream *connect.ServerStreamForClient[consolev1.WatchResponse], wanted func(*consolev1.WatchResponse) bool) *consolev1.WatchResponse {
	t.Helper()
	for stream.Receive() {
		if wanted(stream.Msg()) {
			return stream.Msg()
		}
	}
	require.NoError(t, stream.Err())
	t.Fatal("the feed ended")
	return nil
}

func isCaughtUp(m *consolev1.WatchResponse) bool  { return m.GetCaughtUp() != nil }
func isHeartbeat(m *consolev1.WatchResponse) bool { return m.GetHeartbeat() != nil }
func isEvent(m *consolev1.WatchResponse) bool     { return m.GetEvent() != nil }

func TestAFeedBeginsAtThePresentAndResumesWithoutAGap(t *testing.T) {
	s := demoSite(t)
	li := s.as("li")
	s.happens("shop", 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var first *consolev1.WatchResponse
	require.Eventually(t, func() bool { // the hub follows by then
		stream := li.watch(ctx, t, nil, "")
		defer func() { _ = stream.Close() }()
		first = &consolev1.WatchResponse{}
		return stream.Receive() && isCaughtUp(stream.Msg()) && func() bool { first = stream.Msg(); return true }()
	}, 30*time.Second, 20*time.Millisecond)
	require.Zero(t, first.GetCaughtUp().GetReplayed())
	require.Equal(t, s.clock.Now().UnixMilli(), first.GetServerUnixMs())

	after := first.GetSeq()
	var want []uint64
	for n := range uint64(5) {
		want = append(want, s.happens("shop", n+2))
	}
	stream := li.watch(ctx, t, &after, "")
	var got []uint64
	caught := until(t, stream, func(m *consolev1.WatchResponse) bool {
		if isEvent(m) {
			got = append(got, m.GetSeq())
			require.Equal(t, "fan", m.GetEvent().GetConversationEvent().GetOpenid())
		}
		return isCaughtUp(m) || len(got) == 5
	})
	for len(got) < 5 { // some came live, after the mark
		m := until(t, stream, isEvent)
		got = append(got, m.GetSeq())
	}
	require.Equal(t, want, got)
	require.GreaterOrEqual(t, caught.GetSeq(), after)
	s.happens("shop", 7)
	require.Equal(t, uint64(7), until(t, stream, isEvent).GetEvent().GetConversationEvent().GetNumber())
	beat := until(t, stream, isHeartbeat)
	require.Equal(t, s.clock.Now().UnixMilli(), beat.GetServerUnixMs(), "a page can measure the age of what it shows")
}

// A connection that is cut again and again loses nothing and repeats nothing.
func TestCutConnectionsLoseNothingAndRepeatNothing(t *testing.T) {
	s := demoSite(t, busy)
	li := s.as("li")
	const facts = 300
	var position atomic.Uint64
	require.Eventually(t, func() bool {
		stream := li.watch(t.Context(), t, nil, "")
		defer func() { _ = stream.Close() }()
		ok := stream.Receive()
		position.Store(stream.Msg().GetSeq())
		return ok
	}, 30*time.Second, 20*time.Millisecond)
	written := make(chan struct{})
	go func() {
		defer close(written)
		for n := range uint64(facts) {
			s.happens([]string{"shop", "club"}[n%2], n+1)
		}
	}()
	random := rand.New(rand.NewPCG(1, 2))
	var numbers []uint64
	deadline := time.Now().Add(30 * time.Second)
	for len(numbers) < facts && time.Now().Before(deadline) {
		ctx, cut := context.WithCancel(t.Context())
		after := position.Load()
		stream := li.watch(ctx, t, &after, "")
		for range 1 + random.IntN(20) { // then the line is cut
			if !stream.Receive() {
				break
			}
			position.Store(stream.Msg().GetSeq())
			if e := stream.Msg().GetEvent(); e != nil {
				numbers = append(numbers, e.GetConversationEvent().GetNumber())
			}
			if len(numbers) == facts {
				break
			}
		}
		cut()
		_ = stream.Close()
	}
	<-written
	require.Len(t, numbers, facts)
	for i, n := range numbers {
		require.Equal(t, uint64(i+1), n)
	}
}

func TestAFeedShowsOnlyOnesOwnAccounts(t *testing.T) {
	s := demoSite(t)
	admin := s.as("admin")
	one := s.person(admin, "one", []string{"shop"}, consolev1.Role_ROLE_AGENT)
	start := s.happens("club", 1) - 1
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := one.watch(ctx, t, &start, "")
	until(t, stream, isCaughtUp)
	last := s.happens("club", 2)
	beat := until(t, stream, func(m *consolev1.WatchResponse) bool {
		require.False(t, isEvent(m), "of another account")
		return isHeartbeat(m) && m.GetSeq() >= last
	})
	require.Equal(t, last, beat.GetSeq(), "the position moves over what one may not see")
	s.happens("shop", 1)
	require.Equal(t, "shop", until(t, stream, isEvent).GetEvent().GetAccount())

	denied := one.watch(ctx, t, nil, "club")
	require.False(t, denied.Receive())
	require.Equal(t, connect.CodeNotFound, connect.CodeOf(denied.Err()))
	single := admin.watch(ctx, t, &start, "club")
	require.Equal(t, "club", until(t, single, isEvent).GetEvent().GetAccount(), "one account of many can be asked for")
}

func TestAPositionThatIsNotThereMeansLoadEverything(t *testing.T) {
	s := demoSite(t)
	li := s.as("li")
	s.happens("shop", 1)
	beyond := uint64(1_000_000)
	stream := li.watch(t.Context(), t, &beyond, "")
	require.False(t, stream.Receive())
	require.Equal(t, connect.CodeOutOfRange, connect.CodeOf(stream.Err()))

	last := s.happens("shop", 2)
	conversations, err := s.Conn.JS().Stream(t.Context(), topology.StreamConversations)
	require.NoError(t, err)
	require.NoError(t, conversations.Purge(t.Context()))
	s.happens("shop", 3)
	old := last - 1
	stream = li.watch(t.Context(), t, &old, "")
	require.False(t, stream.Receive())
	require.Equal(t, connect.CodeOutOfRange, connect.CodeOf(stream.Err()))
}

func TestAFeedEndsWithItsSession(t *testing.T) {
	s := demoSite(t)
	li := s.as("li")
	stream := li.watch(t.Context(), t, nil, "")
	until(t, stream, isCaughtUp)
	other := s.visit("Cookie", li.http.Jar.Cookies(mustURL(t, s.url))[0].String())
	_, err := other.sessions.LogOut(t.Context(), connect.NewRequest(&consolev1.LogOutRequest{}))
	require.NoError(t, err)
	for stream.Receive() {
		require.False(t, isEvent(stream.Msg()))
	}
	require.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(stream.Err()))
}

func TestAPageThatOnlyListensIsLoggedOutWhenIdle(t *testing.T) {
	s := demoSite(t)
	li := s.as("li")
	stream := li.watch(t.Context(), t, nil, "")
	until(t, stream, isCaughtUp)
	s.clock.Advance(2 * time.Hour)
	for stream.Receive() {
		require.True(t, isHeartbeat(stream.Msg()))
	}
	require.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(stream.Err()))
	require.False(t, errors.Is(stream.Err(), context.Canceled))
}

func TestAFeedShowsWhatColleaguesDoRightNow(t *testing.T) {
	s := demoSite(t)
	admin := s.as("admin")
	one := s.person(admin, "one", []string{"shop"}, consolev1.Role_ROLE_AGENT)
	stream := one.watch(t.Context(), t, nil, "")
	until(t, stream, isCaughtUp)
	types := func(account string) {
		data, err := proto.Marshal(&agentroutingv1.DeskSignal{Account: account, Conversation: "c", Actor: "li", Kind: agentroutingv1.SignalKind_SIGNAL_KIND_TYPING})
		require.NoError(t, err)
		subject, err := topology.SubjectDeskSignal(account, "c")
		require.NoError(t, err)
		require.NoError(t, s.Conn.NC().Publish(subject, data))
	}
	types("club")
	types("shop")
	got := until(t, stream, func(m *consolev1.WatchResponse) bool { return m.GetSignal() != nil })
	require.Equal(t, []string{"shop", "li"}, []string{got.GetSignal().GetAccount(), got.GetSignal().GetActor()}, "only of one's own accounts")
}
