package grpcapi

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

const (
	maxSpan = 93 * 24 * time.Hour
	maxRows = 20_000
	// bom lets spreadsheets read the file as UTF-8.
	bom = "\xEF\xBB\xBF"
)

// Reports implements ReportService.
type Reports struct {
	agentroutingv1.UnimplementedReportServiceServer

	desk  *app.Desk
	check checker
}

// NewReports returns a server.
func NewReports(desk *app.Desk, accounts *account.Directory) *Reports {
	return &Reports{desk: desk, check: checker{accounts}}
}

type span struct {
	from, to time.Time
	zone     *time.Location
}

func (s *Reports) span(f *agentroutingv1.ReportFilter) (span, error) {
	if err := s.check.anyAccount(f.GetAccount()); err != nil {
		return span{}, err
	}
	out := span{from: wire.Time(f.GetFromUnixMs()), to: wire.Time(f.GetToUnixMs()), zone: domain.LocationOf(f.GetTimeZone())}
	if f.GetTimeZone() != "" {
		if _, err := time.LoadLocation(f.GetTimeZone()); err != nil {
			return span{}, fault.New(fault.Invalid, "filter.time_zone: is unknown")
		}
	}
	if out.from.IsZero() || !out.from.Before(out.to) || out.to.Sub(out.from) > maxSpan {
		return span{}, fault.New(fault.Invalid, "filter.to_unix_ms: must be after from_unix_ms, by at most 93 days")
	}
	return out, nil
}

