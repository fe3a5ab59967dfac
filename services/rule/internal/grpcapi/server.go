// Package grpcapi serves RuleService.
package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/draft"
	"github.com/wxbus/wxbus/services/rule/internal/fan"
	"github.com/wxbus/wxbus/services/rule/internal/publish"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
	"github.com/wxbus/wxbus/services/rule/internal/tables"
)

const (
	maxNote = 500 // characters
	// swapTimeout bounds how long a publication waits for this replica to use what it published.
	swapTimeout = 5 * time.Second
)

// Server implements RuleService. It is safe for concurrent use; until Serve is called every method
// is Unavailable.
type Server struct {
	rulev1.UnimplementedRuleServiceServer

	accounts  *account.Directory
	checkURL  func(string) error
	checkChat func(string) error
	log       *slog.Logger
	now       func() time.Time
	backend   atomic.Pointer[backend]
	shadows   chan struct{} // one token for each shadow run
}

type backend struct {
	js     jetstream.JetStream
	store  *publish.Store
	live   *publish.Live
	tables *tables.Late
	fans   *fan.Store
}

// New returns a server. checkURL says why the address of a webhook is refused, checkChat why there is no chat provider
// of a name.
func New(accounts *account.Directory, checkURL, checkChat func(string) error, log *slog.Logger, now func() time.Time) *Server {
	return &Server{accounts: accounts, checkURL: checkURL, checkChat: checkChat, log: log, now: now, shadows: make(chan struct{}, maxShadows)}
}

// Serve gives the server what it works on.
func (s *Server) Serve(js jetstream.JetStream, store *publish.Store, live *publish.Live, late *tables.Late, fans *fan.Store) {
	s.backend.Store(&backend{js, store, live, late, fans})
}

func (s *Server) ready() (*backend, error) {
	if b := s.backend.Load(); b != nil {
		return b, nil
	}
	return nil, fault.New(fault.Unavailable, "the rule service is starting")
}

// Parse reads a rule file as strictly as a publication needs.
func (s *Server) Parse(file []byte) (*ruleset.File, error) {
	rules, err := ruleset.Parse(file, s.options())
	if err != nil {
		return nil, err
	}
	if _, err := ruleset.Compile("", rules); err != nil {
		return nil, err
	}
	return rules, nil
}

// options are what a rule file may name here.
func (s *Server) options() ruleset.Options {
	return ruleset.Options{
		Account: func(name string) (eventv1.AccountKind, bool) {
			a, ok := s.accounts.Get(name)
			return a.ProtoKind(), ok
		},
		CheckURL: s.checkURL, CheckChat: s.checkChat,
	}
}

// PublishRuleSet makes a rule file live.
func (s *Server) PublishRuleSet(ctx context.Context, req *rulev1.PublishRuleSetRequest) (*rulev1.PublishRuleSetResponse, error) {
	b, err := s.ready()
	if err != nil {
		return nil, err
	}
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	p := publish.Publication{File: req.GetYaml(), Note: req.GetNote(), Source: publish.SourceAPI, By: actor, Expected: req.GetExpectedVersion()}
	if req.GetMode() == rulev1.PublishMode_PUBLISH_MODE_MERGE {
		if err := merged(ctx, b.store, &p); err != nil {
			return nil, err
		}
	}
	if req.GetMode() == rulev1.PublishMode_PUBLISH_MODE_PRUNE {
		if _, err := s.copyOf(b); err != nil {
			return nil, err
		}
	}
	done, err := s.publish(ctx, b, p)
	if err != nil {
		return nil, err
	}
	if req.GetMode() == rulev1.PublishMode_PUBLISH_MODE_PRUNE {
		if err := s.pruned(ctx, b); err != nil {
			return nil, fmt.Errorf("version %s is live, but the working copy is not pruned yet: %w", done.Info.Version, err)
		}
	}
	s.followed(ctx, b)
	return &rulev1.PublishRuleSetResponse{RuleSet: infoOf(done.Info, done.Info.Version), Unchanged: done.Unchanged}, nil
}

// publish checks a rule file and makes it live.
func (s *Server) publish(ctx context.Context, b *backend, p publish.Publication) (publish.Published, error) {
	if utf8.RuneCountInString(p.Note) > maxNote {
		return publish.Published{}, fault.Errorf(fault.Invalid, "note: at most %d characters are allowed", maxNote)
	}
	var err error
	if p.Rules, err = s.Parse(p.File); err != nil {
		return publish.Published{}, err
	}
	done, err := b.store.Publish(ctx, p)
	if err != nil {
		return publish.Published{}, err
	}
	s.settle(ctx, b, done, "published")
	return done, nil
}

