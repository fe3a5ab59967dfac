// Package fan keeps what rules know about fans: tags, since when they follow, cool-downs, the form that they are
// in, and what they said to a chat model.
//
// Everything is in two buckets that only the rule service writes. A change belongs to a decision: it is applied by
// compare-and-set, once for each event, however often the event is handled. Within a lane the events of a fan are
// handled one after the other, so what one decision changes the next one sees.
package fan

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// Bounds of what is kept about one fan.
const (
	maxTags      = 64
	maxCooldowns = 64
	maxApplied   = 16
	maxTurns     = 20
	maxTurnBytes = 2047 // of a question or an answer
	// keptWrites bounds the records that this process remembers to have written: a read that is served by a
	// follower of the stream may be older.
	keptWrites = 4096
)

const (
	prefixForm   = "form."
	prefixChat   = "chat."
	prefixTokens = "tokens."
)

// Store reads and changes what is kept. It is safe for concurrent use.
type Store struct {
	log     *slog.Logger
	fans    jetstream.KeyValue
	dialogs jetstream.KeyValue

	mu      sync.Mutex          // guards the fields below
	forms   map[string]struct{} // fans with an open form, by key
	written map[string]written  // last writes of this process
	ring    []string            // keys of written in the order in which they came, from next
	next    int

	follower *bus.Follower // nil until Start
}

// written is a value that this process wrote.
type written struct {
	revision uint64
	value    []byte
}

// New returns a store that knows nothing until Start.
func New(log *slog.Logger) *Store {
	return &Store{log: log, forms: map[string]struct{}{}, written: map[string]written{}, ring: make([]string, keptWrites)}
}

// Start returns when every open form is known.
func (s *Store) Start(ctx context.Context, js jetstream.JetStream) error {
	var err error
	if s.fans, err = js.KeyValue(ctx, topology.BucketFans); err != nil {
		return fault.Errorf(fault.Unavailable, "open bucket %s: %w", topology.BucketFans, err)
	}
	if s.dialogs, err = js.KeyValue(ctx, topology.BucketDialogs); err != nil {
		return fault.Errorf(fault.Unavailable, "open bucket %s: %w", topology.BucketDialogs, err)
	}
	s.follower = bus.NewFollower(s.dialogs, s.log, s.follow).Only(prefixForm+">", jetstream.MetaOnly())
	return s.follower.Start(ctx)
}

// Stop ends the watch and waits for it, until ctx ends. It may be called twice and without Start.
func (s *Store) Stop(ctx context.Context) error {
	if s.follower == nil {
		return nil
	}
	return s.follower.Stop(ctx)
}

// follow notes who is in a form, and who was erased.
func (s *Store) follow(entries []jetstream.KeyValueEntry) {
	for _, entry := range entries {
		key := strings.TrimPrefix(entry.Key(), prefixForm)
		if entry.Operation() == jetstream.KeyValuePurge {
			s.forget(key)
			continue
		}
		s.note(key, entry.Operation() == jetstream.KeyValuePut)
	}
}

func (s *Store) note(key string, inForm bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if inForm {
		s.forms[key] = struct{}{}
		return
	}
	delete(s.forms, key)
}

// Get returns what is known about a fan; an empty record when that is nothing.
func (s *Store) Get(ctx context.Context, account, openid string) (*rulev1.FanRecord, error) {
	key, err := topology.FanKey(account, openid)
	if err != nil {
		return nil, err
	}
	record := &rulev1.FanRecord{}
	_, err = s.read(ctx, s.fans, key, record)
	return record, err
}

// Form returns the open form of a fan, or nil. It reads only for fans who are in one.
func (s *Store) Form(ctx context.Context, account, openid string) (*rulev1.FormState, error) {
	key, err := topology.FanKey(account, openid)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	_, open := s.forms[key]
	s.mu.Unlock()
	if !open {
		return nil, nil
	}
	state := &rulev1.FormState{}
	found, err := s.read(ctx, s.dialogs, prefixForm+key, state)
	if err != nil || !found {
		return nil, err
	}
	return state, nil
}

