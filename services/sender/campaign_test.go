package sender_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender"
)

const (
	finished  = senderv1.CampaignState_CAMPAIGN_STATE_FINISHED
	cancelled = senderv1.CampaignState_CAMPAIGN_STATE_CANCELLED
	paused    = senderv1.CampaignState_CAMPAIGN_STATE_PAUSED
	canary    = senderv1.CampaignState_CAMPAIGN_STATE_CANARY
	onTheWay  = senderv1.CampaignState_CAMPAIGN_STATE_RUNNING
)

// campaigns is a campaign of a test.
type campaigns struct {
	f       *fixture
	api     senderv1.CampaignServiceServer
	account string
	id      string
	people  int
}

// openWindows lets every fan get five messages.
func (f *fixture) openWindows(t testing.TB, account string, people int) {
	t.Helper()
	kv := f.bucket(t, topology.BucketGrants)
	rec, err := proto.Marshal(&senderv1.GrantRecord{Remaining: 5, DeadlineUnixMs: f.clock.Now().Add(40 * time.Hour).UnixMilli(), NewestCreateTime: 1})
	require.NoError(t, err)
	for i := range people {
		key, err := topology.FanKey(account, fanOf(i))
		require.NoError(t, err)
		_, err = kv.Put(t.Context(), key, rec)
		require.NoError(t, err)
	}
}

// first returns the beginning of every list.
func first(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fanOf(i))
	}
	return out
}

func fanOf(i int) string { return fmt.Sprintf("oFan%05d", i) }

// newCampaign makes a campaign with an audience, ready to be counted.
func (f *fixture) newCampaign(t testing.TB, s *sender.Service, people int, words string) *campaigns {
	t.Helper()
	c := &campaigns{f: f, api: s.Campaigns(), account: "shop", id: "spring", people: people}
	_, err := c.api.CreateCampaign(t.Context(), &senderv1.CreateCampaignRequest{
		Account: c.account, Id: c.id, Name: "春天", Message: &senderv1.CampaignMessage{Content: text(words)}, Actor: "wang",
	})
	require.NoError(t, err)
	var file strings.Builder
	file.WriteString("openid,name\n")
	for i := range people {
		fmt.Fprintf(&file, "%s,name-%d\n", fanOf(i), i)
	}
	resp, err := c.api.SetAudience(t.Context(), &senderv1.SetAudienceRequest{Account: c.account, Id: c.id, Source: &senderv1.SetAudienceRequest_Csv{Csv: []byte(file.String())}})
	require.NoError(t, err)
	require.True(t, resp.GetReport().GetFrozen(), "%s", resp.GetReport())
	return c
}

func (c *campaigns) count(t testing.TB) *senderv1.CampaignCount {
	t.Helper()
	resp, err := c.api.DryCount(t.Context(), &senderv1.DryCountRequest{Account: c.account, Id: c.id})
	require.NoError(t, err)
	return resp.GetCampaign().GetCount()
}

func (c *campaigns) start(t testing.TB, change func(*senderv1.StartCampaignRequest)) {
	t.Helper()
	req := &senderv1.StartCampaignRequest{Account: c.account, Id: c.id, ExpectedRecipients: c.count(t).GetRecipients(), Actor: "wang"}
	if change != nil {
		change(req)
	}
	_, err := c.api.StartCampaign(t.Context(), req)
	require.NoError(t, err)
}

func (c *campaigns) get(t testing.TB) *senderv1.CampaignRecord {
	t.Helper()
	resp, err := c.api.GetCampaign(t.Context(), &senderv1.GetCampaignRequest{Account: c.account, Id: c.id})
	require.NoError(t, err)
	return resp.GetCampaign()
}

func (c *campaigns) becomes(t testing.TB, want senderv1.CampaignState) *senderv1.CampaignRecord {
	t.Helper()
	var rec *senderv1.CampaignRecord
	require.Eventually(t, func() bool { rec = c.get(t); return rec.GetState() == want }, 3*time.Minute, 20*time.Millisecond,
		"%s wanted, is %s", want, &lazyRecord{&rec})
	return rec
}

