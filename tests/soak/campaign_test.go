package soak

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/process"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/tests/stack"
)

var (
	recipients   = flag.Int("recipients", 2000, "recipients of the campaign")
	campaignRate = flag.Int("campaign-rate", 200, "messages a second of the campaign's account")
)

// campaignRun is one campaign while its sender is being killed.
type campaignRun struct {
	*stack.Stack
	people int
	peak   float64 // of the memory of the sender's process since the last kill, in MB
}

// TestACampaignSurvivesKills sends to everybody while the process that does it is killed twice, and lets the phones
// of the fans judge: nobody has two messages, and who has none is known as ambiguous.
func TestACampaignSurvivesKills(t *testing.T) {
	config := configuration()
	config["admin"] = map[string]any{"pprof": *profiles != ""}
	config["sender"] = map[string]any{
		"call_timeout": "3s",
		"pace":         map[string]any{"rate": *campaignRate, "burst": max(1, *campaignRate/10)},
		"campaign":     map[string]any{"lease": "2s"},
	}
	c := &campaignRun{people: *recipients, Stack: stack.Start(t, stack.Options{
		Mode: stack.Mode(*mode), Config: config, Gateways: 1, Rules: "rules: [{name: quiet, match: any, do: [none]}]\n",
	})}
	c.openWindows(t)
	idle := c.memory(t)
	c.profile(t, "idle")
	c.start(t)

	c.until(t, c.people/4)
	c.KillSender()
	c.RestartSender(t)
	c.peak = 0
	c.until(t, c.people*3/8)
	c.profile(t, "three-eighths")
	from, begun := c.sent(t), time.Now()
	c.until(t, c.people*5/8)
	to, took := c.sent(t), time.Since(begun)
	rate, busy := float64(to-from)/took.Seconds(), c.peak
	c.profile(t, "five-eighths")
	c.until(t, c.people*3/4)
	c.KillSender()
	c.RestartSender(t)
	twice := c.judge(t, c.finished(t))
	// make bench reads this line.
	t.Logf("campaign of %d: %.1f messages a second of %d, memory %.0f MB above idle, %d double sends", c.people, rate, *campaignRate, busy-idle, twice)
	require.Zero(t, twice)
}

func openid(i int) string { return fmt.Sprintf("oCampaign%06d", i) }

// openWindows lets every fan write once.
func (c *campaignRun) openWindows(t *testing.T) {
	t.Helper()
	var group sync.WaitGroup
	next := make(chan int)
	for range 16 {
		group.Go(func() {
			for i := range next {
				c.Sim(t, http.MethodPost, "/sim/v1/push", map[string]any{
					"account": accounts[0], "openid": openid(i), "type": "text", "fields": map[string]any{"Content": "hello"},
				}, nil)
			}
		})
	}
	for i := range c.people {
		next <- i
	}
	close(next)
	group.Wait()
}

// call makes one call of the campaign service, again while the sender is away.
func (c *campaignRun) call(t *testing.T, do func(ctx context.Context, api senderv1.CampaignServiceClient) error) {
	t.Helper()
	conn, err := process.DialPlain(t.Context(), c.GRPC("sender"))
	require.NoError(t, err)
	defer conn.Close()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		err = do(ctx, senderv1.NewCampaignServiceClient(conn))
		return err == nil
	}, 90*time.Second, 200*time.Millisecond, "%v", &lazyError{&err})
}

type lazyError struct{ err *error }

func (l *lazyError) String() string { return fmt.Sprint(*l.err) }

