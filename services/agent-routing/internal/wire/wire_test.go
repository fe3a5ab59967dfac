package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/content"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

func TestRulesKnowTheSurveyByItsItems(t *testing.T) {
	require.Equal(t, content.SurveyMenuPrefix+"c.3", domain.SurveyItem("c", 3))
}

func TestReasonsOfAssignmentsAreThoseOfTheProto(t *testing.T) {
	for ours, theirs := range map[domain.Reason]agentroutingv1.AssignmentReason{
		0:                    agentroutingv1.AssignmentReason_ASSIGNMENT_REASON_UNSPECIFIED,
		domain.NobodyFree:    agentroutingv1.AssignmentReason_ASSIGNMENT_REASON_NOBODY_FREE,
		domain.ByLeastLoad:   agentroutingv1.AssignmentReason_ASSIGNMENT_REASON_LEAST_LOAD,
		domain.WaitedLongest: agentroutingv1.AssignmentReason_ASSIGNMENT_REASON_WAITED_LONGEST,
		domain.TalkedBefore:  agentroutingv1.AssignmentReason_ASSIGNMENT_REASON_LAST_AGENT,
		domain.Picked:        agentroutingv1.AssignmentReason_ASSIGNMENT_REASON_PICKED,
		domain.GivenByAgent:  agentroutingv1.AssignmentReason_ASSIGNMENT_REASON_GIVEN,
		domain.TookOver:      agentroutingv1.AssignmentReason_ASSIGNMENT_REASON_TAKEN_OVER,
		domain.CloseUndone:   agentroutingv1.AssignmentReason_ASSIGNMENT_REASON_REOPENED,
	} {
		got := wire.Assignment(&domain.Assignment{Reason: ours, Choices: 7, Remark: "投诉"})
		require.Equal(t, theirs, got.GetReason())
		require.EqualValues(t, 7, got.GetChoices())
		require.Equal(t, "投诉", got.GetRemark())
	}
}
