// Package intake accepts messages: durable before it returns, once for each idempotency key.
//
// The steps are: store the record (QUEUED), hold a message of the fan's window, queue the message. A
// caller that gets no answer calls again with the same key; whatever step was the last, the call
// finds the record and does the rest. Until then nobody was told that the message was accepted.
package intake

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sendid"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/catchup"
	"github.com/wxbus/wxbus/services/sender/internal/deliver"
	"github.com/wxbus/wxbus/services/sender/internal/endpoint"
	"github.com/wxbus/wxbus/services/sender/internal/facts"
	"github.com/wxbus/wxbus/services/sender/internal/grants"
	"github.com/wxbus/wxbus/services/sender/internal/later"
	"github.com/wxbus/wxbus/services/sender/internal/mass"
	"github.com/wxbus/wxbus/services/sender/internal/owners"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
	"github.com/wxbus/wxbus/services/sender/internal/sends"
	"github.com/wxbus/wxbus/services/sender/internal/sendstate"
	"github.com/wxbus/wxbus/services/sender/internal/windows"
)

// reasonOwner is why a message is refused that was composed under an older owner.
const reasonOwner = "somebody else talks to the fan by now"

// Deps of an Intake.
type Deps struct {
	Accounts *account.Directory
	Topology *topology.Topology
	Bus      *bus.Conn
	Sends    *sends.Store
	Windows  *windows.Ledger
	CatchUp  *catchup.Reader
	Owners   *owners.Owners
	MassJobs *mass.Jobs
	Facts    *facts.Facts
	Later    *later.Later
	Gates    *pace.Gates
	Observer deliver.Observer
	Now      func() time.Time
}

// Intake is safe for concurrent use.
type Intake struct{ Deps }

// New returns an intake.
func New(d Deps) *Intake { return &Intake{d} }

// SendID returns the id of a send.
func SendID(account, key string) string { return sendid.Of(account, key) }

// Send implements the RPC.
func (i *Intake) Send(ctx context.Context, req *senderv1.SendRequest) (*senderv1.SendResponse, error) {
	a, m, err := i.message(req)
	if err != nil {
		return nil, err
	}
	return i.accept(ctx, a, m, req.GetEvidence())
}

// accept stores a message durably, once for each id.
func (i *Intake) accept(ctx context.Context, a account.Account, m *senderv1.OutboundMessage, ev *senderv1.GrantEvidence) (*senderv1.SendResponse, error) {
	hash, err := requestHash(m)
	if err != nil {
		return nil, err
	}
	rec, replayed, err := i.record(ctx, a, m, hash)
	if err != nil {
		return nil, err
	}
	if unfinished(rec.Rec) {
		if rec, err = i.queue(ctx, a, m, ev, rec); err != nil {
			return nil, err
		}
	}
	if rec.Rec.GetState() == sendstate.Refused {
		if err := i.Facts.Settled(ctx, m, rec.Rec); err != nil {
			return nil, fmt.Errorf("publish refusal: %w", err)
		}
		return nil, fault.New(fault.Refused, rec.Rec.GetReason())
	}
	return &senderv1.SendResponse{Id: m.GetId(), Record: rec.Rec, Replayed: replayed}, nil
}

// record stores the record of a new send or finds that of an earlier call with the same key.
func (i *Intake) record(ctx context.Context, a account.Account, m *senderv1.OutboundMessage, hash []byte) (rec sends.Record, replayed bool, err error) {
	now := i.Now().UnixMilli()
	fresh := &senderv1.SendRecord{
		Id: m.GetId(), State: sendstate.Queued, RequestHash: hash, Openid: m.GetOpenid(),
		AcceptedUnixMs: now, UpdatedUnixMs: now, Endpoint: endpoint.OfStep(m, 0, a.Kind).ID, Parts: uint32(len(m.GetTextParts())),
	}
	if m.GetNotBeforeUnixMs() > now {
		fresh.State, fresh.NotBeforeUnixMs = sendstate.Parked, m.GetNotBeforeUnixMs()
	}
	rec, err = i.Sends.Create(ctx, m.GetAccount(), fresh)
	if err == nil {
		m.AcceptedUnixMs = now
		return rec, false, nil
	}
	if !errors.Is(err, sends.ErrExists) {
		return rec, false, err
	}
	rec, err = i.Sends.Get(ctx, m.GetAccount(), m.GetId())
	if errors.Is(err, sends.ErrNotFound) {
		return rec, false, fault.Wrap(fault.Unavailable, err) // a server that is behind
	}
	if err != nil {
		return rec, false, err
	}
	if !bytes.Equal(rec.Rec.GetRequestHash(), hash) {
		return rec, false, status.Error(codes.AlreadyExists, "idempotency_key: was used for another message")
	}
	m.AcceptedUnixMs = rec.Rec.GetAcceptedUnixMs()
	return rec, true, nil
}

