package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account/vault"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
)

const (
	// claimVoid is how long a claim counts whose account does not exist; createTime, in which an account is
	// created or not, is shorter.
	claimVoid  = time.Minute
	createTime = 20 * time.Second

	defaultOverlap         = 24 * time.Hour
	minOverlap, maxOverlap = time.Minute, 30 * 24 * time.Hour
	maxReason              = 200
)

// Create adds an account. It fails with Conflict when the name or the AppID is taken.
func (s *Store) Create(ctx context.Context, actor string, req *tokenv1.CreateAccountRequest) (*tokenv1.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, createTime)
	defer cancel()
	now := s.Now().UnixMilli()
	rec := &tokenv1.AccountRecord{
		Settings: proto.CloneOf(req.GetSettings()), Secrets: proto.CloneOf(req.GetSecrets()), Disabled: req.GetDisabled(),
		CreatedUnixMs: now, CreatedBy: actor, UpdatedUnixMs: now, UpdatedBy: actor,
	}
	if rec.Settings == nil {
		rec.Settings = &tokenv1.AccountSettings{}
	}
	if rec.Secrets == nil {
		rec.Secrets = &tokenv1.AccountSecrets{}
	}
	a := vault.Account(rec, 1)
	if err := a.Validate(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	if present, ok := s.Dir.Get(a.Name); ok {
		return nil, fault.Errorf(fault.Conflict, "name: account %s exists%s", a.Name, ofFile(present.FromFile()))
	}
	if present, ok := s.Dir.ByAppID(a.AppID); ok {
		return nil, fault.Errorf(fault.Conflict, "appid: account %s has it%s", present.Name, ofFile(present.FromFile()))
	}
	if err := s.claim(ctx, a.AppID, a.Name); err != nil {
		return nil, err
	}
	if err := s.forget(ctx, a.Name); err != nil { // of an account that had this name
		return nil, err
	}
	written, err := s.write(ctx, rec, 0)
	if errors.Is(err, errLost) {
		return nil, fault.Errorf(fault.Conflict, "name: account %s exists", a.Name)
	}
	if err != nil {
		return nil, err
	}
	s.Log.InfoContext(ctx, "account created", logkey.Account, a.Name, "actor", actor, "revision", written.revision)
	return s.view(written), nil
}

func ofFile(yes bool) string {
	if yes {
		return " in the configuration file"
	}
	return ""
}

// claim makes sure that no other account gets the AppID.
func (s *Store) claim(ctx context.Context, appID, name string) error {
	key := vault.ClaimKey(appID)
	box, err := vault.Seal(s.Sealer, key, &tokenv1.AppIDClaim{Account: name, ClaimedUnixMs: s.Now().UnixMilli()})
	if err != nil {
		return err
	}
	_, err = bus.UpdateKVBytes(ctx, s.KV, key, func(cur []byte, exists bool) ([]byte, error) {
		if !exists {
			return box, nil
		}
		held := &tokenv1.AppIDClaim{}
		if err := vault.Open(s.Sealer, key, cur, held); err != nil {
			return nil, err
		}
		return box, s.free(ctx, held, appID, name)
	})
	return err
}

// free tells whether a claim may be taken over by the account: when the one that made it was never
// created, or is gone.
func (s *Store) free(ctx context.Context, held *tokenv1.AppIDClaim, appID, name string) error {
	if held.GetAccount() == name {
		return nil
	}
	holder, err := s.load(ctx, held.GetAccount())
	switch kind := fault.KindOf(err); {
	case err == nil && holder.rec.GetSettings().GetAppid() == appID:
		return fault.Errorf(fault.Conflict, "appid: account %s has it", held.GetAccount())
	case err != nil && kind != fault.NotFound && kind != fault.Refused:
		return err
	case s.Now().Sub(time.UnixMilli(held.GetClaimedUnixMs())) < claimVoid:
		return fault.Errorf(fault.Conflict, "appid: account %s is being created with it", held.GetAccount())
	}
	return nil
}

