package campaign

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/audience"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/records"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/runner"
)

// GetCampaign implements CampaignService.
func (c *Campaigns) GetCampaign(ctx context.Context, req *senderv1.GetCampaignRequest) (*senderv1.GetCampaignResponse, error) {
	p, err := c.running()
	if err != nil {
		return nil, err
	}
	rec, err := p.records.Get(ctx, req.GetAccount(), req.GetId())
	return &senderv1.GetCampaignResponse{Campaign: rec}, err
}

// ListCampaigns implements CampaignService.
func (c *Campaigns) ListCampaigns(ctx context.Context, req *senderv1.ListCampaignsRequest) (*senderv1.ListCampaignsResponse, error) {
	p, err := c.running()
	if err != nil {
		return nil, err
	}
	size, err := pageSize(req.GetPageSize(), 50, 200)
	if err != nil {
		return nil, err
	}
	all, err := p.records.List(ctx, req.GetAccount())
	if err != nil {
		return nil, err
	}
	// An account that is gone keeps its campaigns.
	if _, known := c.deps.Accounts.Get(req.GetAccount()); !known && req.GetAccount() != "" && len(all) == 0 {
		return nil, fault.Errorf(fault.NotFound, "account %q is not configured", req.GetAccount())
	}
	all = slices.DeleteFunc(all, func(rec *senderv1.CampaignRecord) bool {
		return len(req.GetStates()) > 0 && !slices.Contains(req.GetStates(), rec.GetState())
	})
	slices.SortFunc(all, func(a, b *senderv1.CampaignRecord) int {
		return cmp.Or(cmp.Compare(b.GetCreatedUnixMs(), a.GetCreatedUnixMs()), cmp.Compare(place(a), place(b)))
	})
	if req.GetPageToken() != "" {
		after, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
		if err != nil {
			return nil, fault.New(fault.Invalid, "page_token: is not ours")
		}
		at := slices.IndexFunc(all, func(rec *senderv1.CampaignRecord) bool { return place(rec) == string(after) })
		all = all[at+1:] // from the beginning when it is gone
	}
	resp := &senderv1.ListCampaignsResponse{}
	if len(all) > size {
		all = all[:size]
		resp.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(place(all[size-1])))
	}
	for _, rec := range all {
		resp.Campaigns = append(resp.Campaigns, small(rec))
	}
	return resp, nil
}

func place(rec *senderv1.CampaignRecord) string { return rec.GetAccount() + "." + rec.GetId() }

// small is a record without its message and history.
func small(rec *senderv1.CampaignRecord) *senderv1.CampaignRecord {
	out := proto.CloneOf(rec)
	out.Message, out.History = nil, nil
	return out
}

func pageSize(asked uint32, usual, most int) (int, error) {
	if asked == 0 {
		return usual, nil
	}
	if int(asked) > most {
		return 0, fault.Errorf(fault.Invalid, "page_size: must be at most %d", most)
	}
	return int(asked), nil
}