// GetReport returns the measures of a span.
func (s *Reports) GetReport(ctx context.Context, in *agentroutingv1.GetReportRequest) (*agentroutingv1.GetReportResponse, error) {
	at, err := s.span(in.GetFilter())
	if err != nil {
		return nil, err
	}
	by := domain.By(in.GetBy())
	switch {
	case by == 0:
		by = domain.ByDay
	case by > domain.ByTotal:
		return nil, fault.New(fault.Invalid, "by: is unknown")
	}
	rows, total := domain.NewReport(by, at.from, at.to, at.zone), domain.NewReport(domain.ByTotal, at.from, at.to, at.zone)
	for _, r := range []*domain.Report{rows, total} {
		r.Group, r.Agent = in.GetFilter().GetGroup(), in.GetFilter().GetAgent()
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	err = q.EachEntry(ctx, at.from, at.to, in.GetFilter().GetAccount(), func(e domain.Entry) {
		rows.Fold(e)
		total.Fold(e)
	})
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.GetReportResponse{Total: &agentroutingv1.ReportRow{Key: "total"}}
	for _, m := range rows.Rows() {
		out.Rows = append(out.Rows, reportRow(m))
	}
	for _, m := range total.Rows() {
		out.Total = reportRow(m)
	}
	return out, nil
}

// GetOwnReport returns one agent's measures of a span.
func (s *Reports) GetOwnReport(ctx context.Context, in *agentroutingv1.GetOwnReportRequest) (*agentroutingv1.GetOwnReportResponse, error) {
	if err := checkAgent("agent", in.GetAgent()); err != nil {
		return nil, err
	}
	got, err := s.GetReport(ctx, &agentroutingv1.GetReportRequest{By: agentroutingv1.ReportBy_REPORT_BY_TOTAL, Filter: &agentroutingv1.ReportFilter{
		FromUnixMs: in.GetFromUnixMs(), ToUnixMs: in.GetToUnixMs(), Agent: in.GetAgent(),
	}})
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.GetOwnReportResponse{Total: got.GetTotal()}, nil
}

func reportRow(m domain.Measures) *agentroutingv1.ReportRow {
	out := &agentroutingv1.ReportRow{
		Key: m.Key, Opened: m.Opened, Served: m.Served, Closed: m.Closed, Abandoned: m.Abandoned, LeftMessages: m.LeftMessages, Transferred: m.Transferred,
		FanMessages: m.FanMessages, AgentMessages: m.AgentMessages, WaitingMs: spread(m.Waiting), FirstResponseMs: spread(m.FirstResponse),
		HandlingMs: spread(m.Handling), Backlog: m.Backlog, SurveysAnswered: m.Surveys, Offers: m.Offers, OffersMissed: m.Missed,
		FirstResponseKept: kept(m, domain.FirstResponse), NextResponseKept: kept(m, domain.NextResponse), CloseKept: kept(m, domain.InTime),
	}
	if m.Surveys > 0 {
		out.SurveyAverage = float64(m.ScoreSum) / float64(m.Surveys)
	}
	return out
}

func kept(m domain.Measures, t domain.Target) *agentroutingv1.Kept {
	out := &agentroutingv1.Kept{Kept: m.Kept[t], Broken: m.Broken[t]}
	if all := out.Kept + out.Broken; all > 0 {
		out.Percent = 100 * float64(out.Kept) / float64(all)
	}
	return out
}

func spread(spans []time.Duration) *agentroutingv1.Distribution {
	d := domain.SpreadOf(spans)
	return &agentroutingv1.Distribution{Count: d.Count, Average: d.Average, Median: d.Median, P90: d.P90, Max: d.Max}
}

// measure is one column: its name, what it counts, and its value as text.
type measure struct {
	name, zh, en string
	value        func(*agentroutingv1.ReportRow) string
}

func whole(get func(*agentroutingv1.ReportRow) int64) func(*agentroutingv1.ReportRow) string {
	return func(r *agentroutingv1.ReportRow) string { return strconv.FormatInt(get(r), 10) }
}

func spans(get func(*agentroutingv1.ReportRow) *agentroutingv1.Distribution) func(*agentroutingv1.ReportRow) string {
	return func(r *agentroutingv1.ReportRow) string {
		d := get(r)
		return fmt.Sprintf("%d/%d/%d", d.GetMedian(), d.GetP90(), d.GetMax())
	}
}

// share is the percentage with its two numbers; empty when nothing was promised, which is not the same as nothing kept.
func share(get func(*agentroutingv1.ReportRow) *agentroutingv1.Kept) func(*agentroutingv1.ReportRow) string {
	return func(r *agentroutingv1.ReportRow) string {
		k := get(r)
		if k.GetKept()+k.GetBroken() == 0 {
			return ""
		}
		return fmt.Sprintf("%.1f (%d:%d)", k.GetPercent(), k.GetKept(), k.GetBroken())
	}
}

var measures = []measure{
	{"opened", "新会话：时段内由规则转入人工的会话数", "Opened: conversations that the rules sent to people in the span", whole((*agentroutingv1.ReportRow).GetOpened)},
	{"served", "已接待：时段内首次被客服接起的会话数", "Served: conversations that an agent first accepted in the span", whole((*agentroutingv1.ReportRow).GetServed)},
	{"closed", "已结束：时段内结束的会话数；撤销后再次结束会再计一次", "Closed: ends of conversations in the span; one that was reopened and closed again counts twice", whole((*agentroutingv1.ReportRow).GetClosed)},
	{"abandoned", "未接待：结束时从未有客服接起的会话数", "Abandoned: conversations that ended before any agent accepted", whole((*agentroutingv1.ReportRow).GetAbandoned)},
	{"left_messages", "留言：转为留言的次数", "Left messages: how often a fan was asked to leave a message", whole((*agentroutingv1.ReportRow).GetLeftMessages)},
	{"transferred", "转接：计在转出方", "Transferred: transfers, counted for who gave away", whole((*agentroutingv1.ReportRow).GetTransferred)},
	{"fan_messages", "粉丝消息：会话中粉丝发送的消息数", "Fan messages: messages of fans within conversations", whole((*agentroutingv1.ReportRow).GetFanMessages)},
	{"agent_messages", "客服消息：客服发送的消息数，不含自动文案和备注", "Agent messages: messages of agents, without automatic texts and notes", whole((*agentroutingv1.ReportRow).GetAgentMessages)},
	{"waiting_ms", "等待时长：从转人工到首次接起（毫秒：中位数/P90/最大）", "Waiting: from the question to the first acceptance (ms: median/p90/max)", spans((*agentroutingv1.ReportRow).GetWaitingMs)},
	{"first_response_ms", "首次响应：从转人工到客服第一条消息（毫秒：中位数/P90/最大）", "First response: from the question to the first message of an agent (ms: median/p90/max)", spans((*agentroutingv1.ReportRow).GetFirstResponseMs)},
	{"handling_ms", "处理时长：每位客服从接起到结束或转出，扣除挂起（毫秒：中位数/P90/最大）", "Handling: for each agent from acceptance to the close or the hand-over, without time on hold (ms: median/p90/max)", spans((*agentroutingv1.ReportRow).GetHandlingMs)},
	{"backlog", "积压：时段（或当天）结束时仍未结束的会话数", "Backlog: conversations that were open at the end of the span or day", whole((*agentroutingv1.ReportRow).GetBacklog)},
	{"surveys_answered", "评价数：收到的评分数", "Surveys answered: scores that came back", whole((*agentroutingv1.ReportRow).GetSurveysAnswered)},
	{"survey_average", "平均评分：评分之和除以评价数", "Survey average: sum of the scores by their number", func(r *agentroutingv1.ReportRow) string {
		return strconv.FormatFloat(r.GetSurveyAverage(), 'f', 2, 64)
	}},
	{"offers", "派发：向客服发出的邀请数", "Offers: offers to agents", whole((*agentroutingv1.ReportRow).GetOffers)},
	{"offers_missed", "错过：被拒绝或超时的邀请数", "Offers missed: offers that were declined or ran out", whole((*agentroutingv1.ReportRow).GetOffersMissed)},
	{
		"first_response_kept", "首次响应达标率：在目标内由人工首次回复的会话占比；只计服务时间；超时计在到期时，发送失败的回复不算；结束前未到期也未回复的不计（百分比 (达标:超时)）",
		"First response kept: share of promised first answers that a person gave in time, in working hours; a broken one counts when it was due, an answer that failed does not count, one that ended before it was due counts as neither (percent (kept:broken))",
		share((*agentroutingv1.ReportRow).GetFirstResponseKept),
	},
	{
		"next_response_kept", "后续响应达标率：之后每次粉丝来信到人工回复在目标内的占比；连续几条消息只算一次，从第一条起计（百分比 (达标:超时)）",
		"Next response kept: share of later messages that a person answered in time; several messages in a row are one promise, from the first of them (percent (kept:broken))",
		share((*agentroutingv1.ReportRow).GetNextResponseKept),
	},
	{
		"close_kept", "结束达标率：有客服接待的会话在目标内结束的占比（百分比 (达标:超时)）",
		"Closed in time: share of conversations that ended in time, of those that an agent had or that were overdue (percent (kept:broken))",
		share((*agentroutingv1.ReportRow).GetCloseKept),
	},
}

// ListDefinitions says what each measure counts.
func (s *Reports) ListDefinitions(context.Context, *agentroutingv1.ListDefinitionsRequest) (*agentroutingv1.ListDefinitionsResponse, error) {
	out := &agentroutingv1.ListDefinitionsResponse{}
	for _, m := range measures {
		out.Definitions = append(out.Definitions, &agentroutingv1.Definition{Measure: m.name, Zh: m.zh, En: m.en})
	}
	return out, nil
}

// ExportReport returns a report as CSV.
func (s *Reports) ExportReport(ctx context.Context, in *agentroutingv1.ExportReportRequest) (*agentroutingv1.ExportReportResponse, error) {
	report, err := s.GetReport(ctx, &agentroutingv1.GetReportRequest{Filter: in.GetFilter(), By: in.GetBy()})
	if err != nil {
		return nil, err
	}
	head := []string{"key"}
	for _, m := range measures {
		head = append(head, m.name)
	}
	table := [][]string{head}
	for _, r := range append(report.GetRows(), report.GetTotal()) {
		line := []string{r.GetKey()}
		for _, m := range measures {
			line = append(line, m.value(r))
		}
		table = append(table, line)
	}
	file, err := writeCSV(table)
	return &agentroutingv1.ExportReportResponse{Csv: file}, err
}

// ExportConversations returns one row for each conversation.
func (s *Reports) ExportConversations(ctx context.Context, in *agentroutingv1.ExportConversationsRequest) (*agentroutingv1.ExportConversationsResponse, error) {
	at, err := s.span(in.GetFilter())
	if err != nil {
		return nil, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	f := store.Filter{Account: in.GetFilter().GetAccount(), Group: in.GetFilter().GetGroup(), Agent: in.GetFilter().GetAgent()}
	found, err := q.OpenedBetween(ctx, f, at.from, at.to, maxRows+1)
	if err != nil {
		return nil, err
	}
	table := [][]string{{"account", "conversation", "openid", "state", "group", "agent", "opened", "accepted", "first_reply", "closed", "reason", "score"}}
	for _, c := range found[:min(len(found), maxRows)] {
		table = append(table, []string{
			c.Account, c.ID, c.OpenID, c.State.String(), c.Group, c.Agent, moment(c.Opened, at.zone), moment(c.Accepted, at.zone),
			moment(c.FirstReply, at.zone), moment(c.ClosedAt, at.zone), c.Reason, strconv.Itoa(c.Score),
		})
	}
	file, err := writeCSV(table)
	return &agentroutingv1.ExportConversationsResponse{Csv: file, Truncated: len(found) > maxRows}, err
}

func moment(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return ""
	}
	return t.In(zone).Format("2006-01-02 15:04:05")
}

// writeCSV writes a table. A cell that a spreadsheet would run as a formula gets an apostrophe: names and reasons come from people.
func writeCSV(table [][]string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(bom)
	w := csv.NewWriter(&b)
	for _, line := range table {
		for i, cell := range line {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				line[i] = "'" + cell
			}
		}
		if err := w.Write(line); err != nil {
			return nil, fmt.Errorf("write csv: %w", err)
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}
