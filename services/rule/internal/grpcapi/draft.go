package grpcapi

import (
	"context"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/autoreply"
	"github.com/wxbus/wxbus/services/rule/internal/draft"
	"github.com/wxbus/wxbus/services/rule/internal/publish"
)

// maxChanges bounds the changes of an answer.
const maxChanges = 500

// GetDraft returns what differs from the live version.
func (s *Server) GetDraft(ctx context.Context, _ *rulev1.GetDraftRequest) (*rulev1.GetDraftResponse, error) {
	_, copied, _, err := s.editing(ctx)
	if err != nil {
		return nil, err
	}
	changes, sections, sum, err := copied.Draft(ctx, maxChanges)
	if err != nil {
		return nil, err
	}
	response := &rulev1.GetDraftResponse{Summary: protoSummary(sum)}
	response.Changes, _ = protoChanges(changes)
	response.More = int32(max(0, sum.Added+sum.Changed+sum.Removed-len(changes)))
	for _, i := range sections {
		response.Sections = append(response.Sections, protoSection(i))
	}
	return response, nil
}

// DiscardDraft takes changes back to what is live.
func (s *Server) DiscardDraft(ctx context.Context, req *rulev1.DiscardDraftRequest) (*rulev1.DiscardDraftResponse, error) {
	_, copied, actor, err := s.editing(ctx)
	if err != nil {
		return nil, err
	}
	ids := req.GetIds()
	for _, name := range req.GetSections() {
		ids = append(ids, draft.SectionID(name))
	}
	if len(ids) > maxChanges {
		return nil, fault.Errorf(fault.Invalid, "ids: at most %d are allowed; none means everything", maxChanges)
	}
	n, err := copied.Discard(ctx, actor, ids)
	if err != nil {
		return nil, err
	}
	sum, err := copied.Summary(ctx)
	if err != nil {
		return nil, err
	}
	return &rulev1.DiscardDraftResponse{Discarded: int32(n), Summary: protoSummary(sum)}, nil
}

// PublishDraft makes the working copy live.
func (s *Server) PublishDraft(ctx context.Context, req *rulev1.PublishDraftRequest) (*rulev1.PublishDraftResponse, error) {
	b, copied, actor, err := s.editing(ctx)
	if err != nil {
		return nil, err
	}
	snapshot, err := copied.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if snapshot.Conflict > 0 {
		return nil, fault.Errorf(fault.Refused, "%d rules were changed here and by others: save, delete or discard them first", snapshot.Conflict)
	}
	if expected := req.GetExpectedVersion(); expected != "" && expected != snapshot.Version {
		return nil, fault.Errorf(fault.Conflict, "the live rules are %q, not %q: read them again", snapshot.Version, expected)
	}
	if snapshot.Empty() && snapshot.Version != "" {
		return s.unchanged(ctx, b)
	}
	done, err := s.publish(ctx, b, publish.Publication{
		File: snapshot.File, Note: req.GetNote(), Source: publish.SourceDraft, By: actor, Expected: snapshot.Version,
	})
	if err != nil {
		return nil, err
	}
	// It is live. A working copy that cannot follow now does so before it is used next.
	if err := copied.FollowOurs(ctx); err != nil {
		s.log.WarnContext(ctx, "the working copy does not follow what was published yet", logkey.Error, err)
	}
	return &rulev1.PublishDraftResponse{RuleSet: infoOf(done.Info, done.Info.Version), Unchanged: done.Unchanged}, nil
}

func (s *Server) unchanged(ctx context.Context, b *backend) (*rulev1.PublishDraftResponse, error) {
	pointer, _, err := b.store.Pointer(ctx)
	if err != nil {
		return nil, err
	}
	live, _ := pointer.Find(pointer.Live)
	return &rulev1.PublishDraftResponse{RuleSet: infoOf(live, pointer.Live), Unchanged: true}, nil
}

