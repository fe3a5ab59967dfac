package campaign

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/audience"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/campaignstate"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/message"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/records"
)

const (
	maxID, maxName, maxActor, maxReason = 40, 100, 100, 200
	maxList                             = 100_000
	maxCSV                              = 32 << 20
)

// CreateCampaign implements CampaignService.
func (c *Campaigns) CreateCampaign(ctx context.Context, req *senderv1.CreateCampaignRequest) (*senderv1.CreateCampaignResponse, error) {
	p, err := c.running()
	if err != nil {
		return nil, err
	}
	if err := c.checkCreate(req); err != nil {
		return nil, err
	}
	id := req.GetId()
	if id == "" {
		id = newID()
	}
	now := c.deps.Now().UnixMilli()
	rec := &senderv1.CampaignRecord{
		Id: id, Account: req.GetAccount(), Name: req.GetName(), State: campaignstate.Draft, Message: req.GetMessage(),
		CreatedUnixMs: now, CreatedBy: req.GetActor(), UpdatedUnixMs: now,
	}
	err = p.records.Create(ctx, rec)
	if !errors.Is(err, records.ErrExists) {
		return &senderv1.CreateCampaignResponse{Campaign: rec}, err
	}
	old, err := p.records.Get(ctx, rec.GetAccount(), id)
	if err != nil {
		return nil, err
	}
	if !proto.Equal(old.GetMessage(), rec.GetMessage()) || old.GetName() != rec.GetName() {
		return nil, status.Error(codes.AlreadyExists, "id: is taken by another campaign")
	}
	return &senderv1.CreateCampaignResponse{Campaign: old}, nil
}

// newID is short enough to be typed.
func newID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails
	return "c-" + hex.EncodeToString(b[:])
}

func (c *Campaigns) checkCreate(req *senderv1.CreateCampaignRequest) error {
	if _, ok := c.deps.Accounts.Get(req.GetAccount()); !ok {
		return fault.Errorf(fault.NotFound, "account %q is not configured", req.GetAccount())
	}
	if id := req.GetId(); id != "" {
		if err := checkID(id); err != nil {
			return err
		}
	}
	if err := checkText("name", req.GetName(), maxName); err != nil {
		return err
	}
	if err := checkText("actor", req.GetActor(), maxActor); err != nil {
		return err
	}
	names, err := message.Variables(req.GetMessage())
	if err != nil {
		return err
	}
	// Whether the message is right shows with values; any will do for its shape.
	values := make([]string, len(names))
	for i := range values {
		values[i] = "1"
	}
	return c.deps.Sender.Check(probe(req.GetAccount(), "oProbe", message.Fill(req.GetMessage(), names, values)))
}

// probe is a message as it would be sent, to be checked.
func probe(account, openid string, m *senderv1.CampaignMessage) *senderv1.SendRequest {
	return &senderv1.SendRequest{
		Account: account, Openid: openid, IdempotencyKey: "probe", Lane: senderv1.Lane_LANE_CAMPAIGN,
		Content: m.GetContent(), KfAccount: m.GetKfAccount(), Fallback: m.GetFallback(),
	}
}

func checkID(id string) error {
	if len(id) > maxID {
		return fault.Errorf(fault.Invalid, "id: must have at most %d characters", maxID)
	}
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fault.New(fault.Invalid, "id: may hold a-z, 0-9 and -")
		}
	}
	return nil
}

func checkText(field, s string, most int) error {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > most {
		return fault.Errorf(fault.Invalid, "%s: must be at most %d characters", field, most)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fault.Errorf(fault.Invalid, "%s: may hold printable characters only", field)
		}
	}
	return nil
}

// UploadAudience implements CampaignService.
func (c *Campaigns) UploadAudience(stream grpc.ClientStreamingServer[senderv1.UploadAudienceRequest, senderv1.UploadAudienceResponse]) error {
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "account: the first message names the campaign")
	}
	if err != nil {
		return err
	}
	in := &upload{stream: stream, rest: first.GetData()}
	rec, report, err := c.freeze(stream.Context(), first.GetAccount(), first.GetId(), first.GetStrict(), func(p *parts, ac audience.Campaign) (*senderv1.CampaignAudience, *audience.Report, error) {
		return p.audience.FreezeCSV(stream.Context(), ac, in)
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&senderv1.UploadAudienceResponse{Campaign: rec, Report: report})
}

// upload is the file that comes in parts.
type upload struct {
	stream grpc.ClientStreamingServer[senderv1.UploadAudienceRequest, senderv1.UploadAudienceResponse]
	rest   []byte
}

