package rule_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/wxbus/wxbus/pkg/fault"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
)

// editor returns a client whose working copy answers, and a context in the name of a person.
func (r *rig) editor(name string) (rulev1.RuleServiceClient, context.Context) {
	r.t.Helper()
	api := r.api(r.replica("rule-edit", ""))
	r.editable(api)
	return api, as(r.t.Context(), name)
}

// as returns a context in the name of a person.
func as(ctx context.Context, name string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "wxbus-actor", url.PathEscape(name))
}

// editable waits until the working copy answers.
func (r *rig) editable(api rulev1.RuleServiceClient) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		_, err := api.ListRules(r.t.Context(), &rulev1.ListRulesRequest{})
		return err == nil
	}, patience, 10*time.Millisecond)
}

const apple = "name: apple\nmatch: {contains: [apple]}\ndo: [{reply: about apple}]\n"

// conflictIn returns the conflict in the details of an error.
func conflictIn(t *testing.T, err error) *rulev1.RevisionConflict {
	t.Helper()
	for _, detail := range status.Convert(err).Details() {
		if conflict, ok := detail.(*rulev1.RevisionConflict); ok {
			return conflict
		}
	}
	require.Fail(t, "the error has no conflict in its details", "%v", err)
	return nil
}

func TestFromTheDraftToADecision(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	api, ctx := r.editor("李")

	saved, err := api.SaveRule(ctx, &rulev1.SaveRuleRequest{Yaml: apple})
	require.NoError(t, err)
	rule := saved.GetRule()
	require.Equal(t, "李", rule.GetChangedBy())
	require.Equal(t, rulev1.RuleState_RULE_STATE_ADDED, rule.GetState())
	_, err = api.SaveRule(ctx, &rulev1.SaveRuleRequest{Id: rule.GetId(), Revision: rule.GetRevision() + 1, Yaml: apple})
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	conflict := conflictIn(t, err)
	require.Equal(t, rule.GetId(), conflict.GetId())
	require.Equal(t, rule.GetRevision(), conflict.GetRevision())
	require.Equal(t, rule.GetRevision()+1, conflict.GetRequestedRevision())
	require.Equal(t, "李", conflict.GetChangedBy())
	require.Equal(t, rule.GetChangedUnixMs(), conflict.GetChangedUnixMs())
	_, err = api.SaveRule(ctx, &rulev1.SaveRuleRequest{Yaml: "name: x\naccount: nobody\nmatch: any\ndo: [none]"})
	require.ErrorContains(t, err, `account: there is no account "nobody" (line 2)`)

	draft, err := api.GetDraft(ctx, &rulev1.GetDraftRequest{})
	require.NoError(t, err)
	require.EqualValues(t, 1, draft.GetSummary().GetAdded())
	require.Equal(t, "apple", draft.GetChanges()[0].GetName())
	_, err = api.PublishDraft(ctx, &rulev1.PublishDraftRequest{ExpectedVersion: "other-1"})
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	published, err := api.PublishDraft(ctx, &rulev1.PublishDraftRequest{Note: "fruit"})
	require.NoError(t, err)
	require.Equal(t, []string{"李", "draft", "fruit"}, []string{
		published.GetRuleSet().GetPublishedBy(), published.GetRuleSet().GetSource(), published.GetRuleSet().GetNote(),
	})
	again, err := api.PublishDraft(ctx, &rulev1.PublishDraftRequest{})
	require.NoError(t, err)
	require.True(t, again.GetUnchanged())
	require.Equal(t, published.GetRuleSet().GetVersion(), again.GetRuleSet().GetVersion())

	rec := r.record(r.push(r.text("ackonly", "o_fan", "an apple")), hasRoute(rulev1.Route_ROUTE_ASYNC))
	require.Equal(t, published.GetRuleSet().GetVersion(), rec.GetRuleSetVersion())
	require.Positive(t, rec.GetInboundSequence())

	got, err := api.GetRule(ctx, &rulev1.GetRuleRequest{Rule: "apple"})
	require.NoError(t, err)
	require.Equal(t, rulev1.RuleState_RULE_STATE_LIVE, got.GetRule().GetState())
	require.Empty(t, got.GetFields())
	moved, err := api.MoveRule(ctx, &rulev1.MoveRuleRequest{Id: rule.GetId(), Revision: got.GetRule().GetRevision(), To: &rulev1.MoveRuleRequest_Priority{Priority: 9}})
	require.NoError(t, err)
	require.EqualValues(t, 9, moved.GetRule().GetPriority())
	discarded, err := api.DiscardDraft(ctx, &rulev1.DiscardDraftRequest{Ids: []string{rule.GetId()}})
	require.NoError(t, err)
	require.EqualValues(t, 1, discarded.GetDiscarded())

	audit, err := api.ListAudit(ctx, &rulev1.ListAuditRequest{})
	require.NoError(t, err)
	var actions []rulev1.AuditAction
	for _, e := range audit.GetEntries() {
		require.Equal(t, "李", e.GetActor())
		actions = append(actions, e.GetAction())
	}
	require.Equal(t, []rulev1.AuditAction{
		rulev1.AuditAction_AUDIT_ACTION_DISCARDED, rulev1.AuditAction_AUDIT_ACTION_MOVED,
		rulev1.AuditAction_AUDIT_ACTION_PUBLISHED, rulev1.AuditAction_AUDIT_ACTION_CREATED,
	}, actions)
	r.settled()
}