// start waits until every window is known, and starts the campaign.
func (c *campaignRun) start(t *testing.T) {
	t.Helper()
	list := &senderv1.OpenIDList{}
	for i := range c.people {
		list.Openids = append(list.Openids, openid(i))
	}
	text := &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: "春天好"}}}
	c.call(t, func(ctx context.Context, api senderv1.CampaignServiceClient) error {
		_, err := api.CreateCampaign(ctx, &senderv1.CreateCampaignRequest{Account: accounts[0], Id: "spring", Message: &senderv1.CampaignMessage{Content: text}})
		if err == nil {
			_, err = api.SetAudience(ctx, &senderv1.SetAudienceRequest{Account: accounts[0], Id: "spring", Source: &senderv1.SetAudienceRequest_List{List: list}})
		}
		return err
	})
	c.call(t, func(ctx context.Context, api senderv1.CampaignServiceClient) error {
		resp, err := api.DryCount(ctx, &senderv1.DryCountRequest{Account: accounts[0], Id: "spring"})
		if err != nil {
			return err
		}
		if n := resp.GetCampaign().GetCount(); n.GetReachable() != uint32(c.people) {
			return fmt.Errorf("only %d of %d windows are known: %s", n.GetReachable(), c.people, n)
		}
		_, err = api.StartCampaign(ctx, &senderv1.StartCampaignRequest{Account: accounts[0], Id: "spring", ExpectedRecipients: uint32(c.people)})
		return err
	})
}

func (c *campaignRun) record(t *testing.T) (rec *senderv1.CampaignRecord) {
	t.Helper()
	c.call(t, func(ctx context.Context, api senderv1.CampaignServiceClient) error {
		resp, err := api.GetCampaign(ctx, &senderv1.GetCampaignRequest{Account: accounts[0], Id: "spring"})
		rec = resp.GetCampaign()
		return err
	})
	return rec
}

// sent is how many messages have a result by our own count, for timing; the phones judge at the end.
func (c *campaignRun) sent(t *testing.T) int { return int(c.record(t).GetProgress().GetSent()) }

func (c *campaignRun) until(t *testing.T, n int) {
	t.Helper()
	limit := time.Duration(c.people / *campaignRate)*2*time.Second + time.Minute
	require.Eventually(t, func() bool {
		c.peak = max(c.peak, c.memory(t))
		return c.sent(t) >= n
	}, limit, 100*time.Millisecond, "%d are not sent", n)
}

func (c *campaignRun) finished(t *testing.T) *senderv1.CampaignRecord {
	t.Helper()
	limit := time.Duration(c.people / *campaignRate)*2*time.Second + 3*time.Minute
	require.Eventually(t, func() bool { return c.record(t).GetState() == senderv1.CampaignState_CAMPAIGN_STATE_FINISHED },
		limit, 250*time.Millisecond, "the campaign does not end: %s", c.record(t).GetProgress())
	return c.record(t)
}

// judge looks at every phone and returns how many fans have the message more than once.
func (c *campaignRun) judge(t *testing.T, rec *senderv1.CampaignRecord) (twice int) {
	t.Helper()
	none := 0
	for i := range c.people {
		var view struct {
			Timeline []struct {
				Way string `json:"way"`
			} `json:"timeline"`
		}
		c.Sim(t, http.MethodGet, "/sim/v1/accounts/"+accounts[0]+"/fans/"+openid(i), nil, &view)
		got := 0
		for _, line := range view.Timeline {
			if line.Way == "kf" {
				got++
			}
		}
		switch {
		case got == 0:
			none++
		case got > 1:
			twice++
			t.Logf("%s has the message %d times", openid(i), got)
		}
	}
	p := rec.GetProgress()
	t.Logf("sent %d, ambiguous %d, without a message %d", p.GetSent(), p.GetAmbiguous(), none)
	require.EqualValues(t, c.people, p.GetSent()+p.GetAmbiguous(), "%s", p)
	require.LessOrEqual(t, none, int(p.GetAmbiguous()), "who has none is known as ambiguous")
	require.LessOrEqual(t, p.GetAmbiguous(), uint32(2*16), "at most the calls that were under way")
	return twice
}

// memory is the resident memory of the process of the sender, in MB.
func (c *campaignRun) memory(t *testing.T) float64 {
	t.Helper()
	return c.kernel(t)["VmRSS:"]
}
