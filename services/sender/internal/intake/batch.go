package intake

import (
	"context"
	"sync"

	"google.golang.org/grpc/status"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
)

const (
	// maxBatch bounds the requests of one batch.
	maxBatch = 100
	// batchWorkers is how many fans of a batch are worked on at the same time.
	batchWorkers = 16
	// maxMassName bounds the name of a mass message.
	maxMassName = 100
)

// SendBatch implements the RPC. Fans are worked on at the same time, the messages of one fan in their order.
func (i *Intake) SendBatch(ctx context.Context, req *senderv1.SendBatchRequest) (*senderv1.SendBatchResponse, error) {
	requests := req.GetRequests()
	if n := len(requests); n == 0 || n > maxBatch {
		return nil, fault.Errorf(fault.Invalid, "requests: must be 1 to %d, are %d", maxBatch, n)
	}
	type fan struct{ account, openid string }
	lines := map[fan][]int{}
	var order []fan
	for n, r := range requests {
		f := fan{r.GetAccount(), r.GetOpenid()}
		if lines[f] == nil {
			order = append(order, f)
		}
		lines[f] = append(lines[f], n)
	}
	results := make([]*senderv1.SendBatchResult, len(requests))
	slots := make(chan struct{}, batchWorkers)
	var all sync.WaitGroup
	for _, f := range order {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			for _, n := range lines[f] {
				results[n] = i.one(ctx, requests[n])
			}
		})
	}
	all.Wait()
	return &senderv1.SendBatchResponse{Results: results}, nil
}

func (i *Intake) one(ctx context.Context, req *senderv1.SendRequest) *senderv1.SendBatchResult {
	resp, err := i.Send(ctx, req)
	if err == nil {
		return &senderv1.SendBatchResult{Outcome: &senderv1.SendBatchResult_Response{Response: resp}}
	}
	s := status.Convert(fault.Status(err))
	return &senderv1.SendBatchResult{Outcome: &senderv1.SendBatchResult_Problem{Problem: &senderv1.SendProblem{
		Code: int32(s.Code()), Message: s.Message(),
	}}}
}

// massKey keeps the ids of mass messages apart from those of single ones: no idempotency key has such a character.
const massKey = "mass\x00"

// SendMass implements the RPC.
func (i *Intake) SendMass(ctx context.Context, req *senderv1.SendMassRequest) (*senderv1.SendMassResponse, error) {
	a, err := i.account(req.GetAccount())
	if err != nil {
		return nil, err
	}
	if a.Kind == account.KindMiniProgram {
		return nil, fault.New(fault.Invalid, "account: a Mini Program has no mass messages")
	}
	if key := req.GetIdempotencyKey(); key == "" || !printable(key, maxKey) {
		return nil, fault.Errorf(fault.Invalid, "idempotency_key: must be 1 to %d printable characters", maxKey)
	}
	if !printable(req.GetName(), maxMassName) {
		return nil, fault.Errorf(fault.Invalid, "name: must be at most %d printable characters", maxMassName)
	}
	if err := content.ValidateMass(req.GetMessage(), true); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	id := SendID(a.Name, massKey+req.GetIdempotencyKey())
	if err := i.MassJobs.Note(ctx, a.Name, id, req.GetName(), req.GetMessage()); err != nil {
		return nil, err
	}
	resp, err := i.accept(ctx, a, &senderv1.OutboundMessage{
		Id: id, Account: a.Name, Lane: senderv1.Lane_LANE_CAMPAIGN,
		Partition: i.Topology.Partition(a.Name, ""), Mass: req.GetMessage(),
	}, nil)
	if err != nil {
		return nil, err
	}
	return &senderv1.SendMassResponse{Id: resp.GetId(), Record: resp.GetRecord(), Replayed: resp.GetReplayed()}, nil
}