// Read implements io.Reader.
func (u *upload) Read(b []byte) (int, error) {
	for len(u.rest) == 0 {
		next, err := u.stream.Recv()
		if err != nil {
			return 0, err // io.EOF ends the file
		}
		u.rest = next.GetData()
	}
	n := copy(b, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// SetAudience implements CampaignService.
func (c *Campaigns) SetAudience(ctx context.Context, req *senderv1.SetAudienceRequest) (*senderv1.SetAudienceResponse, error) {
	freeze, err := c.source(ctx, req)
	if err != nil {
		return nil, err
	}
	rec, report, err := c.freeze(ctx, req.GetAccount(), req.GetId(), req.GetStrict(), freeze)
	if err != nil {
		return nil, err
	}
	return &senderv1.SetAudienceResponse{Campaign: rec, Report: report}, nil
}

type freezing func(p *parts, ac audience.Campaign) (*senderv1.CampaignAudience, *audience.Report, error)

func (c *Campaigns) source(ctx context.Context, req *senderv1.SetAudienceRequest) (freezing, error) {
	switch source := req.GetSource().(type) {
	case *senderv1.SetAudienceRequest_List:
		if len(source.List.GetOpenids()) > maxList {
			return nil, fault.Errorf(fault.Invalid, "list: has more than %d openids; upload a CSV file", maxList)
		}
		return func(p *parts, ac audience.Campaign) (*senderv1.CampaignAudience, *audience.Report, error) {
			return p.audience.FreezeList(ctx, ac, "list", once(source.List.GetOpenids()))
		}, nil
	case *senderv1.SetAudienceRequest_TagId:
		return func(p *parts, ac audience.Campaign) (*senderv1.CampaignAudience, *audience.Report, error) {
			return p.audience.FreezeList(ctx, ac, "tag "+strconv.FormatInt(source.TagId, 10), c.tagged(ctx, ac.Account, source.TagId))
		}, nil
	case *senderv1.SetAudienceRequest_Csv:
		if len(source.Csv) > maxCSV {
			return nil, fault.Errorf(fault.Invalid, "csv: has more than %d bytes; use UploadAudience", maxCSV)
		}
		return func(p *parts, ac audience.Campaign) (*senderv1.CampaignAudience, *audience.Report, error) {
			return p.audience.FreezeCSV(ctx, ac, bytesReader(source.Csv))
		}, nil
	default:
		return nil, fault.New(fault.Invalid, "source: set list, tag_id or csv")
	}
}

// once returns a list as its only page.
func once(list []string) func() ([]string, error) {
	return func() ([]string, error) {
		page := list
		list = nil
		if len(page) == 0 {
			return nil, io.EOF
		}
		return page, nil
	}
}

// tagged returns the fans of a tag, page by page.
func (c *Campaigns) tagged(ctx context.Context, account string, tag int64) func() ([]string, error) {
	after, done := "", false
	return func() ([]string, error) {
		if done {
			return nil, io.EOF
		}
		page, next, err := c.deps.Tags.Fans(ctx, account, tag, after)
		if err != nil {
			return nil, err
		}
		done = next == "" || next == after || len(page) == 0
		after = next
		return page, nil
	}
}

// freeze freezes an audience, makes it that of the campaign, and lets the one before go.
func (c *Campaigns) freeze(ctx context.Context, account, id string, strict bool, freeze freezing) (*senderv1.CampaignRecord, *senderv1.AudienceReport, error) {
	p, err := c.running()
	if err != nil {
		return nil, nil, err
	}
	rec, err := p.records.Get(ctx, account, id)
	if err != nil {
		return nil, nil, err
	}
	if rec.GetState() != campaignstate.Draft && rec.GetState() != campaignstate.Counted {
		return nil, nil, notAllowed(rec, campaignstate.ErrNotAllowed)
	}
	names, err := message.Variables(rec.GetMessage())
	if err != nil {
		return nil, nil, err
	}
	frozen, report, err := freeze(p, audience.Campaign{Account: account, ID: id, Variables: names, Strict: strict})
	if err != nil {
		return nil, nil, err
	}
	if frozen == nil {
		return rec, report.Proto(false), nil
	}
	next, err := p.records.Change(ctx, account, id, campaignstate.Freeze{Audience: frozen})
	if err != nil {
		return nil, nil, errors.Join(notAllowed(rec, err), p.audience.Drop(context.WithoutCancel(ctx), account, id, frozen.GetRevision()))
	}
	if old := rec.GetAudience().GetRevision(); old != "" {
		// What cannot be dropped now is forgotten with its age.
		if err := p.audience.Drop(ctx, account, id, old); err != nil {
			c.deps.Log.WarnContext(ctx, "old audience not dropped", "error", err)
		}
	}
	return next.Rec, report.Proto(true), nil
}

// notAllowed adds the state to a refusal.
func notAllowed(rec *senderv1.CampaignRecord, err error) error {
	if errors.Is(err, campaignstate.ErrNotAllowed) {
		return fault.Errorf(fault.Refused, "%w: it is %s", err, word(rec.GetState()))
	}
	return err
}
