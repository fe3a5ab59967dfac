package token

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/token/internal/record"
	"github.com/wxbus/wxbus/services/token/internal/refresh"
)

const (
	// alarmFor is how long an outside refresh is an alarm.
	alarmFor = 24 * time.Hour
	// maxURL bounds the address of a page that is signed.
	maxURL = 2048
)

var ticketKinds = map[tokenv1.TicketKind]refresh.Kind{
	tokenv1.TicketKind_TICKET_KIND_JSAPI:   refresh.JSAPI,
	tokenv1.TicketKind_TICKET_KIND_WX_CARD: refresh.WXCard,
}

// GetTokenStatus implements AccountService.
func (a *accountServer) GetTokenStatus(_ context.Context, req *tokenv1.GetTokenStatusRequest) (*tokenv1.GetTokenStatusResponse, error) {
	p, err := a.s.running()
	if err != nil {
		return nil, err
	}
	name, now, budget := req.GetAccount(), a.s.deps.Now(), a.s.cfg.budget()
	if _, ok := a.s.deps.Accounts.Get(name); !ok {
		return nil, fault.Errorf(fault.NotFound, "account %q is not known", name)
	}
	rec := p.store.Seen(name).Rec
	out := &tokenv1.GetTokenStatusResponse{
		Token: credential(rec, now), ForcedLimit: uint32(budget.PerDay), ForcedLeft: uint32(record.ForcedLeft(rec, budget, now)),
		OutsideRefreshes: rec.GetOutsideRefreshes(),
	}
	if at := record.ForceAt(rec, budget, now); at.After(now) {
		out.NextForcedAt = timestamppb.New(at)
	}
	for _, e := range rec.GetOutside() {
		out.Outside = append(out.Outside, &tokenv1.OutsideRefresh{
			Generation: e.GetGeneration(), FetchedAt: unixMilli(e.GetFetchedUnixMs()), DiedAt: unixMilli(e.GetDiedUnixMs()),
			Remaining: durationpb.New(time.Duration(e.GetRemainingMs()) * time.Millisecond),
			Errcode:   e.GetErrcode(), Replaced: e.GetReplaced(),
		})
	}
	if latest := rec.GetOutside(); len(latest) > 0 {
		out.OutsideAlarm = now.Sub(time.UnixMilli(latest[0].GetDiedUnixMs())) < alarmFor
	}
	out.Alarms = alarmsOf(rec, now)
	for _, kind := range []tokenv1.TicketKind{tokenv1.TicketKind_TICKET_KIND_JSAPI, tokenv1.TicketKind_TICKET_KIND_WX_CARD} {
		if rec := p.store.Seen(refresh.Key(name, ticketKinds[kind])).Rec; rec != nil {
			out.Tickets = append(out.Tickets, &tokenv1.TicketStatus{Kind: kind, Status: credential(rec, now)})
		}
	}
	if ips, ok := p.origins.Known(name); ok {
		out.CallbackIpsFetchedAt = unixMilli(ips.GetFetchedUnixMs())
	}
	return out, nil
}

// alarmsOf returns the troubles that go on, the newest first.
func alarmsOf(rec *tokenv1.TokenRecord, now time.Time) []*tokenv1.AccountAlarm {
	var out []*tokenv1.AccountAlarm
	for _, a := range rec.GetAlarms() {
		if record.Going(a, now) {
			out = append(out, &tokenv1.AccountAlarm{
				Kind: a.GetKind(), FirstSeenAt: unixMilli(a.GetFirstSeenUnixMs()), LastSeenAt: unixMilli(a.GetLastSeenUnixMs()),
				Count: a.GetCount(), Errcode: a.GetErrcode(), Detail: a.GetDetail(),
			})
		}
	}
	slices.SortStableFunc(out, func(a, b *tokenv1.AccountAlarm) int {
		return b.GetLastSeenAt().AsTime().Compare(a.GetLastSeenAt().AsTime())
	})
	return out
}