func TestWhatIsPublishedElsewhereMeetsTheDraft(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	api, ctx := r.editor("li")
	publish := func(mode rulev1.PublishMode, file []byte) *rulev1.RuleSetInfo {
		resp, err := api.PublishRuleSet(t.Context(), &rulev1.PublishRuleSetRequest{Yaml: file, Mode: mode})
		require.NoError(t, err)
		return resp.GetRuleSet()
	}
	rules := func() []string {
		resp, err := api.ListRules(ctx, &rulev1.ListRulesRequest{})
		require.NoError(t, err)
		var out []string
		for _, i := range resp.GetRules() {
			out = append(out, i.GetName()+" "+strings.ToLower(strings.TrimPrefix(i.GetState().String(), "RULE_STATE_")))
		}
		return out
	}
	first := publish(rulev1.PublishMode_PUBLISH_MODE_UNSPECIFIED, oneRule("apple"))
	require.Equal(t, "cli", first.GetPublishedBy())
	_, err := api.SaveRule(ctx, &rulev1.SaveRuleRequest{Yaml: "name: fig\nmatch: any\ndo: [none]"})
	require.NoError(t, err)
	publish(rulev1.PublishMode_PUBLISH_MODE_MERGE, oneRule("pear"))
	require.Equal(t, []string{"apple live", "fig added", "pear live"}, rules())
	same := publish(rulev1.PublishMode_PUBLISH_MODE_MERGE, oneRule("pear"))
	require.EqualValues(t, 2, same.GetRules(), "merging again changes nothing")
	publish(rulev1.PublishMode_PUBLISH_MODE_UNSPECIFIED, oneRule("pear"))
	require.ElementsMatch(t, []string{"fig added", "pear live"}, rules(), "a draft survives")
	publish(rulev1.PublishMode_PUBLISH_MODE_PRUNE, oneRule("pear"))
	require.Equal(t, []string{"pear live"}, rules(), "except a pruning publication")

	_, err = api.RollBackRuleSet(ctx, &rulev1.RollBackRuleSetRequest{Version: first.GetVersion()})
	require.NoError(t, err)
	require.Equal(t, []string{"apple live"}, rules())

	got, err := api.GetRule(ctx, &rulev1.GetRuleRequest{Rule: "apple"})
	require.NoError(t, err)
	_, err = api.SaveRule(ctx, &rulev1.SaveRuleRequest{Id: got.GetRule().GetId(), Revision: got.GetRule().GetRevision(), Yaml: "name: apple\nmatch: any\ndo: [none]"})
	require.NoError(t, err)
	publish(rulev1.PublishMode_PUBLISH_MODE_UNSPECIFIED, []byte("rules: [{name: apple, match: {exact: [x]}, do: [none]}]"))
	_, err = api.PublishDraft(ctx, &rulev1.PublishDraftRequest{})
	require.Equal(t, fault.Refused, fault.KindOf(err), "a conflict is resolved first")
	require.ErrorContains(t, err, "changed here and by others")
	diff, err := api.DiffRuleSets(ctx, &rulev1.DiffRuleSetsRequest{
		Before: &rulev1.RuleSetRef{Set: &rulev1.RuleSetRef_Version{Version: first.GetVersion()}},
		After:  &rulev1.RuleSetRef{Set: &rulev1.RuleSetRef_Draft{Draft: true}},
	})
	require.NoError(t, err)
	require.Len(t, diff.GetChanges(), 1)
	exported, err := api.ExportRules(ctx, &rulev1.ExportRulesRequest{})
	require.NoError(t, err)
	require.Contains(t, string(exported.GetYaml()), "exact: [x]", "nothing named means the live rules")
	_, err = api.ExportRules(ctx, &rulev1.ExportRulesRequest{Set: &rulev1.RuleSetRef{Set: &rulev1.RuleSetRef_Version{Version: "none"}}})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestRepliesOfWeChatBecomeADraft(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	api, ctx := r.editor("li")
	sample, err := os.ReadFile("internal/autoreply/testdata/wechatpy_get_current_autoreply_info.json")
	require.NoError(t, err)
	req := &rulev1.ImportRulesRequest{Content: sample, Format: rulev1.ImportFormat_IMPORT_FORMAT_WECHAT_AUTOREPLY, Account: "shop", DryRun: true}
	dry, err := api.ImportRules(ctx, req)
	require.NoError(t, err)
	require.Len(t, dry.GetChanges(), 5)
	require.NotEmpty(t, dry.GetLeftOut())
	list, err := api.ListRules(ctx, &rulev1.ListRulesRequest{})
	require.NoError(t, err)
	require.Empty(t, list.GetRules())
	req.DryRun = false
	_, err = api.ImportRules(ctx, req)
	require.NoError(t, err)
	_, err = api.PublishDraft(ctx, &rulev1.PublishDraftRequest{})
	require.NoError(t, err)
	answer, err := api.DryRun(ctx, &rulev1.DryRunRequest{Account: "shop", Text: "text测试"})
	require.NoError(t, err)
	require.Equal(t, "shop: autoreply-text", answer.GetRule())
	for _, wrong := range []*rulev1.ImportRulesRequest{
		{Content: sample, Format: rulev1.ImportFormat_IMPORT_FORMAT_WECHAT_AUTOREPLY, Account: "nobody"},
		{Content: []byte("rules: []"), Account: "shop"}, {Content: []byte("rules: 1")},
	} {
		_, err = api.ImportRules(ctx, wrong)
		require.Contains(t, []fault.Kind{fault.Invalid, fault.NotFound}, fault.KindOf(err))
	}
}

func TestWithoutItsDatabaseDecidingGoesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	// A file stands where the folder of the database is to be made.
	require.NoError(t, os.WriteFile(r.sql.Dir, nil, 0o600))
	api := r.api(r.replica("rule-a", r.rules(string(oneRule("apple")))))
	ctx := t.Context()
	for name, err := range map[string]error{
		"ListRules":    errOf(api.ListRules(ctx, &rulev1.ListRulesRequest{})),
		"SaveRule":     errOf(api.SaveRule(ctx, &rulev1.SaveRuleRequest{Yaml: apple})),
		"GetDraft":     errOf(api.GetDraft(ctx, &rulev1.GetDraftRequest{})),
		"PublishDraft": errOf(api.PublishDraft(ctx, &rulev1.PublishDraftRequest{})),
		"ListAudit":    errOf(api.ListAudit(ctx, &rulev1.ListAuditRequest{})),
		"prune":        errOf(api.PublishRuleSet(ctx, &rulev1.PublishRuleSetRequest{Yaml: oneRule("fig"), Mode: rulev1.PublishMode_PUBLISH_MODE_PRUNE})),
	} {
		require.Equal(t, fault.Unavailable, fault.KindOf(err), name)
	}
	r.record(r.push(r.text("ackonly", "o_fan", "apple?")), hasRoute(rulev1.Route_ROUTE_ASYNC))
	published, err := api.PublishRuleSet(ctx, &rulev1.PublishRuleSetRequest{Yaml: oneRule("pear"), Note: "while it was down"})
	require.NoError(t, err, "files can be published")
	_, err = api.ExportRules(ctx, &rulev1.ExportRulesRequest{})
	require.NoError(t, err)

	require.NoError(t, os.Remove(r.sql.Dir))
	require.NoError(t, os.MkdirAll(filepath.Dir(r.sql.Dir), 0o700))
	r.editable(api)
	audit, err := api.ListAudit(ctx, &rulev1.ListAuditRequest{})
	require.NoError(t, err)
	require.Equal(t, published.GetRuleSet().GetVersion(), audit.GetEntries()[0].GetVersion(), "what happened meanwhile is in the audit")
	require.Equal(t, "while it was down", audit.GetEntries()[0].GetNote())
	r.settled()
}

