//go:build bench

package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"

	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/tests/stack"
)

const (
	screenAgents = 100
	screenRate   = 200 // messages per second
	screenFans   = 400
	screenKey    = "key-of-the-bench-0123456789"
	// screenWait bounds every wait for what must come.
	screenWait = 2 * time.Minute
)

// screenRows measures how long it takes from the answer to WeChat's push until the message is in the feed of an agent: in a process that does
// everything, with a feed for each of a hundred agents, opened by HTTP as the page opens it.
func screenRows(t *testing.T) []Row {
	config := benchConfig()
	config["simulator"] = map[string]any{"demo_fans": 0}
	config["console"] = map[string]any{
		"api_keys": []map[string]any{{"name": "bench", "key": screenKey, "accounts": []string{"*"}}}, "rate_limit": 1e4, "rate_burst": 10_000,
	}
	s := stack.Start(t, stack.Options{Mode: stack.All, Config: config, Gateways: 1, Rules: `
rules: [{name: human, on: [text], match: {exact: [转人工]}, do: [{transfer: {queue: desk}}]}]
`})
	n := int(duration.Seconds()) * screenRate
	board := newBoard(n)
	ctx, cancel := context.WithCancel(t.Context())
	defer board.done.Wait()
	defer cancel()
	for agent := range screenAgents {
		board.watch(ctx, t, s.Console, agent)
	}
	board.ready.Wait()

	cipher, err := wechat.NewCipher(aesKey, appid, rand.Reader)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}, Timeout: screenWait}
	defer client.CloseIdleConnections()
	send := func(i int, text string) error {
		p := textPush(t, cipher, "shop", fmt.Sprintf("oScreen%021d", i%screenFans), text, i)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Gateways[0].URL+p.path, bytes.NewReader(p.body))
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return errors.Join(err, resp.Body.Close())
	}
	for i := range screenFans {
		require.NoError(t, send(i, "转人工"))
	}
	require.Eventually(t, func() bool { return board.opened.Load() == screenFans }, screenWait, 50*time.Millisecond, "every fan has a conversation")

	// Open loop: what is late does not hold back what comes after.
	var sending sync.WaitGroup
	tick := time.NewTicker(time.Second / screenRate)
	defer tick.Stop()
	for i := range n {
		<-tick.C
		sending.Go(func() {
			if send(screenFans+i, fmt.Sprintf("第 %d 条：我的订单什么时候发货？", i)) == nil {
				board.accepted[i].Store(time.Now().UnixNano())
			}
		})
	}
	sending.Wait()
	var took []time.Duration
	missing := 0
	require.Eventually(t, func() bool {
		took, missing = board.times()
		return missing == 0
	}, screenWait, time.Second, "every agent sees every message that was accepted")
	require.NotEmpty(t, took, "nothing was accepted")
	p := func(percent int) time.Duration { return took[(len(took)-1)*percent/100] }
	ms := func(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/1e6) }
	return []Row{{
		What:   fmt.Sprintf("inbound → on the agent's screen, %d agents, %d messages/s", screenAgents, screenRate),
		Budget: "p95 ≤ 300 ms", Limit: float64(300 * time.Millisecond), Value: float64(p(95)),
		Measured: fmt.Sprintf("p50 %s, p95 %s, p99 %s, max %s ms; %d of %d pushes accepted", ms(p(50)), ms(p(95)), ms(p(99)), ms(p(100)), len(took)/screenAgents, n),
	}}
}

// board notes when each agent sees each message.
type board struct {
	accepted []atomic.Int64
	arrived  [][]atomic.Int64 // by agent and message
	opened   atomic.Int64     // conversations that the first agent saw begin
	ready    sync.WaitGroup
	done     sync.WaitGroup
}

func newBoard(n int) *board {
	b := &board{accepted: make([]atomic.Int64, n)}
	for range screenAgents {
		b.arrived = append(b.arrived, make([]atomic.Int64, n))
	}
	return b
}

// watch opens the feed of an agent and follows it until ctx ends.
func (b *board) watch(ctx context.Context, t *testing.T, console string, agent int) {
	t.Helper()
	// Browsers read streams as they are.
	plain := connect.WithAcceptCompression("gzip", nil, nil)
	feed := consolev1connect.NewFeedServiceClient(&http.Client{Transport: &http.Transport{}}, console+"/api", plain)
	req := connect.NewRequest(&consolev1.WatchRequest{})
	req.Header().Set("Authorization", "Bearer "+screenKey)
	b.ready.Add(1)
	b.done.Go(func() {
		stream, err := feed.Watch(ctx, req)
		if err != nil {
			t.Error(err)
			b.ready.Done()
			return
		}
		defer func() { _ = stream.Close() }() // it has ended
		for stream.Receive() {
			b.note(agent, stream.Msg())
		}
		if ctx.Err() == nil {
			t.Error(stream.Err())
		}
	})
}

func (b *board) note(agent int, m *consolev1.WatchResponse) {
	now := time.Now().UnixNano()
	if m.GetCaughtUp() != nil {
		b.ready.Done()
	}
	event := m.GetEvent().GetConversationEvent()
	if event.GetConversationChanged().GetChange() == "opened" && agent == 0 {
		b.opened.Add(1)
	}
	var i int
	if _, err := fmt.Sscanf(event.GetMessageAdded().GetMessage().GetText(), "第 %d 条", &i); err == nil && i < len(b.accepted) {
		b.arrived[agent][i].CompareAndSwap(0, now)
	}
}

// times returns how long each accepted message took to each agent, sorted, and how many have not come yet. One that was there before
// the answer to the push took no time.
func (b *board) times() (took []time.Duration, missing int) {
	for _, of := range b.arrived {
		for i := range of {
			accepted, arrived := b.accepted[i].Load(), of[i].Load()
			switch {
			case accepted == 0:
			case arrived == 0:
				missing++
			default:
				took = append(took, max(time.Duration(arrived-accepted), 0))
			}
		}
	}
	slices.Sort(took)
	return took, missing
}
