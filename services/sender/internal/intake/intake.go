// Package intake accepts messages: durable before it returns, once for each idempotency key.
//
// The steps are: store the record (QUEUED), hold a message of the fan's window, queue the message. A
// caller that gets no answer calls again with the same key; whatever step was the last, the call
// finds the record and does the rest. Until then nobody was told that the message was accepted.
package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
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
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/deliver"
	"github.com/wxbus/wxbus/services/sender/internal/facts"
	"github.com/wxbus/wxbus/services/sender/internal/grants"
	"github.com/wxbus/wxbus/services/sender/internal/owners"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
	"github.com/wxbus/wxbus/services/sender/internal/sends"
	"github.com/wxbus/wxbus/services/sender/internal/sendstate"
	"github.com/wxbus/wxbus/services/sender/internal/windows"
)

// Reasons for which a message is refused beside those of the window.
const (
	reasonNoAPI = "the account has no customer-service API"
	reasonOwner = "somebody else talks to the fan by now"
)

// Deps of an Intake.
type Deps struct {
	Accounts *account.Directory
	Topology *topology.Topology
	Bus      *bus.Conn
	Sends    *sends.Store
	Windows  *windows.Ledger
	Owners   *owners.Owners
	Facts    *facts.Facts
	Gates    *pace.Gates
	Observer deliver.Observer
	Now      func() time.Time
}

// Intake is safe for concurrent use.
type Intake struct{ Deps }

// New returns an intake.
func New(d Deps) *Intake { return &Intake{d} }

// SendID returns the id of a send: 32 hex characters from account and idempotency key.
func SendID(account, key string) string {
	h := sha256.New()
	writePart(h, []byte(account))
	writePart(h, []byte(key))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Send implements the RPC.
func (i *Intake) Send(ctx context.Context, req *senderv1.SendRequest) (*senderv1.SendResponse, error) {
	a, m, err := i.message(req)
	if err != nil {
		return nil, err
	}
	hash, err := requestHash(m)
	if err != nil {
		return nil, err
	}
	rec, replayed, err := i.record(ctx, m, hash)
	if err != nil {
		return nil, err
	}
	if rec.Rec.GetState() == sendstate.Queued {
		if rec, err = i.queue(ctx, a, m, req.GetEvidence(), rec); err != nil {
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
func (i *Intake) record(ctx context.Context, m *senderv1.OutboundMessage, hash []byte) (rec sends.Record, replayed bool, err error) {
	now := i.Now().UnixMilli()
	rec, err = i.Sends.Create(ctx, m.GetAccount(), &senderv1.SendRecord{
		Id: m.GetId(), State: sendstate.Queued, RequestHash: hash, Openid: m.GetOpenid(),
		AcceptedUnixMs: now, UpdatedUnixMs: now,
	})
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

// queue does what is left to do for a record in state QUEUED. All of it may be repeated.
func (i *Intake) queue(ctx context.Context, a account.Account, m *senderv1.OutboundMessage, ev *senderv1.GrantEvidence, rec sends.Record) (sends.Record, error) {
	reason, err := i.refusal(ctx, a, m, ev)
	if err != nil {
		return rec, err
	}
	if reason != "" {
		refused, err := i.Sends.Change(ctx, a.Name, rec, sendstate.Refuse{Reason: reason})
		if errors.Is(err, sendstate.ErrNotAllowed) {
			return i.Sends.Get(ctx, a.Name, m.GetId()) // an earlier call had queued it, and it moved on
		}
		if err == nil {
			i.Observer.Settled(ctx, a.Name, m.GetLane(), sendstate.Refused)
		}
		return refused, err
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

// refusal returns why the message cannot be sent now, or "" after holding a message of the window.
func (i *Intake) refusal(ctx context.Context, a account.Account, m *senderv1.OutboundMessage, ev *senderv1.GrantEvidence) (string, error) {
	switch {
	case a.Disabled:
		return a.WhyDisabled(), nil
	case !a.AllowsKf():
		return reasonNoAPI, nil
	}
	if p, ok := i.Gates.Paused(pace.Key{Account: a.Name, Endpoint: deliver.Endpoint}); ok && p.Refuse {
		return p.Reason, nil
	}
	newer, err := i.Owners.Newer(ctx, a.Name, m.GetOpenid(), m.GetOwnerEpoch())
	if err != nil {
		return "", err
	}
	if newer {
		return reasonOwner, nil
	}
	fan := windows.Fan{Account: a.Name, Kind: a.ProtoKind(), OpenID: m.GetOpenid()}
	verdict, err := i.Windows.Reserve(ctx, fan, ev, m.GetId())
	if err != nil || verdict == grants.Open {
		return "", err
	}
	return verdict.String(), nil
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
	q, err := i.Windows.Quota(ctx, windows.Fan{Account: a.Name, Kind: a.ProtoKind(), OpenID: req.GetOpenid()})
	if err != nil {
		return nil, err
	}
	resp := &senderv1.GetQuotaResponse{Remaining: q.Remaining, Reason: q.Verdict.String()}
	if !q.Deadline.IsZero() {
		resp.DeadlineUnixMs = q.Deadline.UnixMilli()
	}
	p, paused := i.Gates.Paused(pace.Key{Account: a.Name, Endpoint: deliver.Endpoint})
	switch {
	case a.Disabled:
		resp.Remaining, resp.Reason = 0, a.WhyDisabled()
	case !a.AllowsKf():
		resp.Remaining, resp.Reason = 0, reasonNoAPI
	case paused && p.Refuse:
		resp.Remaining, resp.Reason = 0, p.Reason
	}
	return resp, nil
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