// first returns who is sent to first.
func (c *campaigns) first(t testing.TB, n uint32) []string {
	t.Helper()
	list, err := c.api.ListRecipients(t.Context(), &senderv1.ListRecipientsRequest{Account: c.account, Id: c.id, PageSize: n})
	require.NoError(t, err)
	var openids []string
	for _, r := range list.GetRecipients() {
		openids = append(openids, r.GetOpenid())
	}
	return openids
}

type lazyRecord struct{ rec **senderv1.CampaignRecord }

func (l *lazyRecord) String() string { return fmt.Sprint(*l.rec) }

// once checks that everybody of the audience got the message exactly once, by what WeChat saw.
func (c *campaigns) once(t testing.TB) {
	t.Helper()
	require.Equal(t, c.people, c.atMostOnce(t))
}

// atMostOnce checks that nobody got the message twice, and returns how many got it.
func (c *campaigns) atMostOnce(t testing.TB) int {
	t.Helper()
	got := map[string]int{}
	for _, call := range c.f.wechat.seen() {
		got[call.OpenID]++
		require.Equal(t, 1, got[call.OpenID], call.OpenID)
	}
	return len(got)
}

func TestACampaignReachesEverybodyOnce(t *testing.T) {
	f := setUp(t)
	f.openWindows(t, "shop", 700)
	f.cfg.Pace.Rate = 1000
	s := f.replica(t, "a")
	c := f.newCampaign(t, s, 700, "{{name}}，春天好")
	count := c.count(t)
	require.EqualValues(t, 700, count.GetReachable(), "%s", count)
	require.EqualValues(t, 700, count.GetDurationMs())
	c.start(t, nil)
	rec := c.becomes(t, finished)
	c.once(t)
	require.EqualValues(t, 700, rec.GetProgress().GetSent())
	require.Zero(t, rec.GetProgress().GetInFlight()+rec.GetProgress().GetPending())
	require.Equal(t, "name-42，春天好", f.wechat.texts(fanOf(42))[0])
	require.Equal(t, "wang", rec.GetHistory()[1].GetActor())
	list, err := c.api.ListRecipients(t.Context(), &senderv1.ListRecipientsRequest{Account: "shop", Id: "spring", PageSize: 1, PageToken: "42"})
	require.NoError(t, err)
	require.EqualValues(t, 42, list.GetRecipients()[0].GetNumber())
	require.Equal(t, fanOf(int(list.GetRecipients()[0].GetLine())-2), list.GetRecipients()[0].GetOpenid(), "the first line names the columns")
	require.Equal(t, sent, state(t, s, "shop", list.GetRecipients()[0].GetSendId()).GetState())
	require.Equal(t, "43", list.GetNextPageToken())
}

func TestADryCountSaysWhoWouldNotGetIt(t *testing.T) {
	f := setUp(t)
	f.openWindows(t, "shop", 10)
	kv := f.bucket(t, topology.BucketGrants)
	put := func(i int, rec *senderv1.GrantRecord) {
		data, err := proto.Marshal(rec)
		require.NoError(t, err)
		key, err := topology.FanKey("shop", fanOf(i))
		require.NoError(t, err)
		_, err = kv.Put(t.Context(), key, data)
		require.NoError(t, err)
	}
	put(0, &senderv1.GrantRecord{Remaining: 5, DeadlineUnixMs: 1})
	put(1, &senderv1.GrantRecord{ClosedBy: 43004})
	put(2, &senderv1.GrantRecord{Remaining: 1, DeadlineUnixMs: f.clock.Now().Add(time.Hour).UnixMilli(), Reserved: []string{"x"}})
	s := f.replica(t, "a")
	c := f.newCampaign(t, s, 12, "hello {{name}}")
	count := c.count(t)
	require.EqualValues(t, 12, count.GetRecipients())
	require.EqualValues(t, 7, count.GetReachable())
	got := map[string]uint32{}
	for _, r := range count.GetUnreachable() {
		got[r.GetReason()] = r.GetRecipients()
		require.NotEmpty(t, r.GetText())
		require.NotEmpty(t, r.GetSample())
	}
	require.Equal(t, map[string]uint32{"no_window": 3, "not_following": 1, "window_used_up": 1}, got)
	require.Empty(t, f.wechat.seen(), "counting sends nothing")
}