// Update changes the settings that the mask names.
func (s *Store) Update(ctx context.Context, actor string, req *tokenv1.UpdateAccountRequest) (*tokenv1.Account, error) {
	if len(req.GetUpdateMask().GetPaths()) == 0 {
		return nil, fault.New(fault.Invalid, "update_mask: must name the fields to change")
	}
	return s.change(ctx, actor, "settings", req.GetAccount(), req.GetExpectedRevision(), func(rec *tokenv1.AccountRecord) error {
		to, from := rec.GetSettings().ProtoReflect(), req.GetSettings().ProtoReflect()
		before := proto.CloneOf(rec.GetSettings())
		for _, path := range req.GetUpdateMask().GetPaths() {
			field := to.Descriptor().Fields().ByName(protoreflect.Name(path))
			switch {
			case field == nil:
				return fault.Errorf(fault.Invalid, "update_mask: %q is no field of settings", path)
			case path == "name" || path == "appid":
				return fault.Errorf(fault.Invalid, "update_mask: %s never changes; create another account", path)
			case from.Has(field):
				to.Set(field, from.Get(field))
			default:
				to.Clear(field)
			}
		}
		if proto.Equal(before, rec.GetSettings()) {
			return bus.ErrUnchanged
		}
		return nil
	})
}

// Disable stops an account; Enable undoes it.
func (s *Store) Disable(ctx context.Context, actor string, req *tokenv1.DisableAccountRequest) (*tokenv1.Account, error) {
	if len(req.GetReason()) > maxReason {
		return nil, fault.Errorf(fault.Invalid, "reason: must be at most %d bytes", maxReason)
	}
	return s.switchTo(ctx, actor, req.GetAccount(), req.GetExpectedRevision(), true, req.GetReason())
}

// Enable undoes Disable.
func (s *Store) Enable(ctx context.Context, actor string, req *tokenv1.EnableAccountRequest) (*tokenv1.Account, error) {
	return s.switchTo(ctx, actor, req.GetAccount(), req.GetExpectedRevision(), false, "")
}

func (s *Store) switchTo(ctx context.Context, actor, name string, expected uint64, disabled bool, reason string) (*tokenv1.Account, error) {
	what := map[bool]string{true: "disable", false: "enable"}[disabled]
	return s.change(ctx, actor, what, name, expected, func(rec *tokenv1.AccountRecord) error {
		if rec.GetDisabled() == disabled && rec.GetDisabledReason() == reason {
			return bus.ErrUnchanged
		}
		rec.Disabled, rec.DisabledReason = disabled, reason
		return nil
	})
}

// Rotate makes new keys current and keeps the old ones as previous ones until the overlap ends. The same
// rotation again changes nothing.
func (s *Store) Rotate(ctx context.Context, actor string, req *tokenv1.RotateCallbackKeysRequest) (*tokenv1.Account, error) {
	overlap := defaultOverlap
	if req.GetOverlap() != nil {
		overlap = req.GetOverlap().AsDuration()
	}
	switch {
	case req.GetToken() == "" && req.GetEncodingAesKey() == "":
		return nil, fault.New(fault.Invalid, "token, encoding_aes_key: one of both must be set")
	case overlap < minOverlap || overlap > maxOverlap:
		return nil, fault.Errorf(fault.Invalid, "overlap: must be %s to %s", minOverlap, maxOverlap)
	}
	return s.change(ctx, actor, "rotate keys", req.GetAccount(), req.GetExpectedRevision(), func(rec *tokenv1.AccountRecord) error {
		now, k := s.Now(), rec.GetSecrets()
		newToken := req.GetToken() != "" && req.GetToken() != k.GetToken()
		newKey := req.GetEncodingAesKey() != "" && req.GetEncodingAesKey() != k.GetEncodingAesKey()
		if !newToken && !newKey {
			return bus.ErrUnchanged
		}
		if until, ok := vault.PreviousUntil(rec); ok && until.After(now) && !req.GetReplacePrevious() {
			return fault.Errorf(fault.Refused, "the keys before the present ones are still accepted until %s; wait, or give them up with replace_previous",
				until.UTC().Format(time.RFC3339))
		}
		dropPrevious(rec)
		if newToken {
			k.PreviousToken, k.Token = k.GetToken(), req.GetToken()
		}
		if newKey {
			k.PreviousEncodingAesKey, k.EncodingAesKey = k.GetEncodingAesKey(), req.GetEncodingAesKey()
		}
		rec.PreviousUntilUnixMs = now.Add(overlap).UnixMilli()
		return nil
	})
}