// unfinished tells whether an earlier call may have died before it queued the message.
func unfinished(rec *senderv1.SendRecord) bool {
	if rec.GetAttempts() > 0 {
		return false
	}
	return rec.GetState() == sendstate.Queued || (rec.GetState() == sendstate.Parked && rec.GetErrcode() == 0)
}

// queue does what is left to do for a message that was not called yet. All of it may be repeated.
func (i *Intake) queue(ctx context.Context, a account.Account, m *senderv1.OutboundMessage, ev *senderv1.GrantEvidence, rec sends.Record) (sends.Record, error) {
	if own := time.UnixMilli(m.GetNotBeforeUnixMs()); own.After(i.Now()) {
		if err := i.Later.Put(ctx, later.OwnTime, own, m); err != nil {
			return rec, fmt.Errorf("keep message until its time: %w", err)
		}
		return rec, nil
	}
	for {
		r, err := i.refusal(ctx, a, m, ev, rec.Rec)
		if err != nil {
			return rec, err
		}
		if r.reason == "" {
			break
		}
		changed, err := i.Sends.Change(ctx, a.Name, rec, refused(a, m, rec.Rec, r))
		if errors.Is(err, sendstate.ErrNotAllowed) {
			return i.Sends.Get(ctx, a.Name, m.GetId()) // an earlier call had queued it, and it moved on
		}
		if err != nil {
			return rec, err
		}
		if rec = changed; rec.Rec.GetState() == sendstate.Refused {
			i.Observer.Settled(ctx, a.Name, m.GetLane(), sendstate.Refused)
			return rec, nil
		}
	}
	subject, err := topology.SubjectOutbound(m.GetLane(), a.Name, m.GetPartition(), m.GetOpenid())
	if err != nil {
		return rec, err
	}
	data, err := proto.Marshal(m)
	if err != nil {
		return rec, fmt.Errorf("encode outbound message: %w", err)
	}
	if err := facts.Publish(ctx, i.Bus, bus.Msg{Subject: subject, ID: m.GetId(), Data: data, ExpectStream: topology.StreamOutbound}); err != nil {
		return rec, fmt.Errorf("queue message: %w", err)
	}
	return rec, nil
}

// refusal is why a step cannot be sent now; final means that no other step can be either.
type refusal struct {
	reason string
	final  bool
}

// refused returns the change for a step that cannot be sent: the next one follows, or the end.
func refused(a account.Account, m *senderv1.OutboundMessage, rec *senderv1.SendRecord, r refusal) sendstate.Change {
	if next := endpoint.Content(m, rec.GetStep()+1); next != nil && !r.final {
		return sendstate.Fall{Reason: r.reason, Refused: true, To: endpoint.Of(next, a.Kind).ID}
	}
	return sendstate.Refuse{Reason: r.reason}
}

// refusal returns why the step that the message is at cannot be sent now, or nothing after holding what it needs of the
// window.
func (i *Intake) refusal(ctx context.Context, a account.Account, m *senderv1.OutboundMessage, ev *senderv1.GrantEvidence, rec *senderv1.SendRecord) (refusal, error) {
	if a.Disabled {
		return refusal{reason: a.WhyDisabled(), final: true}, nil
	}
	e := endpoint.OfStep(m, rec.GetStep(), a.Kind)
	custom := e.ID == endpoint.CustomSend.ID
	if (custom || e.ID == endpoint.Typing.ID) && !a.AllowsKf() {
		return refusal{reason: deliver.ReasonNoAPI}, nil
	}
	if p, ok := i.Gates.Paused(pace.Key{Account: a.Name, Endpoint: e.Token}); ok && p.Refuse {
		return refusal{reason: p.Reason}, nil
	}
	newer, err := i.Owners.Newer(ctx, a.Name, m.GetOpenid(), m.GetOwnerEpoch())
	if err != nil {
		return refusal{}, err
	}
	if newer {
		return refusal{reason: reasonOwner, final: true}, nil
	}
	fan := windows.Fan{Account: a.Name, Kind: a.ProtoKind(), OpenID: m.GetOpenid()}
	judge := func() (refusal, error) { return i.window(ctx, fan, m, ev, rec) }
	if !custom {
		if !e.Follower || m.GetMass() != nil {
			return refusal{}, nil
		}
		judge = func() (refusal, error) { return i.left(ctx, fan) }
	}
	r, err := judge()
	if err != nil || r.reason == "" || ev != nil || m.GetLane() == senderv1.Lane_LANE_CAMPAIGN {
		return r, err // a campaign answers nobody, and was counted before
	}
	found, err := i.CatchUp.Fold(ctx, fan)
	if err != nil || !found {
		return r, err
	}
	return judge()
}