// merged puts the file of a publication over the live one, which must not change meanwhile.
func merged(ctx context.Context, store *publish.Store, p *publish.Publication) error {
	pointer, _, err := store.Pointer(ctx)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return nil //nolint:nilerr // nothing is live that could be merged
	}
	if err != nil {
		return err
	}
	live, _ := pointer.Find(pointer.Live)
	under, err := store.File(ctx, live)
	if err != nil {
		return err
	}
	same, err := draft.Contains(under, p.File)
	if err != nil {
		return err
	}
	if p.Expected == "" {
		p.Expected = pointer.Live
	}
	if same {
		p.File = under
		return nil
	}
	p.File, err = draft.Merge(under, p.File)
	return err
}

// followed lets the working copy follow a publication at once. It would later anyhow, so that its absence is no
// failure.
func (s *Server) followed(ctx context.Context, b *backend) {
	copied, err := s.copyOf(b)
	if err == nil {
		err = copied.Follow(ctx)
	}
	if err != nil {
		s.log.WarnContext(ctx, "the working copy does not follow what was published yet", logkey.Error, err)
	}
}

// pruned makes the working copy equal to what was published.
func (s *Server) pruned(ctx context.Context, b *backend) error {
	copied, err := s.copyOf(b)
	if err != nil {
		return err
	}
	return copied.Prune(ctx)
}

// settle waits for this replica, so that whoever published sees the new rules at work here. The
// publication stands even when that takes longer.
func (s *Server) settle(ctx context.Context, b *backend, done publish.Published, what string) {
	if !done.Unchanged {
		s.log.InfoContext(ctx, "rules "+what, logkey.RuleVersion, done.Info.Version, "rules", done.Info.Rules, "note", done.Info.Note)
	}
	ctx, cancel := context.WithTimeout(ctx, swapTimeout)
	defer cancel()
	if err := b.live.Await(ctx, done.Revision); err != nil {
		s.log.WarnContext(ctx, "this replica does not use the new rules yet", logkey.RuleVersion, done.Info.Version, logkey.Error, err)
	}
}

// GetRuleSet returns the live rules.
func (s *Server) GetRuleSet(ctx context.Context, _ *rulev1.GetRuleSetRequest) (*rulev1.GetRuleSetResponse, error) {
	b, err := s.ready()
	if err != nil {
		return nil, err
	}
	pointer, _, err := b.store.Pointer(ctx)
	if err != nil {
		return nil, err
	}
	live, _ := pointer.Find(pointer.Live)
	file, err := b.store.File(ctx, live)
	if err != nil {
		return nil, err
	}
	return &rulev1.GetRuleSetResponse{RuleSet: infoOf(live, pointer.Live), Yaml: file}, nil
}

// ListRuleSets returns the kept versions, newest first.
func (s *Server) ListRuleSets(ctx context.Context, _ *rulev1.ListRuleSetsRequest) (*rulev1.ListRuleSetsResponse, error) {
	b, err := s.ready()
	if err != nil {
		return nil, err
	}
	pointer, _, err := b.store.Pointer(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	response := &rulev1.ListRuleSetsResponse{}
	for _, info := range pointer.Sets {
		response.RuleSets = append(response.RuleSets, infoOf(info, pointer.Live))
	}
	return response, nil
}

// RollBackRuleSet makes a kept version live again.
func (s *Server) RollBackRuleSet(ctx context.Context, req *rulev1.RollBackRuleSetRequest) (*rulev1.RollBackRuleSetResponse, error) {
	b, err := s.ready()
	if err != nil {
		return nil, err
	}
	if req.GetVersion() == "" {
		return nil, fault.Wrap(fault.Invalid, errors.New("version: is required"))
	}
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	done, err := b.store.RollBack(ctx, req.GetVersion(), actor)
	if err != nil {
		return nil, err
	}
	s.settle(ctx, b, done, "rolled back")
	s.followed(ctx, b)
	return &rulev1.RollBackRuleSetResponse{RuleSet: infoOf(done.Info, done.Info.Version)}, nil
}

func infoOf(info publish.Info, live string) *rulev1.RuleSetInfo {
	return &rulev1.RuleSetInfo{
		Version: info.Version, Rules: int32(info.Rules), PublishedUnixMs: info.Published.UnixMilli(),
		Note: info.Note, Live: info.Version == live, PublishedBy: info.By, Source: info.Source,
	}
}
