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
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	kv, err := js.JetStream.KeyValue(ctx, bucket)
	if err != nil {
		return nil, err
	}
	return answeringBucket{kv}, nil
}

// answeringBucket bounds what is one request and one answer.
type answeringBucket struct{ jetstream.KeyValue }

func (b answeringBucket) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	return b.KeyValue.Get(ctx, key)
}

func (b answeringBucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	return b.KeyValue.Put(ctx, key, value)
}

func (b answeringBucket) Create(ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	return b.KeyValue.Create(ctx, key, value, opts...)
}

func (b answeringBucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	return b.KeyValue.Update(ctx, key, value, revision)
}

func (b answeringBucket) Delete(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	return b.KeyValue.Delete(ctx, key, opts...)
}

func (b answeringBucket) Purge(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	return b.KeyValue.Purge(ctx, key, opts...)
}
