package publish

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/services/rule/internal/rest"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

// publishTries bounds how often a publication starts again because somebody else published.
const publishTries = 10

// compiledSuffix marks the object with the form that loads fast.
const compiledSuffix = ".compiled"

// Store reads and writes published sets. It is safe for concurrent use.
type Store struct {
	kv      jetstream.KeyValue
	objects jetstream.ObjectStore
	log     *slog.Logger
	now     func() time.Time
}

// Open finds the bucket and the object store, which are provisioned.
func Open(ctx context.Context, js jetstream.JetStream, log *slog.Logger, now func() time.Time) (*Store, error) {
	kv, err := js.KeyValue(ctx, topology.BucketRules)
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "open bucket %s: %w", topology.BucketRules, err)
	}
	objects, err := js.ObjectStore(ctx, topology.StoreRuleSets)
	if err != nil {
		return nil, fault.Errorf(fault.Unavailable, "open object store %s: %w", topology.StoreRuleSets, err)
	}
	return &Store{kv: kv, objects: objects, log: log, now: now}, nil
}

// Pointer returns the pointer and its revision, or NotFound before the first publication.
func (s *Store) Pointer(ctx context.Context) (Pointer, uint64, error) {
	entry, err := s.kv.Get(ctx, keyLive)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return Pointer{}, 0, fault.New(fault.NotFound, "no rules are published yet")
	case err != nil:
		return Pointer{}, 0, fault.Errorf(fault.Unavailable, "read the pointer to the live rules: %w", err)
	}
	p, err := decodePointer(entry.Value())
	return p, entry.Revision(), err
}

// Publication is what Publish is asked for.
type Publication struct {
	File   []byte
	Rules  *ruleset.File // parsed from File
	Note   string
	Source string
	// By is who publishes.
	By string
	// Expected, when set, must be the live version.
	Expected string
}

// Published is the live version after a publication or a roll-back.
type Published struct {
	Info      Info
	Unchanged bool
	Revision  uint64 // of the pointer
}

// Publish stores a set and makes it live. The same content as the live one changes nothing. It fails
// with Conflict when the live version is not the expected one.
func (s *Store) Publish(ctx context.Context, p Publication) (Published, error) {
	hash := sum(p.File)
	compiled, err := ruleset.Encode(p.Rules)
	if err != nil {
		return Published{}, fault.Wrap(fault.Internal, err)
	}
	for range publishTries {
		pointer, revision, err := s.Pointer(ctx)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return Published{}, err
		}
		live, _ := pointer.Find(pointer.Live)
		switch {
		case p.Expected != "" && p.Expected != pointer.Live:
			return Published{}, fault.Errorf(fault.Conflict, "the live rules are %q, not %q: read them again", pointer.Live, p.Expected)
		case live.SHA256 == hash:
			return Published{Info: live, Unchanged: true, Revision: revision}, nil
		}
		info := Info{
			Version: versionOf(hash, pointer.Sequence+1), SHA256: hash, Compiled: sum(compiled), Rules: p.Rules.Len(), Bytes: int64(len(p.File) + len(compiled)),
			Published: s.now().UTC(), Note: p.Note, Source: p.Source, By: p.By,
		}
		// Two replicas may publish the same file at the same moment, and give it the same version. Each has objects of
		// its own, so that the one that loses takes nothing away from the one that wins.
		info.Object = info.Version + "." + rand.Text()[:8]
		if err := s.put(ctx, info.Object, p.File, compiled); err != nil {
			return Published{}, err
		}
		next, dropped := pointer.with(info)
		at, err := s.point(ctx, next, revision)
		if fault.KindOf(err) == fault.Conflict && err != nil {
			s.forget(ctx, info)
			continue
		}
		if err != nil {
			return Published{}, err
		}
		s.forget(ctx, dropped...)
		return Published{Info: info, Revision: at}, nil
	}
	return Published{}, fault.New(fault.Conflict, "others keep publishing rules: try again")
}

// RollBack makes a kept version live again, in the name of by.
func (s *Store) RollBack(ctx context.Context, version, by string) (Published, error) {
	for range publishTries {
		pointer, revision, err := s.Pointer(ctx)
		if err != nil {
			return Published{}, err
		}
		info, ok := pointer.Find(version)
		if !ok {
			return Published{}, fault.Errorf(fault.NotFound, "rules %q are not kept", version)
		}
		if pointer.Live == version {
			return Published{Info: info, Unchanged: true, Revision: revision}, nil
		}
		pointer.Live, pointer.RolledBack = version, &RollBack{By: by, At: s.now().UTC()}
		at, err := s.point(ctx, pointer, revision)
		if err == nil {
			return Published{Info: info, Revision: at}, nil
		}
		if fault.KindOf(err) != fault.Conflict {
			return Published{}, err
		}
	}
	return Published{}, fault.New(fault.Conflict, "others keep publishing rules: try again")
}

