package bus_test

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/topology"
)

// silent deletes a stream and leaves somebody on its subjects who never answers, like a leader that died with
// what was sent to it.
func silent(t *testing.T, e *bustest.Env, stream, subjects string) {
	t.Helper()
	require.NoError(t, e.JS.DeleteStream(t.Context(), stream))
	sub, err := e.Conn.NC().Subscribe(subjects, func(*nats.Msg) {})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	require.NoError(t, e.Conn.NC().Flush())
}

// patient is the context of a handler that has long to live.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	return ctx
}

// TestAnAnswerThatGotLostIsNotWaitedForUntilTheHandlerEnds: without its own bound each of these waits for an hour.
func TestAnAnswerThatGotLostIsNotWaitedForUntilTheHandlerEnds(t *testing.T) {
	t.Parallel()
	t.Run("publish", func(t *testing.T) {
		t.Parallel()
		eachPublisher(t, func(t *testing.T, e *bustest.Env, p publisher) {
			t.Parallel()
			silent(t, e, topology.StreamInbound, "wx.in.>")
			_, err := p.Publish(patient(t), bus.Msg{Subject: inbound(t, 0, "fan"), ID: "one", Data: []byte("lost")})
			require.ErrorIs(t, err, bus.ErrTimeout)
		})
	})
	t.Run("bucket", func(t *testing.T) {
		t.Parallel()
		e := bustest.Start(t)
		kv, err := e.Conn.JS().KeyValue(t.Context(), topology.BucketSends)
		require.NoError(t, err)
		silent(t, e, "KV_"+topology.BucketSends, "$KV."+topology.BucketSends+".>")
		writes := map[string]func(context.Context) error{
			"put":    func(ctx context.Context) error { _, err := kv.Put(ctx, "shop.one", []byte("lost")); return err },
			"create": func(ctx context.Context) error { _, err := kv.Create(ctx, "shop.two", []byte("lost")); return err },
			"update": func(ctx context.Context) error { _, err := kv.Update(ctx, "shop.two", []byte("lost"), 1); return err },
		}
		for name, write := range writes {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				require.ErrorIs(t, write(patient(t)), context.DeadlineExceeded)
			})
		}
	})
}

// unbounded are the methods of a bucket that read many keys, or for as long as their caller wants.
var unbounded = []string{"Watch", "WatchAll", "WatchFiltered", "Keys", "ListKeys", "ListKeysFiltered", "History", "PurgeDeletes"}

// TestEveryRequestOfABucketIsBounded calls every method there is: one that a newer client library adds is called too.
func TestEveryRequestOfABucketIsBounded(t *testing.T) {
	t.Parallel()
	inner := new(deadlines)
	outer := reflect.ValueOf(bus.Answering(inner))
	begun := time.Now()
	for method := range reflect.TypeFor[jetstream.KeyValue]().Methods() {
		name, in := method.Name, method.Type
		if in.NumIn() == 0 {
			continue // asks nobody
		}
		inner.at = time.Time{}
		args := []reflect.Value{reflect.ValueOf(patient(t))}
		for i := 1; i < in.NumIn(); i++ {
			if !in.IsVariadic() || i < in.NumIn()-1 {
				args = append(args, reflect.Zero(in.In(i)))
			}
		}
		outer.MethodByName(name).Call(args)
		require.NotZero(t, inner.at, "%s reached the bucket", name)
		long := inner.at.After(begun.Add(30 * time.Minute))
		require.Equal(t, slices.Contains(unbounded, name), long, "%s waits for as long as its caller lives", name)
	}
}

// deadlines is a bucket that writes down until when its caller would wait.
type deadlines struct {
	jetstream.KeyValue
	at time.Time
}

func (d *deadlines) see(ctx context.Context) { d.at, _ = ctx.Deadline() }

func (d *deadlines) Get(ctx context.Context, _ string) (jetstream.KeyValueEntry, error) {
	d.see(ctx)
	return nil, nil
}

func (d *deadlines) GetRevision(ctx context.Context, _ string, _ uint64) (jetstream.KeyValueEntry, error) {
	d.see(ctx)
	return nil, nil
}