// History returns the newest turns of a fan with the model of a rule that are not older than a time, oldest first.
func (s *Store) History(ctx context.Context, account, openid, rule string, since time.Time, most int) ([]*rulev1.ChatTurn, error) {
	key, err := topology.FanKey(account, openid)
	if err != nil || most == 0 {
		return nil, err
	}
	history := &rulev1.ChatHistory{}
	if _, err := s.read(ctx, s.dialogs, prefixChat+key, history); err != nil {
		return nil, err
	}
	turns := slices.DeleteFunc(history.GetTurns(), func(t *rulev1.ChatTurn) bool {
		return t.GetRule() != rule || t.GetAtUnixMs() < since.UnixMilli()
	})
	return turns[max(len(turns)-most, 0):], nil
}

// read reads a value, or the one that this process wrote when that is newer. It returns false when there is none.
func (s *Store) read(ctx context.Context, kv jetstream.KeyValue, key string, into proto.Message) (bool, error) {
	entry, err := kv.Get(ctx, key)
	var data []byte
	var revision uint64
	switch {
	case err == nil:
		data, revision = entry.Value(), entry.Revision()
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return false, fault.Errorf(fault.Unavailable, "read bucket %s: %w", kv.Bucket(), err)
	}
	s.mu.Lock()
	if own, ok := s.written[kv.Bucket()+key]; ok && own.revision > revision {
		data = own.value
	}
	s.mu.Unlock()
	if data == nil {
		return false, nil
	}
	if err := proto.Unmarshal(data, into); err != nil {
		// A record that cannot be read is one about whom nothing is known: the fan must be answered all the same.
		s.log.ErrorContext(ctx, "what is kept about a fan cannot be read", "bucket", kv.Bucket(), "revision", revision, logkey.Error, err)
		proto.Reset(into)
		return false, nil
	}
	return true, nil
}

// remember keeps a write of this process; nil is a deletion, after which nothing has to be remembered but that.
func (s *Store) remember(bucket, key string, revision uint64, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key = bucket + key
	if _, known := s.written[key]; !known {
		delete(s.written, s.ring[s.next])
		s.ring[s.next] = key
		s.next = (s.next + 1) % len(s.ring)
	}
	s.written[key] = written{revision, value}
}

// Apply makes the changes of a decision. It may be called again: what was applied stays as it is. It fails with
// Unavailable when nobody knows whether it was applied.
func (s *Store) Apply(ctx context.Context, rec *rulev1.DecisionMade, now time.Time) error {
	key, err := topology.FanKey(rec.GetAccount(), rec.GetOpenid())
	if err != nil {
		return err
	}
	return errors.Join(s.applyRecord(ctx, key, rec, now), s.applyForm(ctx, key, rec), s.applyTurn(ctx, key, rec))
}

func (s *Store) applyRecord(ctx context.Context, key string, rec *rulev1.DecisionMade, now time.Time) error {
	c := rec.GetFan()
	if len(rec.GetTags())+len(rec.GetClearTags()) == 0 && c.GetCooldown() == "" && c.GetLanguage() == "" &&
		c.GetSubscribedUnixS() == 0 && !c.GetUnsubscribed() {
		return nil
	}
	record, revision, err := bus.UpdateKV(ctx, s.fans, key, func(record *rulev1.FanRecord, exists bool) (*rulev1.FanRecord, error) {
		if slices.Contains(record.GetApplied(), rec.GetId()) {
			return nil, bus.ErrUnchanged
		}
		change(record, rec, now)
		if !exists && blank(record) {
			return nil, bus.ErrUnchanged // a fan who left and may be erased already gets no record by that
		}
		return record, nil
	})
	if err != nil {
		return err
	}
	if record != nil {
		return s.rememberMessage(topology.BucketFans, key, revision, record)
	}
	return nil
}