// ListRecipients implements CampaignService.
func (c *Campaigns) ListRecipients(ctx context.Context, req *senderv1.ListRecipientsRequest) (*senderv1.ListRecipientsResponse, error) {
	size, err := pageSize(req.GetPageSize(), 100, 1000)
	if err != nil {
		return nil, err
	}
	from := uint64(0)
	if req.GetPageToken() != "" {
		if from, err = strconv.ParseUint(req.GetPageToken(), 10, 32); err != nil {
			return nil, fault.New(fault.Invalid, "page_token: is not ours")
		}
	}
	resp := &senderv1.ListRecipientsResponse{}
	err = c.recipients(ctx, req.GetAccount(), req.GetId(), req.GetFilter(), uint32(from), func(_ *senderv1.CampaignRecord, r *senderv1.Recipient) error {
		if len(resp.Recipients) == size {
			resp.NextPageToken = strconv.FormatUint(uint64(r.GetNumber()), 10)
			return errEnough
		}
		resp.Recipients = append(resp.Recipients, r)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return resp, err
}

var errEnough = errors.New("enough")

// recipients calls each for every recipient that the filter selects, in the order in which they are sent to, from a number on.
func (c *Campaigns) recipients(ctx context.Context, account, id string, filter *senderv1.RecipientFilter, from uint32, each func(*senderv1.CampaignRecord, *senderv1.Recipient) error) error {
	p, err := c.running()
	if err != nil {
		return err
	}
	rec, err := p.records.Get(ctx, account, id)
	if err != nil || rec.GetAudience() == nil {
		return err
	}
	a := rec.GetAudience()
	first, _ := audience.Place(a, from)
	for n := first; n < a.GetChunks(); n++ {
		chunk, err := p.ledger.Load(ctx, account, id, n, audience.SizeOf(a, n))
		if err != nil {
			return err
		}
		if filter.GetOpenid() == "" && !selects(filter, chunk) {
			continue
		}
		people, err := p.audience.Chunk(ctx, account, id, a.GetRevision(), n)
		if err != nil {
			return err
		}
		for i := range min(chunk.Len(), len(people)) {
			number := audience.Number(a, n, i)
			if number < from || !match(filter, chunk.Entry(i), people[i].GetOpenid()) {
				continue
			}
			if err := each(rec, p.recipient(rec, number, chunk, i, people[i])); err != nil {
				return err
			}
		}
	}
	return nil
}

func selects(filter *senderv1.RecipientFilter, chunk *ledger.Chunk) bool {
	for i := range chunk.Len() {
		if match(filter, chunk.Entry(i), "") {
			return true
		}
	}
	return false
}

func match(filter *senderv1.RecipientFilter, e *senderv1.LedgerEntry, openid string) bool {
	return (len(filter.GetStates()) == 0 || slices.Contains(filter.GetStates(), e.GetState())) &&
		(len(filter.GetErrcodes()) == 0 || slices.Contains(filter.GetErrcodes(), e.GetErrcode())) &&
		(filter.GetOpenid() == "" || filter.GetOpenid() == openid)
}

func (p *parts) recipient(rec *senderv1.CampaignRecord, number uint32, chunk *ledger.Chunk, i int, to *senderv1.AudienceRecipient) *senderv1.Recipient {
	e := chunk.Entry(i)
	out := &senderv1.Recipient{
		Number: number, Openid: to.GetOpenid(), State: e.GetState(), Errcode: e.GetErrcode(), Reason: chunk.Reason(i), Attempts: e.GetAttempts(),
		Round: e.GetRound(), AtUnixMs: e.GetAtUnixMs(), Values: to.GetValues(), MsgId: e.GetMsgId(), Line: to.GetLine(),
	}
	if e.GetState() != ledger.Pending && e.GetState() != ledger.Skipped {
		out.SendId = p.sender.ID(rec.GetAccount(), runner.Key(rec.GetId(), number, e.GetRound()))
	}
	return out
}

// WatchCampaign implements CampaignService.
func (c *Campaigns) WatchCampaign(req *senderv1.WatchCampaignRequest, stream grpc.ServerStreamingServer[senderv1.WatchCampaignResponse]) error {
	p, err := c.running()
	if err != nil {
		return err
	}
	key, err := topology.RecordKey(req.GetAccount(), req.GetId())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	w, err := p.kv.Watch(ctx, key)
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("watch campaign: %w", err))
	}
	first := true
	for entry := range w.Updates() {
		switch {
		case entry == nil && first, entry != nil && entry.Operation() != jetstream.KeyValuePut:
			return records.ErrNotFound
		case entry == nil:
			continue
		}
		rec, err := records.Decode(entry)
		if err != nil {
			return err
		}
		told := rec.Rec
		if !first {
			told = small(told)
		}
		first = false
		if err := stream.Send(&senderv1.WatchCampaignResponse{Campaign: told}); err != nil {
			return err
		}
		if s := told.GetState(); s == campaignstate.Finished || s == campaignstate.Cancelled {
			return nil
		}
	}
	if err := context.Cause(stream.Context()); err != nil {
		return err
	}
	return fault.New(fault.Unavailable, "watch campaign: ended")
}

// exportPart is how many bytes of an export go into one answer.
const exportPart = 64 << 10

// ExportRecipients implements CampaignService.
func (c *Campaigns) ExportRecipients(req *senderv1.ExportRecipientsRequest, stream grpc.ServerStreamingServer[senderv1.ExportRecipientsResponse]) error {
	var buffer strings.Builder
	buffer.WriteString("\xef\xbb\xbf") // so that spreadsheets read it as UTF-8
	w := csv.NewWriter(&buffer)
	header := []string{"openid", "state", "errcode", "reason", "attempts", "round", "at", "send_id", "msg_id", "line"}
	named := false
	flush := func(least int) error {
		w.Flush()
		if buffer.Len() < least {
			return nil
		}
		part := buffer.String()
		buffer.Reset()
		return stream.Send(&senderv1.ExportRecipientsResponse{Data: []byte(part)})
	}
	err := c.recipients(stream.Context(), req.GetAccount(), req.GetId(), req.GetFilter(), 0, func(rec *senderv1.CampaignRecord, r *senderv1.Recipient) error {
		if !named {
			named = true
			if err := w.Write(append(header, rec.GetAudience().GetVariables()...)); err != nil {
				return err
			}
		}
		if err := w.Write(append(columns(r), r.GetValues()...)); err != nil {
			return err
		}
		return flush(exportPart)
	})
	if err != nil {
		return err
	}
	if !named {
		if err := w.Write(header); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return flush(1)
}

func columns(r *senderv1.Recipient) []string {
	at := ""
	if r.GetAtUnixMs() > 0 {
		at = time.UnixMilli(r.GetAtUnixMs()).UTC().Format(time.RFC3339)
	}
	msg := ""
	if r.GetMsgId() > 0 {
		msg = strconv.FormatInt(r.GetMsgId(), 10)
	}
	return []string{
		r.GetOpenid(), recipientWord(r.GetState()), strconv.Itoa(int(r.GetErrcode())), r.GetReason(), strconv.Itoa(int(r.GetAttempts())),
		strconv.Itoa(int(r.GetRound())), at, r.GetSendId(), msg, strconv.Itoa(int(r.GetLine())),
	}
}
