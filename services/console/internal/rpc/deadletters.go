package rpc

import (
	"context"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/console/internal/access"
)

const (
	maxLetters = 200
	// maxPages bounds the dead letters of others that one request looks through.
	maxPages = 10
	// maxShown bounds the JSON of a message in bytes.
	maxShown = 256 << 10
)

// DeadLetters is the DeadLetterService.
type DeadLetters struct{ Letters *bus.DeadLetters }

var _ consolev1connect.DeadLetterServiceHandler = (*DeadLetters)(nil)

// ListDeadLetters lists dead letters of the accounts that the caller may see, the oldest first.
func (s *DeadLetters) ListDeadLetters(ctx context.Context, req *connect.Request[consolev1.ListDeadLettersRequest]) (*connect.Response[consolev1.ListDeadLettersResponse], error) {
	m := req.Msg
	limit, err := limitOf(m.GetLimit(), 50, maxLetters)
	if err != nil {
		return nil, err
	}
	out := &consolev1.ListDeadLettersResponse{NextAfterSeq: m.GetAfterSeq()}
	for range maxPages {
		found, err := s.Letters.List(ctx, bus.DeadLetterFilter{Service: m.GetService(), Stream: m.GetStream(), After: out.GetNextAfterSeq()}, limit)
		if err != nil {
			return nil, err
		}
		for i := range found {
			if len(out.GetDeadLetters()) == limit {
				out.More = true
				return connect.NewResponse(out), nil
			}
			out.NextAfterSeq = found[i].Seq
			account := topology.AccountOf(found[i].Subject)
			if visible(ctx, account) && (m.GetAccount() == "" || m.GetAccount() == account) {
				out.DeadLetters = append(out.DeadLetters, shown(&found[i]))
			}
		}
		if len(found) < limit {
			return connect.NewResponse(out), nil
		}
	}
	out.More = true
	return connect.NewResponse(out), nil
}

// visible tells whether the caller may see a dead letter of an account; one without an account is for those who
// may see all.
func visible(ctx context.Context, account string) bool {
	c := access.From(ctx)
	return c.All() || account != "" && c.May(account)
}

func shown(d *bus.DeadLetter) *consolev1.DeadLetter {
	return &consolev1.DeadLetter{
		Seq: d.Seq, AtUnixMs: d.At.UnixMilli(), Service: d.Service, Stream: d.Stream, StreamSeq: d.StreamSeq, Account: topology.AccountOf(d.Subject),
		Deliveries: d.Deliveries, Kind: d.Kind, Reason: d.Reason, Causes: d.Causes, TraceId: traceOf(d.Header.Get("traceparent")),
	}
}

// traceOf returns the trace id in a W3C traceparent, or an empty text.
func traceOf(parent string) string {
	parts := strings.Split(parent, "-")
	if len(parts) != 4 || len(parts[1]) != 32 {
		return ""
	}
	return parts[1]
}

// one returns a dead letter that the caller may see. One of somebody else is not found.
func (s *DeadLetters) one(ctx context.Context, seq uint64) (bus.DeadLetter, error) {
	d, err := s.Letters.Get(ctx, seq)
	if err == nil && !visible(ctx, topology.AccountOf(d.Subject)) {
		return d, fault.Errorf(fault.NotFound, "dead letter %d does not exist", seq)
	}
	return d, err
}

// GetDeadLetter returns one dead letter.
func (s *DeadLetters) GetDeadLetter(ctx context.Context, req *connect.Request[consolev1.GetDeadLetterRequest]) (*connect.Response[consolev1.GetDeadLetterResponse], error) {
	d, err := s.one(ctx, req.Msg.GetSeq())
	if err != nil {
		return nil, err
	}
	out := &consolev1.GetDeadLetterResponse{DeadLetter: shown(&d), Size: int64(len(d.Data)), Stack: d.Stack}
	out.MessageType, out.MessageJson = readable(&d)
	return connect.NewResponse(out), nil
}

// typeOf are the messages of streams that carry one type only.
var typeOf = map[string]string{
	topology.StreamInbound: "wxbus.event.v1.InboundEvent", topology.StreamSpill: "wxbus.event.v1.InboundEvent",
	topology.StreamDecisions: "wxbus.rule.v1.DecisionMade", topology.StreamOutbound: "wxbus.sender.v1.OutboundMessage",
}

// readable returns the type of a message and the message as JSON, both empty when the type is not known.
func readable(d *bus.DeadLetter) (name, text string) {
	if name = d.Header.Get(bus.HeaderType); name == "" {
		name = typeOf[d.Stream]
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return "", ""
	}
	m := kind.New().Interface()
	if proto.Unmarshal(d.Data, m) != nil {
		return name, ""
	}
	b, err := protojson.MarshalOptions{Multiline: true, UseProtoNames: true}.Marshal(m)
	if err != nil || len(b) > maxShown {
		return name, ""
	}
	return name, string(b)
}

// RequeueDeadLetters gives dead letters to their services once more.
func (s *DeadLetters) RequeueDeadLetters(ctx context.Context, req *connect.Request[consolev1.RequeueDeadLettersRequest]) (*connect.Response[consolev1.RequeueDeadLettersResponse], error) {
	results, err := s.each(ctx, req.Msg.GetSeqs(), func(ctx context.Context, seq uint64) error {
		_, err := s.Letters.Requeue(ctx, seq)
		return err
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.RequeueDeadLettersResponse{Results: results}), nil
}

// DiscardDeadLetters removes dead letters.
func (s *DeadLetters) DiscardDeadLetters(ctx context.Context, req *connect.Request[consolev1.DiscardDeadLettersRequest]) (*connect.Response[consolev1.DiscardDeadLettersResponse], error) {
	results, err := s.each(ctx, req.Msg.GetSeqs(), s.Letters.Delete)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&consolev1.DiscardDeadLettersResponse{Results: results}), nil
}

func (s *DeadLetters) each(ctx context.Context, seqs []uint64, do func(context.Context, uint64) error) ([]*consolev1.DeadLetterResult, error) {
	if len(seqs) == 0 || len(seqs) > maxLetters {
		return nil, fault.Errorf(fault.Invalid, "seqs: must name 1 to %d dead letters", maxLetters)
	}
	out := make([]*consolev1.DeadLetterResult, 0, len(seqs))
	for _, seq := range seqs {
		_, err := s.one(ctx, seq)
		if err == nil {
			err = do(ctx, seq)
		}
		result := &consolev1.DeadLetterResult{Seq: seq, Done: err == nil}
		if err != nil {
			result.Reason = err.Error()
		}
		out = append(out, result)
	}
	return out, nil
}
