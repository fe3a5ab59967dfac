package fan

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// markerLife is how long the mark of an erased record stays: its key names the fan. Every replica has seen it long before.
const markerLife = time.Minute

// Memory returns everything that is kept of a fan; what there is not stays unset.
func (s *Store) Memory(ctx context.Context, account, openid string) (*rulev1.GetFanMemoryResponse, error) {
	key, err := topology.FanKey(account, openid)
	if err != nil {
		return nil, err
	}
	record, form, chat := &rulev1.FanRecord{}, &rulev1.FormState{}, &rulev1.ChatHistory{}
	out := &rulev1.GetFanMemoryResponse{}
	for _, p := range []struct {
		kv   jetstream.KeyValue
		key  string
		into proto.Message
		set  func()
	}{
		{s.fans, key, record, func() { out.Record = record }},
		{s.dialogs, prefixForm + key, form, func() { out.Form = form }},
		{s.dialogs, prefixChat + key, chat, func() { out.Chat = chat }},
	} {
		found, err := s.read(ctx, p.kv, p.key, p.into)
		if err != nil {
			return nil, err
		}
		if found {
			p.set()
		}
	}
	return out, nil
}

// Erase erases everything that is kept of a fan and counts again. It may be called twice. The form comes last, also when
// there is none: its purge tells every replica to forget the fan, see follow.
func (s *Store) Erase(ctx context.Context, account, openid string) ([]*rulev1.ErasedMemory, error) {
	key, err := topology.FanKey(account, openid)
	if err != nil {
		return nil, err
	}
	var items []*rulev1.ErasedMemory
	for _, p := range []struct {
		place string
		kv    jetstream.KeyValue
		key   string
	}{
		{"bucket fans", s.fans, key},
		{"bucket dialogs (chat)", s.dialogs, prefixChat + key},
		{"bucket dialogs (form)", s.dialogs, prefixForm + key},
	} {
		item := &rulev1.ErasedMemory{Place: p.place}
		if item.Erased, err = stored(ctx, p.kv, p.key); err != nil {
			return nil, err
		}
		if err := p.kv.Purge(ctx, p.key, jetstream.PurgeTTL(markerLife)); err != nil {
			return nil, fault.Errorf(fault.Unavailable, "erase from bucket %s: %w", p.kv.Bucket(), err)
		}
		if item.Left, err = stored(ctx, p.kv, p.key); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	s.forget(key)
	return items, nil
}

// stored counts the values of a key.
func stored(ctx context.Context, kv jetstream.KeyValue, key string) (int64, error) {
	_, err := kv.Get(ctx, key)
	switch {
	case err == nil:
		return 1, nil
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, nil
	default:
		return 0, fault.Errorf(fault.Unavailable, "read bucket %s: %w", kv.Bucket(), err)
	}
}

// forget drops what this process remembers to have written about a fan: it would be taken for newer than what is gone.
func (s *Store) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.forms, key)
	delete(s.written, topology.BucketFans+key)
	delete(s.written, topology.BucketDialogs+prefixForm+key)
	delete(s.written, topology.BucketDialogs+prefixChat+key)
}
