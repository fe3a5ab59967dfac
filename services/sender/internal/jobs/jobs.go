// Package jobs is where a message that WeChat took meets the event that tells its result. Either may
// be first: the event can arrive before the answer of the call is stored. Whoever is second finds what the
// first one left, by compare-and-set, and brings the message to its end.
package jobs

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/topology"
)

// Jobs is the bucket jobs. It is safe for concurrent use.
type Jobs struct{ kv jetstream.KeyValue }

// New returns the jobs on the bucket.
func New(kv jetstream.KeyValue) *Jobs { return &Jobs{kv} }

// Job names a message by the id that WeChat gave it.
type Job struct{ Account, Family, MsgID string }

// Result is what an event told.
type Result struct {
	Delivered bool
	Reason    string
	Result    *senderv1.SendResult
}

// Sent notes which message the job is, and returns the result when its event has come already, else nil. It
// may be repeated.
func (j *Jobs) Sent(ctx context.Context, job Job, m *senderv1.OutboundMessage) (*Result, error) {
	rec, err := j.update(ctx, job, func(rec *senderv1.JobRecord) bool {
		if rec.GetSendId() != "" {
			return false
		}
		rec.SendId, rec.Openid, rec.Lane, rec.Partition = m.GetId(), m.GetOpenid(), m.GetLane(), m.GetPartition()
		rec.Cause, rec.Campaign = m.GetCause(), m.GetCampaign()
		return true
	})
	if err != nil || rec.GetResult() == nil {
		return nil, err
	}
	return ResultOf(rec), nil
}

// Told notes the result of a job and returns the message when it is known, else nil: it was sent by another
// system, or its sender has not stored it yet. The first result stands. It may be repeated.
func (j *Jobs) Told(ctx context.Context, job Job, r Result) (*senderv1.OutboundMessage, *Result, error) {
	rec, err := j.update(ctx, job, func(rec *senderv1.JobRecord) bool {
		if rec.GetResult() != nil {
			return false
		}
		rec.Succeeded, rec.Reason, rec.Result = r.Delivered, r.Reason, r.Result
		return true
	})
	if err != nil || rec.GetSendId() == "" {
		return nil, nil, err
	}
	return &senderv1.OutboundMessage{
		Id: rec.GetSendId(), Account: job.Account, Openid: rec.GetOpenid(), Lane: rec.GetLane(), Partition: rec.GetPartition(),
		Cause: rec.GetCause(), Campaign: rec.GetCampaign(),
	}, ResultOf(rec), nil
}

// ResultOf returns the result in a record.
func ResultOf(rec *senderv1.JobRecord) *Result {
	return &Result{Delivered: rec.GetSucceeded(), Reason: rec.GetReason(), Result: rec.GetResult()}
}

// update applies a change that reports whether there is something to write.
func (j *Jobs) update(ctx context.Context, job Job, change func(*senderv1.JobRecord) bool) (*senderv1.JobRecord, error) {
	key, err := topology.JobKey(job.Account, job.Family, job.MsgID)
	if err != nil {
		return nil, err
	}
	rec, _, err := bus.UpdateKV(ctx, j.kv, key, func(cur *senderv1.JobRecord, _ bool) (*senderv1.JobRecord, error) {
		next := proto.CloneOf(cur)
		if !change(next) {
			return nil, bus.ErrUnchanged
		}
		return next, nil
	})
	if err != nil {
		return nil, fmt.Errorf("change job: %w", err)
	}
	return rec, nil
}