func TestADryCountKnowsTheBudgetOfTheDay(t *testing.T) {
	f := setUp(t)
	f.openWindows(t, "shop", 8)
	f.cfg.Daily = map[string]int64{"custom_send": 4} // of which a fifth is kept for more urgent messages
	s := f.replica(t, "a")
	count := f.newCampaign(t, s, 8, "hello").count(t)
	require.EqualValues(t, 3, count.GetReachable())
	require.EqualValues(t, 3, count.GetBudgetLeft())
	require.EqualValues(t, 3, count.GetDays(), "three today, three tomorrow, two after that")
	require.Equal(t, "over_budget", count.GetUnreachable()[0].GetReason())
	require.EqualValues(t, 5, count.GetUnreachable()[0].GetRecipients())
	require.NotEmpty(t, count.GetWarnings())
}

func TestCampaignsOfAnAccountThatIsUnknownAreNotAnEmptyList(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	f.newCampaign(t, s, 1, "hello")
	list := func(account string) (*senderv1.ListCampaignsResponse, error) {
		return s.Campaigns().ListCampaigns(t.Context(), &senderv1.ListCampaignsRequest{Account: account})
	}
	found, err := list("shop")
	require.NoError(t, err)
	require.Len(t, found.GetCampaigns(), 1)
	_, err = list("shopp")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.ErrorContains(t, err, `"shopp"`)
}

func TestNothingStartsThatWasNotCounted(t *testing.T) {
	f := setUp(t)
	s := f.replica(t, "a")
	c := f.newCampaign(t, s, 3, "hello")
	_, err := c.api.StartCampaign(t.Context(), &senderv1.StartCampaignRequest{Account: "shop", Id: "spring", ExpectedRecipients: 3})
	require.Equal(t, fault.Refused, fault.KindOf(err))
	c.count(t)
	_, err = c.api.StartCampaign(t.Context(), &senderv1.StartCampaignRequest{Account: "shop", Id: "spring", ExpectedRecipients: 4})
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	require.ErrorContains(t, err, "3 were counted")
}

func TestACanaryThatFailsStopsTheCampaign(t *testing.T) {
	f := setUp(t)
	f.openWindows(t, "shop", 100)
	s := f.replica(t, "a")
	c := f.newCampaign(t, s, 100, "hello")
	sample := c.first(t, 10)
	f.wechat.answer(func(c call, _ int) answer {
		if c.OpenID == sample[3] || c.OpenID == sample[7] {
			return answer{errcode: 40008}
		}
		return answer{}
	})
	c.start(t, func(r *senderv1.StartCampaignRequest) {
		r.Canary = &senderv1.Canary{Size: &senderv1.Canary_Percent{Percent: 10}}
		r.MaxFailurePercent = 15
		r.MinResults = 10
	})
	rec := c.becomes(t, paused)
	require.Contains(t, rec.GetReason(), "2 of 10 results are failures")
	require.ElementsMatch(t, sample, f.wechat.openids(), "only the canary")
	require.NotElementsMatch(t, sample, first(10), "which is not the beginning of the list")
	require.EqualValues(t, 40008, rec.GetProgress().GetFailures()[0].GetErrcode())
	require.NotEmpty(t, rec.GetProgress().GetFailures()[0].GetAdvice())

	// Somebody looked and goes on: the rest is judged by its own results.
	f.wechat.answer(nil)
	_, err := c.api.ResumeCampaign(t.Context(), &senderv1.ResumeCampaignRequest{Account: "shop", Id: "spring", Actor: "li"})
	require.NoError(t, err)
	rec = c.becomes(t, finished)
	c.once(t)
	require.EqualValues(t, 98, rec.GetProgress().GetSent())
	require.EqualValues(t, 2, rec.GetProgress().GetFailed())
}

func TestStepsWaitForSomebodyToConfirm(t *testing.T) {
	f := setUp(t)
	f.openWindows(t, "shop", 30)
	s := f.replica(t, "a")
	c := f.newCampaign(t, s, 30, "hello")
	c.start(t, func(r *senderv1.StartCampaignRequest) {
		r.Canary = &senderv1.Canary{Size: &senderv1.Canary_Count{Count: 3}, Confirm: true}
		r.Ramp = []*senderv1.RampStep{{Percent: 50, HoldMs: 50}}
	})
	rec := c.becomes(t, paused)
	require.Contains(t, rec.GetReason(), "step 1 is done")
	require.Len(t, f.wechat.seen(), 3)
	_, err := c.api.ResumeCampaign(t.Context(), &senderv1.ResumeCampaignRequest{Account: "shop", Id: "spring"})
	require.NoError(t, err)
	c.becomes(t, finished)
	c.once(t)
}