// point writes the pointer if nobody did since revision.
func (s *Store) point(ctx context.Context, p Pointer, revision uint64) (uint64, error) {
	value, err := json.Marshal(p)
	if err != nil {
		return 0, fault.Errorf(fault.Internal, "encode the pointer to the live rules: %w", err)
	}
	if revision == 0 {
		revision, err = s.kv.Create(ctx, keyLive, value)
	} else {
		revision, err = s.kv.Update(ctx, keyLive, value, revision)
	}
	switch {
	case err == nil:
		return revision, nil
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return 0, fault.New(fault.Conflict, "somebody else published rules")
	default:
		return 0, fault.Errorf(fault.Unavailable, "write the pointer to the live rules: %w", err)
	}
}

// put stores both objects of a version.
func (s *Store) put(ctx context.Context, object string, file, compiled []byte) error {
	for name, content := range map[string][]byte{object: file, object + compiledSuffix: compiled} {
		if _, err := s.objects.PutBytes(ctx, name, content); err != nil {
			return fault.Errorf(fault.Unavailable, "store rules %s: %w", object, err)
		}
	}
	return nil
}

// forget deletes versions that nobody can roll back to. What cannot be deleted only takes room.
func (s *Store) forget(ctx context.Context, infos ...Info) {
	for _, info := range infos {
		for _, name := range []string{info.Object, info.Object + compiledSuffix} {
			if err := s.objects.Delete(ctx, name); err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
				s.log.Warn("old rules not deleted", logkey.RuleVersion, info.Version, logkey.Error, err)
			}
		}
	}
}

// File returns the rule file of a version. It fails with Permanent when it is not what was published.
func (s *Store) File(ctx context.Context, info Info) ([]byte, error) {
	file, hash, err := s.object(ctx, info.Object, nil)
	if err != nil {
		return nil, err
	}
	if hash != info.SHA256 {
		return nil, fault.Errorf(fault.Permanent, "rules %s are damaged: hash %s, want %s", info.Version, hash, info.SHA256)
	}
	return []byte(file), nil
}

// Rules returns the rules of a version.
func (s *Store) Rules(ctx context.Context, info Info) (*ruleset.File, error) {
	stored, err := s.stored(ctx, info, nil)
	if err != nil {
		return nil, err
	}
	return stored.File(), nil
}

// stored returns the rules of a version as they are stored: in the form that loads fast, or, when that is damaged or of
// another release, made of the rule file. It rests between its steps.
func (s *Store) stored(ctx context.Context, info Info, rests *rest.Rest) (*ruleset.Stored, error) {
	compiled, hash, err := s.object(ctx, info.Object+compiledSuffix, rests)
	if err == nil && hash == info.Compiled {
		if stored, err := ruleset.Open(compiled, rests); err == nil {
			return stored, nil
		}
	}
	file, err := s.File(ctx, info)
	if err != nil {
		return nil, err
	}
	rules, err := ruleset.Parse(file, ruleset.Options{})
	if err != nil {
		return nil, fault.Errorf(fault.Permanent, "rules %s cannot be read: %w", info.Version, err)
	}
	return ruleset.Store(rules)
}

// object reads an object whose digest NATS has checked, into one piece, and returns its hash.
func (s *Store) object(ctx context.Context, name string, rests *rest.Rest) (text, hash string, err error) {
	var content strings.Builder
	h := sha256.New()
	object, err := s.objects.Get(ctx, name)
	if err == nil {
		var info *jetstream.ObjectInfo
		if info, err = object.Info(); err == nil {
			content.Grow(int(min(info.Size, keptBytes)))
			err = copyGently(io.MultiWriter(&content, h), object, rests)
		}
		err = errors.Join(err, object.Close())
	}
	switch {
	case errors.Is(err, jetstream.ErrDigestMismatch):
		return "", "", fault.Errorf(fault.Permanent, "rules %s are damaged: %w", name, err)
	case err != nil:
		// Also when it is not found: a follower of the stream may not have it yet.
		return "", "", fault.Errorf(fault.Unavailable, "read rules %s: %w", name, err)
	}
	return content.String(), hex.EncodeToString(h.Sum(nil)), nil
}

// copyGently copies in steps and rests between them.
func copyGently(to io.Writer, from io.Reader, rests *rest.Rest) error {
	step := make([]byte, 32<<10)
	for {
		n, err := from.Read(step)
		if _, writeErr := to.Write(step[:n]); writeErr != nil {
			return writeErr
		}
		rests.Long()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