// change applies a decision to a record.
func change(record *rulev1.FanRecord, rec *rulev1.DecisionMade, now time.Time) {
	c := rec.GetFan()
	tags := slices.DeleteFunc(record.GetTags(), func(tag string) bool { return slices.Contains(rec.GetClearTags(), tag) })
	for _, tag := range rec.GetTags() {
		if !slices.Contains(tags, tag) && len(tags) < maxTags {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	record.Tags = tags
	if c.GetLanguage() != "" {
		record.Language = c.GetLanguage()
	}
	switch {
	case c.GetUnsubscribed():
		record.SubscribedUnixS = 0
	case c.GetSubscribedUnixS() > 0:
		record.SubscribedUnixS = c.GetSubscribedUnixS()
	}
	if c.GetCooldown() != "" {
		cool(record, c, now)
	}
	record.Applied = append(record.GetApplied(), rec.GetId())
	record.Applied = record.Applied[max(len(record.Applied)-maxApplied, 0):]
}

// blank tells whether a record says nothing about the fan.
func blank(record *rulev1.FanRecord) bool {
	return len(record.GetTags()) == 0 && len(record.GetCooldowns()) == 0 && record.GetLanguage() == "" && record.GetSubscribedUnixS() == 0
}

// cool starts a cool-down, and forgets those that are over, or the ones that end first when there are too many.
func cool(record *rulev1.FanRecord, c *rulev1.FanChange, now time.Time) {
	if record.Cooldowns == nil {
		record.Cooldowns = map[string]int64{}
	}
	maps.DeleteFunc(record.Cooldowns, func(_ string, until int64) bool { return until <= now.UnixMilli() })
	record.Cooldowns[c.GetCooldown()] = max(c.GetCooldownUntilUnixMs(), record.Cooldowns[c.GetCooldown()])
	if over := len(record.Cooldowns) - maxCooldowns; over > 0 {
		names := slices.SortedFunc(maps.Keys(record.Cooldowns), func(a, b string) int {
			return cmp.Or(cmp.Compare(record.Cooldowns[a], record.Cooldowns[b]), cmp.Compare(a, b))
		})
		for _, name := range names[:over] {
			delete(record.Cooldowns, name)
		}
	}
}

// applyForm stores where the fan is in a form. A repetition stores the same again: the lane of the fan lets no later
// decision come in between.
func (s *Store) applyForm(ctx context.Context, key string, rec *rulev1.DecisionMade) error {
	c := rec.GetFan()
	switch {
	case c.GetForm() != nil:
		state, revision, err := bus.UpdateKV(ctx, s.dialogs, prefixForm+key, func(*rulev1.FormState, bool) (*rulev1.FormState, error) {
			return c.GetForm(), nil
		})
		if err != nil {
			return err
		}
		s.note(key, true)
		return s.rememberMessage(topology.BucketDialogs, prefixForm+key, revision, state)
	case c.GetFormEnded(), c.GetUnsubscribed():
		return s.remove(ctx, prefixForm+key)
	default:
		return nil
	}
}

// remove deletes a dialog.
func (s *Store) remove(ctx context.Context, key string) error {
	if form, ok := strings.CutPrefix(key, prefixForm); ok {
		s.mu.Lock()
		_, open := s.forms[form]
		s.mu.Unlock()
		if !open {
			return nil
		}
	}
	if err := s.dialogs.Delete(ctx, key); err != nil {
		return fault.Errorf(fault.Unavailable, "delete from bucket %s: %w", topology.BucketDialogs, err)
	}
	s.mu.Lock()
	delete(s.written, topology.BucketDialogs+key)
	s.mu.Unlock()
	if form, ok := strings.CutPrefix(key, prefixForm); ok {
		s.note(form, false)
	}
	return nil
}

// applyTurn adds a turn to the history of the fan, and forgets it when the fan unfollows.
func (s *Store) applyTurn(ctx context.Context, key string, rec *rulev1.DecisionMade) error {
	turn := rec.GetFan().GetTurn()
	switch {
	case rec.GetFan().GetUnsubscribed():
		return s.remove(ctx, prefixChat+key)
	case turn == nil:
		return nil
	}
	history, revision, err := bus.UpdateKV(ctx, s.dialogs, prefixChat+key, func(history *rulev1.ChatHistory, _ bool) (*rulev1.ChatHistory, error) {
		if slices.ContainsFunc(history.GetTurns(), func(t *rulev1.ChatTurn) bool { return t.GetEventId() == turn.GetEventId() }) {
			return nil, bus.ErrUnchanged
		}
		bounded := proto.CloneOf(turn)
		bounded.Question, bounded.Answer = head(turn.GetQuestion()), head(turn.GetAnswer())
		history.Turns = append(history.GetTurns(), bounded)
		history.Turns = history.Turns[max(len(history.Turns)-maxTurns, 0):]
		return history, nil
	})
	if err != nil || history == nil {
		return err
	}
	return s.rememberMessage(topology.BucketDialogs, prefixChat+key, revision, history)
}

func head(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxTurnBytes)], "")
}

func (s *Store) rememberMessage(bucket, key string, revision uint64, m proto.Message) error {
	value, err := proto.Marshal(m)
	if err != nil {
		return fault.Errorf(fault.Internal, "encode %s: %w", bucket, err)
	}
	s.remember(bucket, key, revision, value)
	return nil
}
