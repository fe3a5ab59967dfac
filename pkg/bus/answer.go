package bus

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// answering is a JetStream whose buckets do not wait for longer than AnswerTimeout.
type answering struct{ jetstream.JetStream }

func newJetStream(nc *nats.Conn) (jetstream.JetStream, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return answering{js}, nil
}

// KeyValue opens a bucket.
func (js answering) KeyValue(ctx context.Context, bucket string) (jetstream.KeyValue, error) {
	return bounded(ctx, func(ctx context.Context) (jetstream.KeyValue, error) {
		return answeringKV(js.JetStream.KeyValue(ctx, bucket))
	})
}

// CreateKeyValue makes a bucket.
func (js answering) CreateKeyValue(ctx context.Context, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	return bounded(ctx, func(ctx context.Context) (jetstream.KeyValue, error) {
		return answeringKV(js.JetStream.CreateKeyValue(ctx, cfg))
	})
}

// UpdateKeyValue changes the settings of a bucket.
func (js answering) UpdateKeyValue(ctx context.Context, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	return bounded(ctx, func(ctx context.Context) (jetstream.KeyValue, error) {
		return answeringKV(js.JetStream.UpdateKeyValue(ctx, cfg))
	})
}

// CreateOrUpdateKeyValue makes a bucket, or changes its settings.
func (js answering) CreateOrUpdateKeyValue(ctx context.Context, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	return bounded(ctx, func(ctx context.Context) (jetstream.KeyValue, error) {
		return answeringKV(js.JetStream.CreateOrUpdateKeyValue(ctx, cfg))
	})
}

func answeringKV(kv jetstream.KeyValue, err error) (jetstream.KeyValue, error) {
	if err != nil {
		return nil, err
	}
	return answeringBucket{kv}, nil
}

// bounded makes one request whose answer is waited for until ctx ends, at most AnswerTimeout.
func bounded[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	return request(ctx)
}

// answeringBucket bounds what is one request and one answer. The bucket is not embedded: a method that a newer
// client library adds must be written here, bounded or not, before this builds again.
type answeringBucket struct{ kv jetstream.KeyValue }

var _ jetstream.KeyValue = answeringBucket{}

func (b answeringBucket) Bucket() string { return b.kv.Bucket() }

func (b answeringBucket) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	return bounded(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return b.kv.Get(ctx, key) })
}

func (b answeringBucket) GetRevision(ctx context.Context, key string, revision uint64) (jetstream.KeyValueEntry, error) {
	return bounded(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) {
		return b.kv.GetRevision(ctx, key, revision)
	})
}

func (b answeringBucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return bounded(ctx, func(ctx context.Context) (uint64, error) { return b.kv.Put(ctx, key, value) })
}

func (b answeringBucket) PutString(ctx context.Context, key, value string) (uint64, error) {
	return bounded(ctx, func(ctx context.Context) (uint64, error) { return b.kv.PutString(ctx, key, value) })
}

func (b answeringBucket) Create(ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt) (uint64, error) {
	return bounded(ctx, func(ctx context.Context) (uint64, error) { return b.kv.Create(ctx, key, value, opts...) })
}

func (b answeringBucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return bounded(ctx, func(ctx context.Context) (uint64, error) { return b.kv.Update(ctx, key, value, revision) })
}

func (b answeringBucket) Delete(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	_, err := bounded(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.kv.Delete(ctx, key, opts...) })
	return err
}

func (b answeringBucket) Purge(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	_, err := bounded(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.kv.Purge(ctx, key, opts...) })
	return err
}

func (b answeringBucket) Status(ctx context.Context) (jetstream.KeyValueStatus, error) {
	return bounded(ctx, b.kv.Status)
}

// What follows reads many keys, or reads for as long as its caller wants: the time of its caller is the bound.

func (b answeringBucket) Watch(ctx context.Context, keys string, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	return b.kv.Watch(ctx, keys, opts...)
}

func (b answeringBucket) WatchAll(ctx context.Context, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	return b.kv.WatchAll(ctx, opts...)
}

func (b answeringBucket) WatchFiltered(ctx context.Context, keys []string, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	return b.kv.WatchFiltered(ctx, keys, opts...)
}

func (b answeringBucket) Keys(ctx context.Context, opts ...jetstream.WatchOpt) ([]string, error) {
	return b.kv.Keys(ctx, opts...)
}

func (b answeringBucket) ListKeys(ctx context.Context, opts ...jetstream.WatchOpt) (jetstream.KeyLister, error) {
	return b.kv.ListKeys(ctx, opts...)
}

func (b answeringBucket) ListKeysFiltered(ctx context.Context, filters ...string) (jetstream.KeyLister, error) {
	return b.kv.ListKeysFiltered(ctx, filters...)
}

func (b answeringBucket) History(ctx context.Context, key string, opts ...jetstream.WatchOpt) ([]jetstream.KeyValueEntry, error) {
	return b.kv.History(ctx, key, opts...)
}

func (b answeringBucket) PurgeDeletes(ctx context.Context, opts ...jetstream.KVPurgeOpt) error {
	return b.kv.PurgeDeletes(ctx, opts...)
}