func credential(rec *tokenv1.TokenRecord, now time.Time) *tokenv1.CredentialStatus {
	return &tokenv1.CredentialStatus{
		Generation: rec.GetToken().GetGeneration(), FetchedAt: unixMilli(rec.GetRefreshedUnixMs()), ExpiresAt: unixMilli(rec.GetToken().GetExpiresUnixMs()),
		RefreshesToday: uint32(len(record.Today(rec, now))), LastError: rec.GetLastError(),
		Refreshing: record.Leased(rec, "", now) > 0,
	}
}

func unixMilli(ms int64) *timestamppb.Timestamp {
	if ms == 0 {
		return nil
	}
	return timestamppb.New(time.UnixMilli(ms))
}

// GetTicket implements AccountService.
func (a *accountServer) GetTicket(ctx context.Context, req *tokenv1.GetTicketRequest) (*tokenv1.GetTicketResponse, error) {
	kind, ok := ticketKinds[req.GetKind()]
	if !ok {
		return nil, fault.New(fault.Invalid, "kind: must be jsapi or wx_card")
	}
	p, err := a.s.running()
	if err != nil {
		return nil, err
	}
	var t *tokenv1.AccessToken
	if req.GetBadGeneration() > 0 {
		t, err = p.refresher.Bad(ctx, req.GetAccount(), kind, req.GetBadGeneration(), 0)
	} else {
		t, err = p.refresher.Get(ctx, req.GetAccount(), kind)
	}
	if err != nil {
		return nil, err
	}
	return &tokenv1.GetTicketResponse{
		Ticket: t.GetValue(), Generation: t.GetGeneration(), ExpiresUnixMs: t.GetExpiresUnixMs(), ValidForMs: a.s.validFor(t),
	}, nil
}

// SignJSAPI implements AccountService.
func (a *accountServer) SignJSAPI(ctx context.Context, req *tokenv1.SignJSAPIRequest) (*tokenv1.SignJSAPIResponse, error) {
	page, err := signable(req.GetUrl())
	if err != nil {
		return nil, err
	}
	p, err := a.s.running()
	if err != nil {
		return nil, err
	}
	ticket, err := p.refresher.Get(ctx, req.GetAccount(), refresh.JSAPI)
	if err != nil {
		return nil, err
	}
	account, _ := a.s.deps.Accounts.Get(req.GetAccount())
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	out := &tokenv1.SignJSAPIResponse{
		Appid: account.AppID, NonceStr: hex.EncodeToString(random[:]), Timestamp: a.s.deps.Now().Unix(), Url: page,
	}
	out.Signature = wechat.SignJSSDK(ticket.GetValue(), out.NonceStr, strconv.FormatInt(out.Timestamp, 10), page)
	return out, nil
}

// signable returns the address of a page without its fragment, byte for byte as the browser has it.
func signable(page string) (string, error) {
	u, err := url.Parse(page)
	if err != nil || len(page) > maxURL || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", fault.Errorf(fault.Invalid, "url: must be the http or https address of a page, at most %d bytes", maxURL)
	}
	page, _, _ = strings.Cut(page, "#")
	return page, nil
}

// GetCallbackIPs implements AccountService.
func (a *accountServer) GetCallbackIPs(ctx context.Context, req *tokenv1.GetCallbackIPsRequest) (*tokenv1.GetCallbackIPsResponse, error) {
	p, err := a.s.running()
	if err != nil {
		return nil, err
	}
	if _, ok := a.s.deps.Accounts.Get(req.GetAccount()); !ok {
		return nil, fault.Errorf(fault.NotFound, "account %q is not known", req.GetAccount())
	}
	ips, err := p.origins.Get(ctx, req.GetAccount(), req.GetRefresh())
	if err != nil {
		return nil, err
	}
	out := &tokenv1.GetCallbackIPsResponse{Prefixes: ips.GetPrefixes(), FetchedAt: unixMilli(ips.GetFetchedUnixMs())}
	for _, seen := range p.witness.Ask(ctx, req.GetAccount()) {
		for _, o := range seen.GetOutside() {
			out.Outside = append(out.Outside, &tokenv1.OutsidePushes{Address: o.GetAddress(), Count: o.GetCount(), LastAt: unixMilli(o.GetLastUnixMs())})
		}
	}
	return out, nil
}
