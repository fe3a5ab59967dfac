// Package grpcapi serves RuleService.
package grpcapi

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/publish"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
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

	accounts *account.Directory
	checkURL func(string) error
	log      *slog.Logger
	now      func() time.Time
	backend  atomic.Pointer[backend]
}

type backend struct {
	store *publish.Store
	live  *publish.Live
}

// New returns a server. checkURL says why the address of a webhook is refused.
func New(accounts *account.Directory, checkURL func(string) error, log *slog.Logger, now func() time.Time) *Server {
	return &Server{accounts: accounts, checkURL: checkURL, log: log, now: now}
}

// Serve gives the server what it works on.
func (s *Server) Serve(store *publish.Store, live *publish.Live) {
	s.backend.Store(&backend{store, live})
}

func (s *Server) ready() (*backend, error) {
	if b := s.backend.Load(); b != nil {
		return b, nil
	}
	return nil, fault.New(fault.Unavailable, "the rule service is starting")
}

// Parse reads a rule file as strictly as a publication needs.
func (s *Server) Parse(file []byte) (*ruleset.File, error) {
	rules, err := ruleset.Parse(file, ruleset.Options{
		Account: func(name string) (eventv1.AccountKind, bool) {
			a, ok := s.accounts.Get(name)
			return a.ProtoKind(), ok
		},
		CheckURL: s.checkURL,
	})
	if err != nil {
		return nil, err
	}
	if _, err := ruleset.Compile("", rules); err != nil {
		return nil, err
	}
	return rules, nil
}

// PublishRuleSet makes a rule file live.
func (s *Server) PublishRuleSet(ctx context.Context, req *rulev1.PublishRuleSetRequest) (*rulev1.PublishRuleSetResponse, error) {
	b, err := s.ready()
	if err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(req.GetNote()) > maxNote {
		return nil, fault.Errorf(fault.Invalid, "note: at most %d characters are allowed", maxNote)
	}
	rules, err := s.Parse(req.GetYaml())
	if err != nil {
		return nil, err
	}
	done, err := b.store.Publish(ctx, publish.Publication{
		File: req.GetYaml(), Rules: rules, Note: req.GetNote(), Source: publish.SourceAPI, Expected: req.GetExpectedVersion(),
	})
	if err != nil {
		return nil, err
	}
	s.settle(ctx, b, done, "published")
	return &rulev1.PublishRuleSetResponse{RuleSet: infoOf(done.Info, done.Info.Version), Unchanged: done.Unchanged}, nil
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
	done, err := b.store.RollBack(ctx, req.GetVersion())
	if err != nil {
		return nil, err
	}
	s.settle(ctx, b, done, "rolled back")
	return &rulev1.RollBackRuleSetResponse{RuleSet: infoOf(done.Info, done.Info.Version)}, nil
}

func infoOf(info publish.Info, live string) *rulev1.RuleSetInfo {
	return &rulev1.RuleSetInfo{
		Version: info.Version, Rules: int32(info.Rules), PublishedUnixMs: info.Published.UnixMilli(),
		Note: info.Note, Live: info.Version == live,
	}
}
