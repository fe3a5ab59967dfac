package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/fault"
)

// ErrUnchanged is returned by the change function of UpdateKV to stop without a write; UpdateKV then
// returns the present value and no error.
var ErrUnchanged = errors.New("unchanged")

// casTries bounds how often a lost compare-and-set is repeated.
const casTries = 16

// UpdateKV reads a key, applies change and writes the result if nobody wrote in between, else starts
// again, at most 16 times. change gets an empty message and false when there is no value; it may be
// called more than once and must have no effect of its own. Its errors are returned as they are.
// The result is the value and revision that are stored now. A loss every time is a Conflict.
func UpdateKV[T proto.Message](ctx context.Context, kv jetstream.KeyValue, key string, change func(cur T, exists bool) (T, error)) (T, uint64, error) {
	var result T
	revision, err := UpdateKVBytes(ctx, kv, key, func(data []byte, exists bool) ([]byte, error) {
		var zero T
		cur := zero.ProtoReflect().Type().New().Interface().(T)
		if err := proto.Unmarshal(data, cur); err != nil {
			return nil, fault.Errorf(fault.Permanent, "decode %s: %w", kv.Bucket(), err)
		}
		result = cur
		next, err := change(cur, exists)
		if err != nil {
			return nil, err
		}
		result = next
		out, err := proto.Marshal(next)
		if err != nil {
			return nil, fault.Errorf(fault.Internal, "encode %s: %w", kv.Bucket(), err)
		}
		return out, nil
	})
	if err != nil {
		var zero T
		return zero, 0, err
	}
	return result, revision, nil
}

// UpdateKVBytes is UpdateKV for values that are no plain protobuf, such as sealed ones.
func UpdateKVBytes(ctx context.Context, kv jetstream.KeyValue, key string, change func(cur []byte, exists bool) ([]byte, error)) (uint64, error) {
	for try := 1; ; try++ {
		revision, err := updateOnce(ctx, kv, key, change)
		if err == nil || !errors.Is(err, ErrWrongSequence) {
			return revision, err
		}
		if try == casTries {
			return 0, fault.Errorf(fault.Conflict, "update key in %s: lost %d times: %w", kv.Bucket(), try, err)
		}
		select {
		case <-ctx.Done():
			return 0, fault.Errorf(fault.Unavailable, "update key in %s: %w", kv.Bucket(), ctx.Err())
		case <-time.After(rand.N(time.Duration(try) * 4 * time.Millisecond)): //nolint:gosec // jitter is no secret
		}
	}
}

func updateOnce(ctx context.Context, kv jetstream.KeyValue, key string, change func([]byte, bool) ([]byte, error)) (uint64, error) {
	var data []byte
	var revision uint64
	entry, err := kv.Get(ctx, key)
	exists := err == nil
	switch {
	case exists:
		data, revision = entry.Value(), entry.Revision()
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, kvFault(kv, err)
	}
	next, err := change(data, exists)
	if errors.Is(err, ErrUnchanged) {
		return revision, nil
	}
	if err != nil {
		return 0, err
	}
	if exists {
		revision, err = kv.Update(ctx, key, next, revision)
	} else {
		revision, err = kv.Create(ctx, key, next)
	}
	return revision, kvFault(kv, err)
}

// kvFault gives errors of a bucket their kind; a lost compare-and-set becomes ErrWrongSequence.
func kvFault(kv jetstream.KeyValue, err error) error {
	if err == nil {
		return nil
	}
	// Replicated streams report a conflict under another code than single ones.
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return fault.Wrap(fault.Conflict, &publishError{sentinel: ErrWrongSequence, cause: err})
	}
	if errors.Is(err, jetstream.ErrInvalidKey) {
		return fault.Errorf(fault.Invalid, "key in %s: %w", kv.Bucket(), err)
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return apiFault(api)
	}
	return fault.Errorf(fault.KindOf(transportFault(err)), "bucket %s: %w", kv.Bucket(), transportFault(err))
}
