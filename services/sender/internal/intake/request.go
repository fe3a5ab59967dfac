package intake

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
)

// message checks the request and returns the message that would be queued.
func (i *Intake) message(req *senderv1.SendRequest) (account.Account, *senderv1.OutboundMessage, error) {
	a, err := i.account(req.GetAccount())
	if err != nil {
		return a, nil, err
	}
	if err := checkRequest(req); err != nil {
		return a, nil, err
	}
	target := content.Target{Route: content.RouteKf, Account: a.ProtoKind()}
	if err := content.ValidateFor(req.GetContent(), target); err != nil {
		return a, nil, fault.Wrap(fault.Invalid, fmt.Errorf("content: %w", err))
	}
	lane := req.GetLane()
	if lane == senderv1.Lane_LANE_UNSPECIFIED {
		lane = senderv1.Lane_LANE_NOTIFY
	}
	return a, &senderv1.OutboundMessage{
		Id: SendID(a.Name, req.GetIdempotencyKey()), Account: a.Name, Openid: req.GetOpenid(), Lane: lane,
		Content: req.GetContent(), KfAccount: req.GetKfAccount(), Cause: req.GetCause(), OwnerEpoch: req.GetOwnerEpoch(),
		Partition: i.Topology.Partition(a.Name, req.GetOpenid()), Campaign: req.GetCampaign(),
	}, nil
}

// checkRequest names the field that is wrong.
func checkRequest(req *senderv1.SendRequest) error {
	if err := checkOpenID(req.GetOpenid()); err != nil {
		return err
	}
	key := req.GetIdempotencyKey()
	if key == "" || !printable(key, maxKey) {
		return fault.Errorf(fault.Invalid, "idempotency_key: must be 1 to %d printable characters", maxKey)
	}
	if !printable(req.GetKfAccount(), maxKfAccount) {
		return fault.Errorf(fault.Invalid, "kf_account: must be at most %d printable characters", maxKfAccount)
	}
	if !printable(req.GetCause(), maxCause) {
		return fault.Errorf(fault.Invalid, "cause: must be at most %d printable characters", maxCause)
	}
	if _, known := senderv1.Lane_name[int32(req.GetLane())]; !known {
		return fault.New(fault.Invalid, "lane: is not known")
	}
	if ev := req.GetEvidence(); ev != nil && (ev.GetEventId() == "" || len(ev.GetEventId()) > maxKey || ev.GetCreateTime() <= 0) {
		return fault.New(fault.Invalid, "evidence: needs event_id and create_time")
	}
	return nil
}

func printable(s string, most int) bool {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > most {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// requestHash is SHA-256 of everything that makes the message what it is. The evidence is not part of
// it: a repeated call may know more.
func requestHash(m *senderv1.OutboundMessage) ([]byte, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.GetContent())
	if err != nil {
		return nil, fmt.Errorf("encode content: %w", err)
	}
	h := sha256.New()
	writePart(h, []byte(m.GetOpenid()))
	writePart(h, binary.BigEndian.AppendUint32(nil, uint32(m.GetLane())))
	writePart(h, body)
	writePart(h, []byte(m.GetKfAccount()))
	writePart(h, []byte(m.GetCause()))
	writePart(h, binary.BigEndian.AppendUint64(nil, m.GetOwnerEpoch()))
	return h.Sum(nil), nil
}
