// Package facts publishes what became of sends on the stream DELIVERY.
package facts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

// A publish is repeated for longer than a stream needs for the election of a leader.
const (
	tries    = 12
	minPause = 30 * time.Millisecond
	maxPause = time.Second
)

// Facts is safe for concurrent use.
type Facts struct {
	conn *bus.Conn
	now  func() time.Time
}

// New returns a publisher of facts.
func New(conn *bus.Conn, now func() time.Time) *Facts { return &Facts{conn, now} }

// Attempt is the outcome of one call to WeChat.
type Attempt struct {
	Number   uint32
	Endpoint senderv1.SendEndpoint
	Step     uint32
	Part     uint32 // from 1; zero when there is one only
	Errcode  int32
	Outcome  string
	Took     time.Duration // zero when it is not known any more
}

// Attempted publishes DeliveryAttempted. A repeat is the same fact.
func (f *Facts) Attempted(ctx context.Context, m *senderv1.OutboundMessage, a Attempt) error {
	return f.publish(ctx, m, fmt.Sprintf("%s:%d:attempted", m.GetId(), a.Number), &senderv1.DeliveryAttempted{
		Id: m.GetId(), Account: m.GetAccount(), Openid: m.GetOpenid(), Attempt: a.Number,
		Errcode: a.Errcode, Outcome: a.Outcome, TookUs: a.Took.Microseconds(), AtUnixMs: f.now().UnixMilli(),
		Endpoint: a.Endpoint, Step: a.Step, Part: a.Part,
	})
}

// Settled publishes DeliverySettled. A repeat is the same fact.
func (f *Facts) Settled(ctx context.Context, m *senderv1.OutboundMessage, rec *senderv1.SendRecord) error {
	return f.publish(ctx, m, m.GetId()+":settled", &senderv1.DeliverySettled{
		Id: m.GetId(), Account: m.GetAccount(), Openid: m.GetOpenid(), State: rec.GetState(),
		Errcode: rec.GetErrcode(), Reason: rec.GetReason(), Attempts: rec.GetAttempts(),
		Cause: m.GetCause(), Lane: m.GetLane(), AtUnixMs: rec.GetUpdatedUnixMs(), Campaign: m.GetCampaign(),
		Endpoint: rec.GetEndpoint(), Step: rec.GetStep(), Steps: rec.GetSteps(), MsgId: rec.GetMsgId(), Result: rec.GetResult(),
		Parts: rec.GetParts(), PartsSent: rec.GetPartsSent(),
	})
}

func (f *Facts) publish(ctx context.Context, m *senderv1.OutboundMessage, id string, fact proto.Message) error {
	subject, err := topology.SubjectDelivery(m.GetAccount(), m.GetPartition(), m.GetOpenid())
	if err != nil {
		return err
	}
	data, err := proto.Marshal(fact)
	if err != nil {
		return fmt.Errorf("encode fact: %w", err)
	}
	return Publish(ctx, f.conn, bus.Msg{
		Subject: subject, ID: id, Data: data,
		Header: nats.Header{bus.HeaderType: {string(fact.ProtoReflect().Descriptor().FullName())}},
	})
}

// Publish stores a message that has an id, however often that takes within ctx.
func Publish(ctx context.Context, conn *bus.Conn, m bus.Msg) error {
	pause := minPause
	for try := 1; ; try++ {
		_, err := conn.Publish(ctx, m)
		if err == nil || try == tries || fault.Dispose(err) != fault.Retry || errors.Is(err, nats.ErrConnectionClosed) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}
