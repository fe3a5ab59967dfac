package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"

	"github.com/wxbus/wxbus/services/sender/internal/endpoint"
	"github.com/wxbus/wxbus/services/sender/internal/jobs"
	"github.com/wxbus/wxbus/services/sender/internal/later"
	"github.com/wxbus/wxbus/services/sender/internal/sendstate"
)

// await leaves an accepted message to the event with its result, which may have come already. Everything in it may be
// repeated.
func (w *Worker) await(ctx context.Context, j *job) error {
	if err := w.waitForResult(ctx, j); err != nil {
		return err
	}
	result, err := w.Jobs.Sent(ctx, jobs.Job{Account: j.account.Name, Family: familyOf(j.rec.Rec), MsgID: j.rec.Rec.GetMsgId()}, j.m)
	if err != nil || result == nil {
		return err
	}
	return w.finish(ctx, j, *result)
}

// waitForResult arranges that the message comes back when the event is overdue.
func (w *Worker) waitForResult(ctx context.Context, j *job) error {
	wait := w.cfg.ResultWait
	if familyOf(j.rec.Rec) == endpoint.FamilyMass {
		wait = w.cfg.MassResultWait
	}
	m := j.m
	reminder := &senderv1.OutboundMessage{
		Id: m.GetId(), Account: m.GetAccount(), Openid: m.GetOpenid(), Lane: m.GetLane(), Partition: m.GetPartition(),
		Cause: m.GetCause(), Campaign: m.GetCampaign(), AcceptedUnixMs: m.GetAcceptedUnixMs(), ResultDue: true,
	}
	return w.Later.Put(ctx, later.Result, w.Now().Add(wait), reminder)
}

// overdue ends a message whose event did not come. WeChat took it, so it counts as sent; a mass message is asked for first.
func (w *Worker) overdue(ctx context.Context, j *job) error {
	if j.rec.Rec.GetState() != sendstate.Accepted {
		return nil
	}
	r := jobs.Result{Delivered: true, Reason: "taken by WeChat; its event with the result did not come"}
	if familyOf(j.rec.Rec) == endpoint.FamilyMass {
		status, err := w.API.MassStatus(ctx, j.account, j.rec.Rec.GetMsgId())
		if err != nil {
			return fault.Wrap(fault.Retryable, fmt.Errorf("ask for mass message: %w", err))
		}
		switch status {
		case "SENDING":
			return w.waitForResult(ctx, j)
		case "SEND_FAIL":
			r.Delivered = false
		}
		r.Result = &senderv1.SendResult{Status: status, AtUnixMs: w.Now().UnixMilli()}
	}
	return w.finish(ctx, j, r)
}

// finish brings an accepted message to its end.
func (w *Worker) finish(ctx context.Context, j *job, r jobs.Result) error {
	err := w.change(ctx, j, sendstate.Finish{Delivered: r.Delivered, Reason: r.Reason, Result: r.Result})
	if errors.Is(err, sendstate.ErrNotAllowed) {
		if err = w.load(ctx, j); err == nil && !sendstate.Final(j.rec.Rec.GetState()) {
			return fault.New(fault.Retryable, "the record of an accepted message has changed")
		}
	}
	if err != nil {
		return err
	}
	j.reported = j.rec.Rec.GetAttempts()
	return w.settle(ctx, j)
}

// Told is called for an event that tells the result of a message. It may be repeated.
func (w *Worker) Told(ctx context.Context, told jobs.Job, r jobs.Result) error {
	m, result, err := w.Jobs.Told(ctx, told, r)
	if err != nil || m == nil {
		return err
	}
	a, ok := w.Accounts.Get(told.Account)
	if !ok {
		return nil // not an account of ours any more: nobody waits for it
	}
	j := &job{m: m, account: a, began: time.Now()}
	if err := w.load(ctx, j); err != nil {
		return err
	}
	if sendstate.Final(j.rec.Rec.GetState()) {
		return nil
	}
	w.Log.DebugContext(ctx, "result of a message", logkey.Account, a.Name, logkey.Outcome, result.Delivered)
	return w.finish(ctx, j, *result)
}

// familyOf returns the family of events that tell the result of a message.
func familyOf(rec *senderv1.SendRecord) string {
	for _, e := range endpoint.All() {
		if e.ID == rec.GetEndpoint() {
			return e.Family
		}
	}
	return ""
}

// forgotten handles media that WeChat does not know any more: those that came through this system are uploaded again and
// the message is tried once more.
func (w *Worker) forgotten(ctx context.Context, j *job, o outcome) outcome {
	if j.mediaRetried {
		o.action = reject
		return o
	}
	renewed, err := w.withNewMedia(ctx, j)
	switch {
	case err != nil:
		w.Log.WarnContext(ctx, "media not uploaded again", logkey.Account, j.account.Name, logkey.Error, err)
		o.action = again
	case !renewed:
		o.action = reject
	default:
		j.mediaRetried = true
	}
	return o
}

// withNewMedia replaces the media of the step by their newest ids.
func (w *Worker) withNewMedia(ctx context.Context, j *job) (bool, error) {
	m := proto.CloneOf(j.m)
	renewed := false
	for _, id := range mediaOf(m, endpoint.Content(m, j.rec.Rec.GetStep())) {
		fresh, known, err := w.Media.Renew(ctx, j.account.Name, *id)
		if err != nil {
			return false, err
		}
		if known {
			*id, renewed = fresh, true
		}
	}
	j.m = m
	return renewed, nil
}

// mediaOf returns where a message holds ids of temporary media.
func mediaOf(m *senderv1.OutboundMessage, c *eventv1.Content) []*string {
	if mass := m.GetMass(); mass != nil {
		return massMedia(mass)
	}
	var ids []*string
	add := func(id *string) {
		if *id != "" {
			ids = append(ids, id)
		}
	}
	switch b := c.GetBody().(type) {
	case *eventv1.Content_Image:
		add(&b.Image.MediaId)
	case *eventv1.Content_Voice:
		add(&b.Voice.MediaId)
	case *eventv1.Content_Video:
		add(&b.Video.MediaId)
		add(&b.Video.ThumbMediaId)
	case *eventv1.Content_Music:
		add(&b.Music.ThumbMediaId)
	case *eventv1.Content_MiniProgram:
		add(&b.MiniProgram.ThumbMediaId)
	}
	return ids
}

func massMedia(m *senderv1.MassMessage) []*string {
	switch b := m.GetBody().(type) {
	case *senderv1.MassMessage_Voice:
		return []*string{&b.Voice.MediaId}
	case *senderv1.MassMessage_Video:
		return []*string{&b.Video.MediaId}
	case *senderv1.MassMessage_Images:
		ids := make([]*string, len(b.Images.GetMediaIds()))
		for i := range ids {
			ids[i] = &b.Images.MediaIds[i]
		}
		return ids
	}
	return nil
}