func TestPauseResumeAndCancel(t *testing.T) {
	f := setUp(t)
	f.openWindows(t, "shop", 400)
	f.cfg.Pace.Rate, f.cfg.Pace.Burst = 50, 1
	f.cfg.Campaign.Window = 8
	s := f.replica(t, "a")
	c := f.newCampaign(t, s, 400, "hello")
	c.start(t, nil)
	require.Eventually(t, func() bool { return len(f.wechat.seen()) > 5 }, 30*time.Second, 5*time.Millisecond)
	_, err := c.api.PauseCampaign(t.Context(), &senderv1.PauseCampaignRequest{Account: "shop", Id: "spring", Actor: "li"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return c.get(t).GetProgress().GetInFlight() == 0 && f.queued(t) == 0 }, 30*time.Second, 10*time.Millisecond)
	before := len(f.wechat.seen())
	require.Less(t, before, 60)
	_, err = c.api.PauseCampaign(t.Context(), &senderv1.PauseCampaignRequest{Account: "shop", Id: "spring"})
	require.NoError(t, err, "a repetition changes nothing")

	_, err = c.api.ResumeCampaign(t.Context(), &senderv1.ResumeCampaignRequest{Account: "shop", Id: "spring"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(f.wechat.seen()) > before }, 30*time.Second, 5*time.Millisecond)
	_, err = c.api.CancelCampaign(t.Context(), &senderv1.CancelCampaignRequest{Account: "shop", Id: "spring", Actor: "li"})
	require.NoError(t, err)
	p := c.becomes(t, cancelled).GetProgress()
	require.EqualValues(t, len(f.wechat.seen()), p.GetSent())
	require.EqualValues(t, 400, p.GetSent()+p.GetSkipped())
	_, err = c.api.ResumeCampaign(t.Context(), &senderv1.ResumeCampaignRequest{Account: "shop", Id: "spring"})
	require.Equal(t, fault.Refused, fault.KindOf(err))
	require.ErrorContains(t, err, "cancelled")
}

func TestOnlyTheFailuresAreReplayedAndCountedFirst(t *testing.T) {
	f := setUp(t)
	f.openWindows(t, "shop", 60)
	f.wechat.answer(func(c call, _ int) answer {
		switch {
		case strings.HasSuffix(c.OpenID, "1"):
			return answer{errcode: 45047}
		case strings.HasSuffix(c.OpenID, "2"):
			return answer{errcode: 43004}
		case strings.HasSuffix(c.OpenID, "3"):
			return answer{reset: true}
		}
		return answer{}
	})
	s := f.replica(t, "a")
	c := f.newCampaign(t, s, 60, "hello")
	c.start(t, nil)
	rec := c.becomes(t, finished)
	require.EqualValues(t, 42, rec.GetProgress().GetSent())
	require.EqualValues(t, 6, rec.GetProgress().GetAmbiguous())

	count, err := c.api.CountReplay(t.Context(), &senderv1.CountReplayRequest{Account: "shop", Id: "spring", Errcodes: []int32{45047}})
	require.NoError(t, err)
	require.EqualValues(t, 6, count.GetCount())
	require.EqualValues(t, 6, count.GetAmbiguous())
	_, err = c.api.ReplayFailures(t.Context(), &senderv1.ReplayFailuresRequest{Account: "shop", Id: "spring", Errcodes: []int32{45047}, ExpectedCount: 5})
	require.Equal(t, fault.Conflict, fault.KindOf(err), "the count must be confirmed")

	f.wechat.answer(nil)
	f.openWindows(t, "shop", 60)
	before := len(f.wechat.seen())
	_, err = c.api.ReplayFailures(t.Context(), &senderv1.ReplayFailuresRequest{Account: "shop", Id: "spring", Errcodes: []int32{45047}, ExpectedCount: 6, Actor: "li"})
	require.NoError(t, err)
	rec = c.becomes(t, finished)
	again := f.wechat.seen()[before:]
	require.Len(t, again, 6)
	for _, call := range again {
		require.True(t, strings.HasSuffix(call.OpenID, "1"), call.OpenID)
	}
	require.EqualValues(t, 48, rec.GetProgress().GetSent())
	require.Equal(t, "li", rec.GetReplays()[0].GetActor())
	_, err = c.api.ReplayFailures(t.Context(), &senderv1.ReplayFailuresRequest{Account: "shop", Id: "spring", Errcodes: []int32{45047}, ExpectedCount: 6})
	require.Error(t, err, "nobody is left")
}

