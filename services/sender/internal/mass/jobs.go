package mass

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/services/sender/internal/sends"
)

const (
	// prefix keeps jobs apart from sends: those have two tokens, jobs three.
	prefix = "mass."
	// maxJobs bounds a list.
	maxJobs = 200
)

// Jobs finds the mass messages of an account again. It is safe for concurrent use.
type Jobs struct {
	kv    jetstream.KeyValue
	sends *sends.Store
}

// NewJobs returns the jobs in the bucket sends.
func NewJobs(kv jetstream.KeyValue, s *sends.Store) *Jobs { return &Jobs{kv, s} }

// Note notes a mass message before it is sent. A second time changes nothing.
func (j *Jobs) Note(ctx context.Context, account, id, name string, m *senderv1.MassMessage) error {
	key, err := topology.RecordKey(account, id)
	if err != nil {
		return err
	}
	value, err := proto.Marshal(&senderv1.MassJobRecord{Id: id, Name: name, Target: target(m)})
	if err != nil {
		return fmt.Errorf("encode mass job: %w", err)
	}
	if _, err := j.kv.Create(ctx, prefix+key, value); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("note mass job: %w", err))
	}
	return nil
}

func target(m *senderv1.MassMessage) string {
	switch t := m.GetTarget().(type) {
	case *senderv1.MassMessage_ToAll:
		return "all"
	case *senderv1.MassMessage_TagId:
		return fmt.Sprintf("tag %d", t.TagId)
	default:
		return fmt.Sprintf("%d fans", len(m.GetOpenids().GetOpenids()))
	}
}

// List returns the mass messages of an account with what became of them, newest first; name selects those with that name, an empty
// one all. One whose caller died before it was accepted is not among them.
func (j *Jobs) List(ctx context.Context, account, name string) ([]*senderv1.MassJob, error) {
	noted, err := j.noted(ctx, account)
	if err != nil {
		return nil, err
	}
	var out []*senderv1.MassJob
	for _, job := range noted {
		if name != "" && job.GetName() != name {
			continue
		}
		rec, err := j.sends.Get(ctx, account, job.GetId())
		if errors.Is(err, sends.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, &senderv1.MassJob{Name: job.GetName(), Target: job.GetTarget(), Record: rec.Rec})
	}
	slices.SortFunc(out, func(a, b *senderv1.MassJob) int {
		return cmp.Or(cmp.Compare(b.GetRecord().GetAcceptedUnixMs(), a.GetRecord().GetAcceptedUnixMs()), cmp.Compare(a.GetRecord().GetId(), b.GetRecord().GetId()))
	})
	return out[:min(len(out), maxJobs)], nil
}

func (j *Jobs) noted(ctx context.Context, account string) ([]*senderv1.MassJobRecord, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := j.kv.Watch(ctx, prefix+account+".*", jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("list mass jobs: %w", err))
	}
	var out []*senderv1.MassJobRecord
	for entry := range w.Updates() {
		if entry == nil {
			return out, nil
		}
		job := &senderv1.MassJobRecord{}
		if err := proto.Unmarshal(entry.Value(), job); err != nil {
			return nil, fault.Errorf(fault.Permanent, "decode mass job: %w", err)
		}
		out = append(out, job)
	}
	return nil, fault.Wrap(fault.Unavailable, errors.Join(errors.New("list mass jobs: watch ended"), context.Cause(ctx)))
}
