//go:build bench

package bench

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wxbus/wxbus/pkg/process"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/tests/stack"
)

const (
	quietAccounts = 10
	bucket        = 15 // messages a second of each account
	perFan        = 5  // messages that a fan's window allows
	quietFans     = 150
	noisyFans     = 1_500
	settled       = 5 * time.Second // until the burst of the beginning is over
	observed      = 30 * time.Second
)

// fairnessRows lets ten accounts send as fast as their quota allows, and one more send ten times as much as its own. WeChat,
// the simulator in a process of its own, says when each message came.
func fairnessRows(t *testing.T) []Row {
	s := startFair(t)
	var group sync.WaitGroup
	for account := range quietAccounts + 1 {
		group.Go(func() { s.openWindows(t, account) })
	}
	group.Wait()
	ctx, stop := context.WithTimeout(t.Context(), settled+observed)
	defer stop()
	begin := time.Now()
	for account := range quietAccounts + 1 {
		group.Go(func() { s.flood(ctx, t, account) })
	}
	<-ctx.Done()
	group.Wait()

	from, to := begin.Add(settled), begin.Add(settled+observed)
	var rates []float64
	for account := range quietAccounts {
		rates = append(rates, float64(s.arrived(t, account, from, to))/observed.Seconds())
	}
	noisy := float64(s.arrived(t, quietAccounts, from, to)) / observed.Seconds()
	low, high := slices.Min(rates), slices.Max(rates)
	off := 100 * max(bucket-low, high-bucket) / bucket
	return []Row{{
		What: "10 accounts at their full quota beside one that wants ten times its own: rate of each", Budget: "within 10 % of its quota", Limit: 10, Value: off,
		Measured: fmt.Sprintf("%.1f to %.1f of %d/s (%.1f %% off); the noisy one %.1f/s", low, high, bucket, off, noisy),
	}}
}

type fair struct{ *stack.Stack }

func accountName(i int) string { return fmt.Sprintf("account%02d", i) }

func fanOf(account, i int) string { return fmt.Sprintf("oFair%02d%06d", account, i) }

func fansOf(account int) int {
	if account == quietAccounts {
		return noisyFans
	}
	return quietFans
}

func startFair(t *testing.T) fair {
	t.Helper()
	config := benchConfig()
	first := config["accounts"].([]map[string]any)[0]
	var accounts []map[string]any
	for i := range quietAccounts + 1 {
		a := map[string]any{}
		for k, v := range first {
			a[k] = v
		}
		a["name"], a["appid"], a["original_id"] = accountName(i), fmt.Sprintf("wx%016x", 0xfa10+i), fmt.Sprintf("gh_fair%02d", i)
		accounts = append(accounts, a)
	}
	config["accounts"] = accounts
	config["nats"] = map[string]any{"sync_always": false}
	config["simulator"] = map[string]any{"demo_fans": 0}
	config["sender"] = map[string]any{"pace": map[string]any{"rate": bucket, "burst": bucket}}
	return fair{stack.Start(t, stack.Options{Mode: stack.All, Config: config, Gateways: 1, Rules: "rules: [{name: quiet, match: any, do: [none]}]\n"})}
}

// openWindows lets every fan of an account write once.
func (s fair) openWindows(t *testing.T, account int) {
	for i := range fansOf(account) {
		s.Sim(t, http.MethodPost, "/sim/v1/push", map[string]any{
			"account": accountName(account), "openid": fanOf(account, i), "type": "text", "fields": map[string]any{"Content": "hello"},
		}, nil)
	}
}

// flood hands over everything that an account has to send, as fast as the sender takes it, until ctx ends.
func (s fair) flood(ctx context.Context, t *testing.T, account int) {
	conn, err := process.DialPlain(ctx, s.GRPC("sender"))
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	api := senderv1.NewSenderServiceClient(conn)
	text := &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: "hello"}}}
	for round := range perFan {
		var requests []*senderv1.SendRequest
		for i := range fansOf(account) {
			requests = append(requests, &senderv1.SendRequest{
				Account: accountName(account), Openid: fanOf(account, i), IdempotencyKey: fmt.Sprint(i, "/", round), Content: text,
			})
		}
		for part := range slices.Chunk(requests, 50) {
			_, err := api.SendBatch(ctx, &senderv1.SendBatchRequest{Requests: part})
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				t.Error(err)
				return
			}
		}
	}
}

// arrived counts the messages of an account that its fans got between two times.
func (s fair) arrived(t *testing.T, account int, from, to time.Time) (n int) {
	t.Helper()
	for i := range fansOf(account) {
		var view struct {
			Timeline []struct {
				Way string    `json:"way"`
				At  time.Time `json:"at"`
			} `json:"timeline"`
		}
		s.Sim(t, http.MethodGet, "/sim/v1/accounts/"+accountName(account)+"/fans/"+fanOf(account, i), nil, &view)
		for _, line := range view.Timeline {
			if line.Way == "kf" && !line.At.Before(from) && line.At.Before(to) {
				n++
			}
		}
	}
	return n
}