// SetAppSecret replaces the AppSecret.
func (s *Store) SetAppSecret(ctx context.Context, actor string, req *tokenv1.SetAppSecretRequest) (*tokenv1.Account, error) {
	return s.change(ctx, actor, "app secret", req.GetAccount(), req.GetExpectedRevision(), func(rec *tokenv1.AccountRecord) error {
		if rec.GetSecrets().GetAppSecret() == req.GetAppSecret() {
			return bus.ErrUnchanged
		}
		rec.Secrets.AppSecret = req.GetAppSecret()
		return nil
	})
}

// Delete removes a disabled account with everything that belongs to it. The record goes after the tokens, so
// that a deletion that failed half way can be made again.
func (s *Store) Delete(ctx context.Context, actor string, req *tokenv1.DeleteAccountRequest) error {
	name := req.GetAccount()
	cur, err := s.load(ctx, name)
	if err != nil {
		return err
	}
	switch {
	case req.GetExpectedRevision() != 0 && req.GetExpectedRevision() != cur.revision:
		return fault.Errorf(fault.Conflict, "account %s has revision %d by now", name, cur.revision)
	case !cur.rec.GetDisabled():
		return fault.Errorf(fault.Refused, "account %s is in use: disable it first", name)
	}
	if err := s.forget(ctx, name); err != nil {
		return err
	}
	err = s.KV.Purge(ctx, name, jetstream.LastRevision(cur.revision))
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return errLost
	}
	if err == nil {
		err = s.KV.Purge(ctx, vault.ClaimKey(cur.rec.GetSettings().GetAppid()))
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("delete account %s: %w", name, err))
	}
	s.Log.InfoContext(ctx, "account deleted", logkey.Account, name, "actor", actor)
	return nil
}

// forget deletes what belongs to an account beside its record.
func (s *Store) forget(ctx context.Context, name string) error {
	for _, b := range s.Belongings {
		for _, key := range b.Keys(name) {
			_, err := b.KV.Get(ctx, key)
			if errors.Is(err, jetstream.ErrKeyNotFound) {
				continue
			}
			if err == nil {
				err = b.KV.Purge(ctx, key)
			}
			if err != nil {
				return fault.Wrap(fault.Unavailable, fmt.Errorf("delete %s of account %s: %w", b.KV.Bucket(), name, err))
			}
		}
	}
	return nil
}

// Reseal seals everything again that was sealed with a previous master key.
func (s *Store) Reseal(ctx context.Context, actor string) (*tokenv1.ResealAccountsResponse, error) {
	out := &tokenv1.ResealAccountsResponse{}
	buckets := []jetstream.KeyValue{s.KV}
	for _, b := range s.Belongings {
		if b.Sealed {
			buckets = append(buckets, b.KV)
		}
	}
	for _, kv := range buckets {
		if err := s.reseal(ctx, kv, out); err != nil {
			return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("reseal bucket %s: %w", kv.Bucket(), err))
		}
	}
	s.Log.InfoContext(ctx, "accounts and tokens resealed", "actor", actor,
		"resealed", out.GetResealed(), "current", out.GetCurrent(), "unreadable", len(out.GetUnreadable()))
	return out, nil
}

func (s *Store) reseal(ctx context.Context, kv jetstream.KeyValue, out *tokenv1.ResealAccountsResponse) error {
	keys, err := kv.ListKeys(ctx)
	if err != nil {
		return err
	}
	defer keys.Stop() //nolint:errcheck // it ends by itself at the end of the list
	for key := range keys.Keys() {
		current := false
		_, err := bus.UpdateKVBytes(ctx, kv, key, func(cur []byte, exists bool) ([]byte, error) {
			if current = !exists || s.Sealer.Current(cur); current {
				return nil, bus.ErrUnchanged
			}
			return vault.Reseal(s.Sealer, kv.Bucket(), key, cur)
		})
		switch {
		case fault.KindOf(err) == fault.Permanent:
			out.Unreadable = append(out.Unreadable, kv.Bucket()+"/"+key)
		case err != nil:
			return err
		case current:
			out.Current++
		default:
			out.Resealed++
		}
	}
	return nil
}
