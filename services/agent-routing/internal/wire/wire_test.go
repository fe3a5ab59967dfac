package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/content"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

func TestRulesKnowTheSurveyByItsItems(t *testing.T) {
	require.Equal(t, content.SurveyMenuPrefix+"c.3", domain.SurveyItem("c", 3))
}