// left refuses who is known to have left the account.
func (i *Intake) left(ctx context.Context, fan windows.Fan) (refusal, error) {
	gone, err := i.Windows.Left(ctx, fan)
	if err != nil || !gone {
		return refusal{}, err
	}
	return refusal{reason: grants.Unsubscribed.String()}, nil
}

// window holds what a step needs of the fan's window.
func (i *Intake) window(ctx context.Context, fan windows.Fan, m *senderv1.OutboundMessage, ev *senderv1.GrantEvidence, rec *senderv1.SendRecord) (refusal, error) {
	needed := deliver.Reservations(m, rec)
	verdict, err := i.Windows.Reserve(ctx, fan, ev, needed...)
	if err != nil || verdict == grants.Open {
		return refusal{}, err
	}
	reason := verdict.String()
	if len(needed) > 1 && verdict == grants.Exhausted {
		q, err := i.Windows.Quota(ctx, fan)
		if err != nil {
			return refusal{}, err
		}
		reason = fmt.Sprintf("the text needs %d messages, the window has %d left", len(needed), q.Remaining)
	}
	return refusal{reason: reason}, nil
}

// Quota implements the RPC GetQuota.
func (i *Intake) Quota(ctx context.Context, req *senderv1.GetQuotaRequest) (*senderv1.GetQuotaResponse, error) {
	a, err := i.account(req.GetAccount())
	if err != nil {
		return nil, err
	}
	if err := checkOpenID(req.GetOpenid()); err != nil {
		return nil, err
	}
	fan := windows.Fan{Account: a.Name, Kind: a.ProtoKind(), OpenID: req.GetOpenid()}
	if req.GetCatchUp() {
		if _, err := i.CatchUp.Fold(ctx, fan); err != nil {
			return nil, err
		}
	}
	q, err := i.Windows.Quota(ctx, fan)
	if err != nil {
		return nil, err
	}
	resp := &senderv1.GetQuotaResponse{Remaining: q.Remaining, Reason: q.Verdict.String(), Reserved: q.Reserved, Class: classes[q.Verdict]}
	if !q.Deadline.IsZero() {
		resp.DeadlineUnixMs = q.Deadline.UnixMilli()
	}
	p, paused := i.Gates.Paused(pace.Key{Account: a.Name, Endpoint: endpoint.CustomSend.Token})
	switch {
	case a.Disabled:
		resp.Remaining, resp.Reason, resp.Class = 0, a.WhyDisabled(), senderv1.QuotaClass_QUOTA_CLASS_NO_API
	case !a.AllowsKf():
		resp.Remaining, resp.Reason, resp.Class = 0, deliver.ReasonNoAPI, senderv1.QuotaClass_QUOTA_CLASS_NO_API
	case paused && p.Refuse:
		resp.Remaining, resp.Reason, resp.Class = 0, p.Reason, senderv1.QuotaClass_QUOTA_CLASS_NO_API
	}
	return resp, nil
}

var classes = map[grants.Verdict]senderv1.QuotaClass{
	grants.Open:           senderv1.QuotaClass_QUOTA_CLASS_OPEN,
	grants.NeverOpened:    senderv1.QuotaClass_QUOTA_CLASS_NEVER_OPENED,
	grants.Expired:        senderv1.QuotaClass_QUOTA_CLASS_EXPIRED,
	grants.Exhausted:      senderv1.QuotaClass_QUOTA_CLASS_EXHAUSTED,
	grants.ClosedByWeChat: senderv1.QuotaClass_QUOTA_CLASS_CLOSED_BY_WECHAT,
	grants.Unsubscribed:   senderv1.QuotaClass_QUOTA_CLASS_UNSUBSCRIBED,
}

func (i *Intake) account(name string) (account.Account, error) {
	a, ok := i.Accounts.Get(name)
	if !ok {
		return account.Account{}, fault.Errorf(fault.NotFound, "account %q is not configured", name)
	}
	return a, nil
}

const maxOpenID, maxKey, maxKfAccount, maxCause = 128, 128, 128, 128

func checkOpenID(openid string) error {
	if openid == "" || len(openid) > maxOpenID || !utf8.ValidString(openid) {
		return fault.Errorf(fault.Invalid, "openid: must be 1 to %d bytes", maxOpenID)
	}
	return nil
}

type writer interface{ Write(p []byte) (int, error) }

// writePart writes a part of a hash with its length, so that no two lists of parts look the same.
func writePart(w writer, part []byte) {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(part)))
	_, _ = w.Write(size[:]) // a hash never fails
	_, _ = w.Write(part)
}