func errOf[T any](_ T, err error) error { return err }

func TestTheActorIsChecked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	api, _ := r.editor("li")
	for _, name := range []string{strings.Repeat("x", 101), "a%0Ab", "%zz", "%ff"} {
		_, err := api.SaveRule(metadata.AppendToOutgoingContext(t.Context(), "wxbus-actor", name), &rulev1.SaveRuleRequest{Yaml: apple})
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
	}
}

func TestADraftIsTriedOnWhatFansWrote(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	api, ctx := r.editor("li")
	_, err := api.PublishRuleSet(ctx, &rulev1.PublishRuleSetRequest{Yaml: oneRule("apple")})
	require.NoError(t, err)
	for i, text := range []string{"an apple", "a pear", "my order 12345678 has a pear", "a pear!"} {
		r.push(r.text("ackonly", "o_fan"+string(rune('a'+i)), text))
	}
	r.settled()
	_, err = api.SaveRule(ctx, &rulev1.SaveRuleRequest{Yaml: "name: pear\nmatch: {contains: [pear]}\ndo: [{reply: about pear}]"})
	require.NoError(t, err)

	run := func(req *rulev1.ShadowRunRequest) (*rulev1.ShadowResult, error) {
		stream, err := api.ShadowRun(ctx, req)
		require.NoError(t, err)
		for {
			report, err := stream.Recv()
			if err != nil || report.GetResult() != nil {
				return report.GetResult(), err
			}
		}
	}
	got, err := run(&rulev1.ShadowRunRequest{Account: "ackonly"})
	require.NoError(t, err)
	require.EqualValues(t, []int64{4, 1, 0, 3, 0}, []int64{got.GetEvents(), got.GetSame(), got.GetChanged(), got.GetNewlyAnswered(), got.GetNewlySilent()})
	require.Equal(t, "pear", got.GetRules()[0].GetRule())
	require.EqualValues(t, 3, got.GetRules()[0].GetNewlyAnswered())
	first := got.GetDifferences()[0]
	require.Equal(t, []string{"a pear", "", "pear", "about pear"}, []string{first.GetText(), first.GetBefore().GetRule(), first.GetAfter().GetRule(), first.GetAfter().GetReply()})
	require.EqualValues(t, 2, first.GetEvents())
	require.Equal(t, "my order # has a pear", got.GetDifferences()[1].GetText(), "long numbers are nobody's business")

	got, err = run(&rulev1.ShadowRunRequest{After: &rulev1.RuleSetRef{Set: &rulev1.RuleSetRef_Yaml{Yaml: []byte("rules: []")}}})
	require.NoError(t, err)
	require.EqualValues(t, 1, got.GetNewlySilent())
	r.settled()
	require.Len(t, r.sender.got(), 1, "nothing is sent")
	for _, wrong := range []*rulev1.ShadowRunRequest{{Account: "nobody"}, {Hours: 73}, {MaxEvents: -1}, {Before: &rulev1.RuleSetRef{Set: &rulev1.RuleSetRef_Version{Version: "none"}}}} {
		_, err = run(wrong)
		require.Contains(t, []fault.Kind{fault.Invalid, fault.NotFound}, fault.KindOf(err))
	}
}