// fileOf returns the rule file that a reference names, and its version; "" for files and drafts.
func (s *Server) fileOf(ctx context.Context, b *backend, ref *rulev1.RuleSetRef) (file []byte, version string, err error) {
	switch set := ref.GetSet().(type) {
	case *rulev1.RuleSetRef_Yaml:
		_, err := s.Parse(set.Yaml)
		return set.Yaml, "", err
	case *rulev1.RuleSetRef_Draft:
		if !set.Draft {
			break
		}
		copied, err := s.copyOf(b)
		if err != nil {
			return nil, "", err
		}
		snapshot, err := copied.Snapshot(ctx)
		return snapshot.File, "", err
	}
	pointer, _, err := b.store.Pointer(ctx)
	if err != nil {
		return nil, "", err
	}
	if version = ref.GetVersion(); version == "" {
		version = pointer.Live
	}
	info, ok := pointer.Find(version)
	if !ok {
		return nil, "", fault.Errorf(fault.NotFound, "rules %q are not kept", version)
	}
	file, err = b.store.File(ctx, info)
	return file, version, err
}

// DiffRuleSets compares two sets.
func (s *Server) DiffRuleSets(ctx context.Context, req *rulev1.DiffRuleSetsRequest) (*rulev1.DiffRuleSetsResponse, error) {
	b, err := s.ready()
	if err != nil {
		return nil, err
	}
	before, _, err := s.fileOf(ctx, b, req.GetBefore())
	if err != nil {
		return nil, err
	}
	after, _, err := s.fileOf(ctx, b, req.GetAfter())
	if err != nil {
		return nil, err
	}
	diff, err := draft.Compare(before, after)
	if err != nil {
		return nil, err
	}
	response := &rulev1.DiffRuleSetsResponse{Sections: protoFields(diff.Sections), Reordered: diff.Reordered}
	response.Changes, response.More = protoChanges(diff.Changes)
	return response, nil
}

// ExportRules returns a set as a rule file.
func (s *Server) ExportRules(ctx context.Context, req *rulev1.ExportRulesRequest) (*rulev1.ExportRulesResponse, error) {
	b, err := s.ready()
	if err != nil {
		return nil, err
	}
	file, _, err := s.fileOf(ctx, b, req.GetSet())
	if err != nil {
		return nil, err
	}
	return &rulev1.ExportRulesResponse{Yaml: file}, nil
}

// ImportRules reads rules into the working copy.
func (s *Server) ImportRules(ctx context.Context, req *rulev1.ImportRulesRequest) (*rulev1.ImportRulesResponse, error) {
	_, copied, actor, err := s.editing(ctx)
	if err != nil {
		return nil, err
	}
	im := draft.Import{Actor: actor, File: req.GetContent(), Replace: req.GetMode() == rulev1.ImportMode_IMPORT_MODE_REPLACE, DryRun: req.GetDryRun()}
	response := &rulev1.ImportRulesResponse{}
	switch req.GetFormat() {
	case rulev1.ImportFormat_IMPORT_FORMAT_WECHAT_AUTOREPLY:
		if err := s.fromWeChat(req, &im, response); err != nil {
			return nil, err
		}
	default:
		if req.GetAccount() != "" {
			return nil, fault.New(fault.Invalid, "account: a rule file says itself which accounts its rules are for")
		}
	}
	done, err := copied.Import(ctx, im)
	if err != nil {
		return nil, err
	}
	response.Changes, response.More = protoChanges(done.Changes)
	response.Sections, response.Unchanged, response.Yaml = protoFields(done.Sections), int32(done.Unchanged), im.File
	return response, nil
}

// fromWeChat makes a rule file of WeChat's automatic replies.
func (s *Server) fromWeChat(req *rulev1.ImportRulesRequest, im *draft.Import, response *rulev1.ImportRulesResponse) error {
	acct, ok := s.accounts.Get(req.GetAccount())
	if !ok {
		return fault.Errorf(fault.NotFound, "account: there is no account %q", req.GetAccount())
	}
	converted, err := autoreply.Convert(req.GetContent(), acct.Name)
	if err != nil {
		return err
	}
	if im.File, err = draft.Canonical(converted.File); err != nil {
		return err
	}
	im.OnlyAccount = acct.Name
	for _, l := range converted.LeftOut {
		response.LeftOut = append(response.LeftOut, &rulev1.LeftOut{Path: l.Path, Rule: l.Rule, Reason: l.Reason, Approximated: l.Approximated})
	}
	return nil
}