func (d *deadlines) Put(ctx context.Context, _ string, _ []byte) (uint64, error) {
	d.see(ctx)
	return 0, nil
}

func (d *deadlines) PutString(ctx context.Context, _, _ string) (uint64, error) {
	d.see(ctx)
	return 0, nil
}

func (d *deadlines) Create(ctx context.Context, _ string, _ []byte, _ ...jetstream.KVCreateOpt) (uint64, error) {
	d.see(ctx)
	return 0, nil
}

func (d *deadlines) Update(ctx context.Context, _ string, _ []byte, _ uint64) (uint64, error) {
	d.see(ctx)
	return 0, nil
}

func (d *deadlines) Delete(ctx context.Context, _ string, _ ...jetstream.KVDeleteOpt) error {
	d.see(ctx)
	return nil
}

func (d *deadlines) Purge(ctx context.Context, _ string, _ ...jetstream.KVDeleteOpt) error {
	d.see(ctx)
	return nil
}

func (d *deadlines) Watch(ctx context.Context, _ string, _ ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	d.see(ctx)
	return nil, nil
}

func (d *deadlines) WatchAll(ctx context.Context, _ ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	d.see(ctx)
	return nil, nil
}

func (d *deadlines) WatchFiltered(ctx context.Context, _ []string, _ ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	d.see(ctx)
	return nil, nil
}

func (d *deadlines) Keys(ctx context.Context, _ ...jetstream.WatchOpt) ([]string, error) {
	d.see(ctx)
	return nil, nil
}

func (d *deadlines) ListKeys(ctx context.Context, _ ...jetstream.WatchOpt) (jetstream.KeyLister, error) {
	d.see(ctx)
	return nil, nil
}

func (d *deadlines) ListKeysFiltered(ctx context.Context, _ ...string) (jetstream.KeyLister, error) {
	d.see(ctx)
	return nil, nil
}

func (d *deadlines) History(ctx context.Context, _ string, _ ...jetstream.WatchOpt) ([]jetstream.KeyValueEntry, error) {
	d.see(ctx)
	return nil, nil
}

func (d *deadlines) PurgeDeletes(ctx context.Context, _ ...jetstream.KVPurgeOpt) error {
	d.see(ctx)
	return nil
}

func (d *deadlines) Status(ctx context.Context) (jetstream.KeyValueStatus, error) {
	d.see(ctx)
	return nil, nil
}

// TestEveryWayToABucketGivesABoundedOne names the methods of JetStream that hand out a bucket, so that a new one is seen.
func TestEveryWayToABucketGivesABoundedOne(t *testing.T) {
	t.Parallel()
	e := bustest.Start(t)
	cfg := jetstream.KeyValueConfig{Bucket: "one"}
	ways := map[string]func(jetstream.JetStream) (jetstream.KeyValue, error){
		"KeyValue": func(js jetstream.JetStream) (jetstream.KeyValue, error) {
			return js.KeyValue(t.Context(), topology.BucketSends)
		},
		"CreateKeyValue": func(js jetstream.JetStream) (jetstream.KeyValue, error) { return js.CreateKeyValue(t.Context(), cfg) },
		"UpdateKeyValue": func(js jetstream.JetStream) (jetstream.KeyValue, error) { return js.UpdateKeyValue(t.Context(), cfg) },
		"CreateOrUpdateKeyValue": func(js jetstream.JetStream) (jetstream.KeyValue, error) {
			return js.CreateOrUpdateKeyValue(t.Context(), cfg)
		},
	}
	for m := range reflect.TypeFor[jetstream.JetStream]().Methods() {
		if m.Type.NumOut() > 0 && m.Type.Out(0) == reflect.TypeFor[jetstream.KeyValue]() {
			require.Contains(t, ways, m.Name)
		}
	}
	for _, name := range []string{"KeyValue", "CreateKeyValue", "UpdateKeyValue", "CreateOrUpdateKeyValue"} {
		kv, err := ways[name](e.Conn.JS())
		require.NoError(t, err, name)
		require.IsType(t, bus.Answering(nil), kv, name)
	}
}