func TestCoverageTellsWhatRulesMiss(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	api, ctx := r.editor("li")
	_, err := api.PublishRuleSet(ctx, &rulev1.PublishRuleSetRequest{Yaml: []byte(
		"rules:\n  - {name: apple, match: {contains: [apple]}, do: [{reply: x}]}\n  - {name: never, match: {exact: [never]}, do: [{reply: x}]}\n" +
			"  - {name: rest, priority: -9, match: any, do: [{reply: x}]}\n")})
	require.NoError(t, err)
	for i, text := range []string{"an apple", "营业时间", "营业时间？"} {
		r.push(r.text("ackonly", "o_fan"+string(rune('a'+i)), text))
	}
	var got *rulev1.GetCoverageResponse
	require.Eventually(t, func() bool {
		got, err = api.GetCoverage(ctx, &rulev1.GetCoverageRequest{Account: "ackonly"})
		require.NoError(t, err)
		return got.GetDecided() == 3
	}, patience, 20*time.Millisecond)
	require.Equal(t, []int64{1, 2, 0, 0}, []int64{got.GetMatched(), got.GetCaught(), got.GetMissed(), got.GetSilent()})
	require.Equal(t, []string{"rest", "apple", "never"}, []string{got.GetRules()[0].GetRule(), got.GetRules()[1].GetRule(), got.GetRules()[2].GetRule()})
	require.Zero(t, got.GetRules()[2].GetHits())
	require.True(t, got.GetRules()[2].GetLive())
	require.EqualValues(t, 2, got.GetPhrases()[0].GetCount())
	require.Contains(t, got.GetPhrases()[0].GetText(), "营业时间")

	list, err := api.ListRules(ctx, &rulev1.ListRulesRequest{})
	require.NoError(t, err)
	require.EqualValues(t, 3, list.GetDecided())
	require.EqualValues(t, 1, list.GetRules()[0].GetHits())
	require.Positive(t, list.GetRules()[0].GetLastHitUnixMs())
	one, err := api.GetRule(ctx, &rulev1.GetRuleRequest{Rule: "rest"})
	require.NoError(t, err)
	require.EqualValues(t, 2, one.GetRule().GetHits())
	for _, wrong := range []*rulev1.GetCoverageRequest{{Hours: 721}, {Phrases: 201}} {
		_, err = api.GetCoverage(ctx, wrong)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	}
	r.settled()
}
