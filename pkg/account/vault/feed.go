package vault

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

// Feed keeps a directory up to date with the bucket accounts. It is a lifecycle.Component.
type Feed struct {
	dir      *account.Directory
	sealer   *secret.Sealer
	log      *slog.Logger
	follower *bus.Follower

	mu      sync.Mutex // guards the fields below
	first   error      // what the first reading found
	started bool
}

// NewFeed returns a feed that does nothing before Start.
func NewFeed(kv jetstream.KeyValue, dir *account.Directory, sealer *secret.Sealer, log *slog.Logger) *Feed {
	f := &Feed{dir: dir, sealer: sealer, log: log}
	f.follower = bus.NewFollower(kv, log, f.take)
	return f
}

// Name implements lifecycle.Component.
func (*Feed) Name() string { return "accounts" }

// Start returns when the directory has every account of the bucket. It fails with Conflict when the
// configuration file names an account, or an AppID, that the API manages: somebody must decide.
// Records that cannot be read are logged and left out.
func (f *Feed) Start(ctx context.Context) error {
	if f.sealer == nil {
		return fault.New(fault.Invalid, "master_key: must be set: accounts are stored sealed")
	}
	if err := f.follower.Start(ctx); err != nil {
		return err
	}
	if clash := f.clash(); clash != nil {
		err := fault.Errorf(fault.Conflict, "the configuration file has accounts that are managed over the API; remove them from one of both: %w", clash)
		return errors.Join(err, f.follower.Stop(ctx))
	}
	return nil
}

// clash ends the first reading and returns what it found, when that is for a person to decide.
func (f *Feed) clash() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started = true
	if errors.Is(f.first, account.ErrClash) {
		return f.first
	}
	return nil
}

func (f *Feed) found(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.started {
		f.first = errors.Join(f.first, err)
	}
}

// Stop ends the watch and waits for it. The directory stays as it is.
func (f *Feed) Stop(ctx context.Context) error { return f.follower.Stop(ctx) }

func (f *Feed) take(entries []jetstream.KeyValueEntry) {
	updates := make([]account.Update, 0, len(entries))
	for _, e := range entries {
		if IsClaim(e.Key()) {
			continue
		}
		u, err := f.update(e)
		if err != nil {
			f.log.Error("account is not readable", logkey.Account, e.Key(), logkey.Error, err)
			continue
		}
		updates = append(updates, u)
	}
	err := f.dir.Apply(updates...)
	f.found(err)
	if err != nil {
		f.log.Error("accounts are left out", logkey.Error, err)
	}
}

func (f *Feed) update(e jetstream.KeyValueEntry) (account.Update, error) {
	u := account.Update{Name: e.Key()}
	if e.Operation() != jetstream.KeyValuePut {
		return u, nil
	}
	rec := &tokenv1.AccountRecord{}
	if err := Open(f.sealer, e.Key(), e.Value(), rec); err != nil {
		return u, err
	}
	if rec.GetSettings().GetName() != e.Key() {
		return u, fault.Errorf(fault.Permanent, "the record is of account %q", rec.GetSettings().GetName())
	}
	a := Account(rec, e.Revision())
	u.Account = &a
	return u, nil
}
