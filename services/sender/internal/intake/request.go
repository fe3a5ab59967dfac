package intake

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/sender/internal/later"
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
	target := content.Target{Route: content.RouteSend, Account: a.ProtoKind()}
	if err := content.ValidateFor(req.GetContent(), target); err != nil {
		return a, nil, fault.Wrap(fault.Invalid, fmt.Errorf("content: %w", err))
	}
	if err := checkFallback(req.GetFallback(), target); err != nil {
		return a, nil, err
	}
	if err := i.checkTimes(req); err != nil {
		return a, nil, err
	}
	parts, err := textParts(req.GetContent())
	if err != nil {
		return a, nil, err
	}
	lane := req.GetLane()
	if lane == senderv1.Lane_LANE_UNSPECIFIED {
		lane = senderv1.Lane_LANE_NOTIFY
	}
	return a, &senderv1.OutboundMessage{
		Id: SendID(a.Name, req.GetIdempotencyKey()), Account: a.Name, Openid: req.GetOpenid(), Lane: lane,
		Content: req.GetContent(), KfAccount: req.GetKfAccount(), Cause: req.GetCause(), OwnerEpoch: req.GetOwnerEpoch(),
		Partition: i.Topology.Partition(a.Name, req.GetOpenid()), Campaign: req.GetCampaign(),
		Fallback: req.GetFallback(), NotBeforeUnixMs: req.GetNotBeforeUnixMs(), ExpiresUnixMs: req.GetExpiresUnixMs(), TextParts: parts,
	}, nil
}

// Bounds of one request.
const (
	maxFallback = 4
	// maxParts bounds a long text: no window has more messages.
	maxParts = 10
)

// checkFallback: what is sent instead is simple, so that nothing falls twice.
func checkFallback(chain []*eventv1.Content, target content.Target) error {
	if len(chain) > maxFallback {
		return fault.Errorf(fault.Invalid, "fallback: at most %d, has %d", maxFallback, len(chain))
	}
	for n, c := range chain {
		if err := content.ValidateFor(c, target); err != nil {
			return fault.Wrap(fault.Invalid, fmt.Errorf("fallback[%d]: %w", n, err))
		}
		switch {
		case c.GetTyping() != nil:
			return fault.Errorf(fault.Invalid, "fallback[%d]: the typing sign is nothing to fall back to", n)
		case len(c.GetText().GetContent()) > content.MaxMessage:
			return fault.Errorf(fault.Invalid, "fallback[%d]: text.content: at most %d bytes", n, content.MaxMessage)
		}
	}
	return nil
}

// checkTimes checks not_before and expires. Times that have passed are no mistake when a call is repeated, but nothing
// that is new is accepted to expire at once.
func (i *Intake) checkTimes(req *senderv1.SendRequest) error {
	before, expires := req.GetNotBeforeUnixMs(), req.GetExpiresUnixMs()
	switch {
	case before < 0 || expires < 0:
		return fault.New(fault.Invalid, "not_before_unix_ms, expires_unix_ms: must not be negative")
	case before > i.Now().Add(later.MaxAhead).UnixMilli():
		return fault.Errorf(fault.Invalid, "not_before_unix_ms: at most %s ahead", later.MaxAhead)
	case expires != 0 && expires <= before:
		return fault.New(fault.Invalid, "expires_unix_ms: must be after not_before_unix_ms")
	}
	return nil
}

// textParts cuts a text that one message cannot show.
func textParts(c *eventv1.Content) ([]string, error) {
	text := c.GetText().GetContent()
	if len(text) <= content.MaxMessage {
		return nil, nil
	}
	parts := content.SplitText(text, content.MaxMessage)
	if len(parts) > maxParts {
		return nil, fault.Errorf(fault.Invalid, "content: text.content: needs %d messages, at most %d", len(parts), maxParts)
	}
	return parts, nil
}

// Check returns what is wrong with a message, without sending it.
func (i *Intake) Check(req *senderv1.SendRequest) error {
	_, _, err := i.message(req)
	return err
}

// checkRequest names the field that is wrong.
func checkRequest(req *senderv1.SendRequest) error {
	if err := checkOpenID(req.GetOpenid()); err != nil {
		return err
	}
	key := req.GetIdempotencyKey()
	if key == "" || (!printable(key, maxKey) && req.GetCampaign() == nil) { // campaigns have keys that nobody else can have
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
	return more(h, m)
}

// more adds what only some messages have, so that the hash of the others is what it was before.
func more(h hash.Hash, m *senderv1.OutboundMessage) ([]byte, error) {
	options := proto.MarshalOptions{Deterministic: true}
	for _, c := range m.GetFallback() {
		body, err := options.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("encode fallback: %w", err)
		}
		writePart(h, body)
	}
	if m.GetNotBeforeUnixMs() != 0 || m.GetExpiresUnixMs() != 0 {
		writePart(h, binary.BigEndian.AppendUint64(nil, uint64(m.GetNotBeforeUnixMs())))
		writePart(h, binary.BigEndian.AppendUint64(nil, uint64(m.GetExpiresUnixMs())))
	}
	if m.GetMass() != nil {
		body, err := options.Marshal(m.GetMass())
		if err != nil {
			return nil, fmt.Errorf("encode mass message: %w", err)
		}
		writePart(h, body)
	}
	return h.Sum(nil), nil
}
