package grpcapi

import (
	"context"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/draft"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

const (
	defaultPage = 50
	maxPage     = 200
	// maxListed is the longest body in bytes that a list contains.
	maxListed = 8 << 10
)

// checker checks rules as strictly as a publication does.
type checker struct{ *Server }

// Rule checks one rule.
func (c checker) Rule(body, sections []byte) error {
	return ruleset.CheckRule(body, sections, c.options())
}

// File checks a rule file.
func (c checker) File(text []byte) error {
	_, err := c.Parse(text)
	return err
}

// copyOf returns the working copy, or Unavailable without its database.
func (s *Server) copyOf(b *backend) (*draft.Store, error) {
	db, err := b.tables.DB()
	if err != nil {
		return nil, err
	}
	return draft.New(db, b.store, checker{s}, s.now), nil
}

// editing returns the working copy and who edits it.
func (s *Server) editing(ctx context.Context) (b *backend, copied *draft.Store, actor string, err error) {
	if b, err = s.ready(); err != nil {
		return nil, nil, "", err
	}
	if actor, err = actorOf(ctx); err != nil {
		return nil, nil, "", err
	}
	copied, err = s.copyOf(b)
	return b, copied, actor, err
}

// pageSize returns how many items a page has.
func pageSize(asked int32) (int, error) {
	switch {
	case asked < 0 || asked > maxPage:
		return 0, fault.Errorf(fault.Invalid, "page_size: must be at most %d", maxPage)
	case asked == 0:
		return defaultPage, nil
	default:
		return int(asked), nil
	}
}

// ListRules returns a page of the working copy.
func (s *Server) ListRules(ctx context.Context, req *rulev1.ListRulesRequest) (*rulev1.ListRulesResponse, error) {
	b, copied, _, err := s.editing(ctx)
	if err != nil {
		return nil, err
	}
	window, err := s.window(req.GetHours(), req.GetAccount())
	if err != nil {
		return nil, err
	}
	q := draft.Query{
		Search: req.GetSearch(), Account: req.GetAccount(), Enabled: req.Enabled, Conflicts: req.GetConflicts(), Token: req.GetPageToken(),
	}
	if q.Limit, err = pageSize(req.GetPageSize()); err != nil {
		return nil, err
	}
	if req.GetKind() != "" {
		q.Kinds = []string{req.GetKind()}
		if ruleset.IsMessage(req.GetKind()) {
			q.Kinds = append(q.Kinds, "any_message")
		}
	}
	for _, state := range req.GetStates() {
		q.States = append(q.States, draft.State(state))
	}
	items, next, total, err := copied.List(ctx, q)
	if err != nil {
		return nil, err
	}
	sum, err := copied.Summary(ctx)
	if err != nil {
		return nil, err
	}
	response := &rulev1.ListRulesResponse{NextPageToken: next, Total: total, Draft: protoSummary(sum)}
	for _, i := range items {
		info := protoItem(i)
		if len(info.GetYaml()) > maxListed {
			info.Yaml = ""
		}
		response.Rules = append(response.Rules, info)
	}
	response.Decided, err = addHits(ctx, b, window, items, response.Rules)
	return response, err
}

// GetRule returns one rule.
func (s *Server) GetRule(ctx context.Context, req *rulev1.GetRuleRequest) (*rulev1.GetRuleResponse, error) {
	b, copied, _, err := s.editing(ctx)
	if err != nil {
		return nil, err
	}
	window, err := s.window(req.GetHours(), "")
	if err != nil {
		return nil, err
	}
	i, err := copied.Get(ctx, req.GetRule())
	if err != nil {
		return nil, err
	}
	info := protoItem(i)
	if _, err := addHits(ctx, b, window, []*draft.Item{i}, []*rulev1.RuleInfo{info}); err != nil {
		return nil, err
	}
	return &rulev1.GetRuleResponse{Rule: info, LiveYaml: i.Live, Fields: protoFields(draft.Fields(i.Live, i.Body))}, nil
}

// SaveRule creates or changes a rule.
func (s *Server) SaveRule(ctx context.Context, req *rulev1.SaveRuleRequest) (*rulev1.SaveRuleResponse, error) {
	_, copied, actor, err := s.editing(ctx)
	if err != nil {
		return nil, err
	}
	i, err := copied.Save(ctx, draft.Edit{
		Actor: actor, ID: req.GetId(), Revision: req.GetRevision(), Body: req.GetYaml(), Enabled: req.Enabled, After: req.GetAfter(),
	})
	if err != nil {
		return nil, err
	}
	return &rulev1.SaveRuleResponse{Rule: protoItem(i)}, nil
}

// DeleteRule removes a rule.
func (s *Server) DeleteRule(ctx context.Context, req *rulev1.DeleteRuleRequest) (*rulev1.DeleteRuleResponse, error) {
	_, copied, actor, err := s.editing(ctx)
	if err != nil {
		return nil, err
	}
	if err := copied.Delete(ctx, actor, req.GetId(), req.GetRevision()); err != nil {
		return nil, err
	}
	return &rulev1.DeleteRuleResponse{}, nil
}

// MoveRule changes when a rule is considered.
func (s *Server) MoveRule(ctx context.Context, req *rulev1.MoveRuleRequest) (*rulev1.MoveRuleResponse, error) {
	_, copied, actor, err := s.editing(ctx)
	if err != nil {
		return nil, err
	}
	place := draft.Place{Before: req.GetBefore(), After: req.GetAfter()}
	if to, ok := req.GetTo().(*rulev1.MoveRuleRequest_Priority); ok {
		place.Priority = &to.Priority
	}
	i, err := copied.Move(ctx, actor, req.GetId(), req.GetRevision(), place)
	if err != nil {
		return nil, err
	}
	return &rulev1.MoveRuleResponse{Rule: protoItem(i)}, nil
}

// SaveSection creates, changes or removes a section.
func (s *Server) SaveSection(ctx context.Context, req *rulev1.SaveSectionRequest) (*rulev1.SaveSectionResponse, error) {
	_, copied, actor, err := s.editing(ctx)
	if err != nil {
		return nil, err
	}
	i, err := copied.SaveSection(ctx, actor, req.GetName(), req.GetRevision(), req.GetYaml())
	if err != nil {
		return nil, err
	}
	return &rulev1.SaveSectionResponse{Section: protoSection(i)}, nil
}

// ListAudit returns who changed what.
func (s *Server) ListAudit(ctx context.Context, req *rulev1.ListAuditRequest) (*rulev1.ListAuditResponse, error) {
	_, copied, _, err := s.editing(ctx)
	if err != nil {
		return nil, err
	}
	q := draft.AuditQuery{Rule: req.GetRule(), Actor: req.GetActor(), Token: req.GetPageToken()}
	if q.Limit, err = pageSize(req.GetPageSize()); err != nil {
		return nil, err
	}
	if ms := req.GetSinceUnixMs(); ms > 0 {
		q.Since = time.UnixMilli(ms)
	}
	if ms := req.GetUntilUnixMs(); ms > 0 {
		q.Until = time.UnixMilli(ms)
	}
	for _, a := range req.GetActions() {
		q.Actions = append(q.Actions, draft.Action(a))
	}
	entries, next, err := copied.Audit(ctx, q)
	if err != nil {
		return nil, err
	}
	response := &rulev1.ListAuditResponse{NextPageToken: next}
	for _, e := range entries {
		response.Entries = append(response.Entries, &rulev1.AuditEntry{
			Id: e.ID, AtUnixMs: e.At.UnixMilli(), Actor: e.Actor, Action: rulev1.AuditAction(e.Action), Rule: e.Name, RuleId: e.RuleID,
			Section: e.Section, Before: e.Before, After: e.After, Version: e.Version, Note: e.Note,
		})
	}
	return response, nil
}

func protoItem(i *draft.Item) *rulev1.RuleInfo {
	info := &rulev1.RuleInfo{
		Id: i.ID, Name: i.Name, Priority: i.Priority, Accounts: i.Accounts, Kinds: i.Kinds, Enabled: i.Enabled,
		State: rulev1.RuleState(i.State()), Conflict: i.Conflict, Revision: i.Revision, ChangedBy: i.By,
		ChangedUnixMs: i.Changed.UnixMilli(), Yaml: i.Body, Deleted: i.Deleted(), Moved: i.Moved,
	}
	return info
}

func protoSection(i *draft.Item) *rulev1.SectionInfo {
	return &rulev1.SectionInfo{
		Name: i.Name, Yaml: i.Body, LiveYaml: i.Live, Conflict: i.Conflict, Revision: i.Revision, ChangedBy: i.By, ChangedUnixMs: i.Changed.UnixMilli(),
	}
}

func protoSummary(s draft.Summary) *rulev1.DraftSummary {
	return &rulev1.DraftSummary{
		LiveVersion: s.Version, Added: int32(s.Added), Changed: int32(s.Changed), Removed: int32(s.Removed),
		Sections: int32(s.Sections), Conflicts: int32(s.Conflict),
	}
}

func protoFields(fields []draft.Field) []*rulev1.FieldChange {
	var out []*rulev1.FieldChange
	for _, f := range fields {
		out = append(out, &rulev1.FieldChange{Path: f.Path, Before: f.Before, After: f.After, Added: f.Added, Removed: f.Removed})
	}
	return out
}

// protoChanges returns at most maxChanges changes, and how many there are beside them.
func protoChanges(changes []draft.Change) (out []*rulev1.RuleChange, more int32) {
	for n, c := range changes {
		if n == maxChanges {
			return out, int32(len(changes) - n)
		}
		change := &rulev1.RuleChange{Kind: rulev1.RuleState(c.State), Name: c.Name, Before: c.Before, After: c.After, Fields: protoFields(c.Fields)}
		if c.Item != nil {
			change.Rule = protoItem(c.Item)
			change.Rule.Yaml = ""
		}
		out = append(out, change)
	}
	return out, 0
}