func TestAClosedWindowIsRefusedWithoutAskingWeChat(t *testing.T) {
	f := setUp(t)
	f.openWindows(t, "shop", 5)
	s := f.replica(t, "a")
	c := f.newCampaign(t, s, 8, "hello")
	c.start(t, nil)
	rec := c.becomes(t, finished)
	require.EqualValues(t, 5, rec.GetProgress().GetSent())
	require.EqualValues(t, 3, rec.GetProgress().GetRefused())
	require.Len(t, f.wechat.seen(), 5)
	list, err := c.api.ListRecipients(t.Context(), &senderv1.ListRecipientsRequest{Account: "shop", Id: "spring", Filter: &senderv1.RecipientFilter{
		States: []senderv1.RecipientState{senderv1.RecipientState_RECIPIENT_STATE_REFUSED},
	}})
	require.NoError(t, err)
	require.Len(t, list.GetRecipients(), 3)
	require.Contains(t, list.GetRecipients()[0].GetReason(), "window closed")
}

func TestAnotherReplicaTakesOver(t *testing.T) {
	f := setUp(t)
	f.openWindows(t, "shop", 300)
	f.cfg.Pace.Rate, f.cfg.Pace.Burst = 100, 1
	f.cfg.Campaign.Lease, f.cfg.Campaign.Window = 2*time.Second, 16
	a, conn := f.replicaOn(t, "a")
	c := f.newCampaign(t, a, 300, "hello")
	c.start(t, nil)
	require.Eventually(t, func() bool { return len(f.wechat.seen()) > 30 }, 30*time.Second, 5*time.Millisecond)
	// The first replica loses its connection for good, as if it had died; it cannot give its lease back.
	conn.NC().Close()
	b := f.replica(t, "b")
	c.api = b.Campaigns()
	rec := c.becomes(t, finished)
	// A message that the first replica had begun when it died is ambiguous: it may never have left, and is not sent again.
	require.GreaterOrEqual(t, c.atMostOnce(t)+int(rec.GetProgress().GetAmbiguous()), c.people)
	require.LessOrEqual(t, int(rec.GetProgress().GetAmbiguous()), f.cfg.Campaign.Window)
	require.EqualValues(t, c.people, rec.GetProgress().GetSent()+rec.GetProgress().GetAmbiguous())
	require.EqualValues(t, 2, rec.GetEpoch())
}

func TestAnOrderlyStopHandsTheCampaignOverAtOnce(t *testing.T) {
	f := setUp(t)
	f.openWindows(t, "shop", 200)
	f.cfg.Pace.Rate, f.cfg.Pace.Burst = 100, 1
	f.cfg.Campaign.Lease = time.Minute // nobody waits for that
	a := f.replica(t, "a")
	c := f.newCampaign(t, a, 200, "hello")
	c.start(t, nil)
	require.Eventually(t, func() bool { return len(f.wechat.seen()) > 20 }, 30*time.Second, 5*time.Millisecond)
	require.NoError(t, a.Stop(context.Background()))
	b := f.replica(t, "b")
	c.api = b.Campaigns()
	c.becomes(t, finished)
	c.once(t)
}

func TestAScheduledCampaignBeginsAtItsTime(t *testing.T) {
	f := setUp(t)
	f.openWindows(t, "shop", 5)
	s := f.replica(t, "a")
	c := f.newCampaign(t, s, 5, "hello")
	place, err := time.LoadLocation("Asia/Tokyo")
	require.NoError(t, err)
	at := f.clock.Now().Add(2 * time.Hour).In(place)
	c.start(t, func(r *senderv1.StartCampaignRequest) {
		r.StartAt, r.TimeZone = at.Format("2006-01-02T15:04"), "Asia/Tokyo"
	})
	require.Equal(t, at.Truncate(time.Minute).UnixMilli(), c.get(t).GetPlan().GetStartUnixMs())
	require.Equal(t, senderv1.CampaignState_CAMPAIGN_STATE_SCHEDULED, c.get(t).GetState())
	f.clock.advance(3 * time.Hour)
	c.becomes(t, finished)
	c.once(t)
}

func TestTimesThatNobodyCanMean(t *testing.T) {
	f := setUp(t)
	f.clock.freeze(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	s := f.replica(t, "a")
	c := f.newCampaign(t, s, 5, "hello")
	c.count(t)
	for at, want := range map[string]string{
		"2026-10-25T02:30": "twice", "2026-09-30T10:00": "over", "2027-10-01T00:00": "60 days", "tomorrow": "must look like",
	} {
		_, err := c.api.StartCampaign(t.Context(), &senderv1.StartCampaignRequest{Account: "shop", Id: "spring", ExpectedRecipients: 5, StartAt: at, TimeZone: "Europe/Berlin"})
		require.Equal(t, fault.Invalid, fault.KindOf(err), at)
		require.ErrorContains(t, err, want)
	}
	f.clock.freeze(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	_, err := c.api.StartCampaign(t.Context(), &senderv1.StartCampaignRequest{Account: "shop", Id: "spring", ExpectedRecipients: 5, StartAt: "2026-03-29T02:30", TimeZone: "Europe/Berlin"})
	require.ErrorContains(t, err, "does not exist")
	_, err = c.api.StartCampaign(t.Context(), &senderv1.StartCampaignRequest{Account: "shop", Id: "spring", ExpectedRecipients: 5, TimeZone: "Mars"})
	require.ErrorContains(t, err, "not known")
}

// exported collects an export.
type exported struct {
	grpc.ServerStream
	ctx  context.Context
	data strings.Builder
}

func (e *exported) Context() context.Context { return e.ctx }

func (e *exported) Send(r *senderv1.ExportRecipientsResponse) error {
	e.data.Write(r.GetData())
	return nil
}

func TestAnExportIsAFileThatCanBeUploadedAgain(t *testing.T) {
	f := setUp(t)
	f.openWindows(t, "shop", 3)
	s := f.replica(t, "a")
	c := f.newCampaign(t, s, 5, "hello {{name}}")
	c.start(t, nil)
	c.becomes(t, finished)
	out := &exported{ctx: t.Context()}
	require.NoError(t, c.api.ExportRecipients(&senderv1.ExportRecipientsRequest{Account: "shop", Id: "spring", Filter: &senderv1.RecipientFilter{
		States: []senderv1.RecipientState{senderv1.RecipientState_RECIPIENT_STATE_REFUSED},
	}}, out))
	require.Equal(t, 3, strings.Count(out.data.String(), "\n"))
	_, err := c.api.CreateCampaign(t.Context(), &senderv1.CreateCampaignRequest{Account: "shop", Id: "second", Name: "x", Message: &senderv1.CampaignMessage{Content: text("hello {{name}}")}})
	require.NoError(t, err)
	up := &uploaded{ctx: t.Context(), id: "second", rest: out.data.String()}
	require.NoError(t, c.api.UploadAudience(up))
	require.EqualValues(t, 2, up.resp.GetCampaign().GetAudience().GetRecipients(), "%s", up.resp.GetReport())
}

// uploaded sends a file in small parts.
type uploaded struct {
	grpc.ServerStream
	ctx  context.Context
	id   string
	rest string
	resp *senderv1.UploadAudienceResponse
}

func (u *uploaded) Context() context.Context { return u.ctx }

func (u *uploaded) Recv() (*senderv1.UploadAudienceRequest, error) {
	if u.id != "" {
		req := &senderv1.UploadAudienceRequest{Account: "shop", Id: u.id}
		u.id = ""
		return req, nil
	}
	if u.rest == "" {
		return nil, io.EOF
	}
	n := min(7, len(u.rest))
	part := u.rest[:n]
	u.rest = u.rest[n:]
	return &senderv1.UploadAudienceRequest{Data: []byte(part)}, nil
}

func (u *uploaded) SendAndClose(r *senderv1.UploadAudienceResponse) error {
	u.resp = r
	return nil
}
