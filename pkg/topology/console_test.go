package topology_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/topology"
)

func TestConversationSubjectsAreTakenApart(t *testing.T) {
	subject, err := topology.SubjectConversation("shop", "c1")
	require.NoError(t, err)
	got, err := topology.ParseConversation(subject)
	require.NoError(t, err)
	require.Equal(t, topology.ConversationSubject{Account: "shop", Conversation: "c1"}, got)
	for _, bad := range []string{"", "wx.conv.shop", "wx.conv.shop.c1.more", "wx.conv..c1", "wx.in.shop.0.message.fan"} {
		_, err := topology.ParseConversation(bad)
		require.Error(t, err, bad)
	}
	filter, err := topology.FilterConversations("shop")
	require.NoError(t, err)
	require.Equal(t, "wx.conv.shop.>", filter)
	_, err = topology.FilterConversations("shop.>")
	require.Error(t, err)
}

func TestTheAccountIsFoundInEverySubjectThatHasOne(t *testing.T) {
	out, err := topology.SubjectOutbound(senderv1.Lane_LANE_AGENT, "shop", 3, "fan")
	require.NoError(t, err)
	conv, err := topology.SubjectConversation("club", "c1")
	require.NoError(t, err)
	dead, err := topology.SubjectDeadLetter("rule", "INBOUND")
	require.NoError(t, err)
	for subject, want := range map[string]string{out: "shop", conv: "club", dead: "", "other": ""} {
		require.Equal(t, want, topology.AccountOf(subject), subject)
	}
}

func TestAFilterSelectsOneFan(t *testing.T) {
	filter, err := topology.FilterFan("shop", 3, "fan")
	require.NoError(t, err)
	require.Equal(t, "wx.in.shop.3.*.fan", filter)
	_, err = topology.FilterFan("", 3, "fan")
	require.Error(t, err)
}

func TestAFilterSelectsOneAccountOfAStream(t *testing.T) {
	for stream, want := range map[string]string{
		topology.StreamInbound: "wx.in.shop.>", topology.StreamDecisions: "wx.decision.shop.>",
		topology.StreamDelivery: "wx.delivery.shop.>", topology.StreamConversations: "wx.conv.shop.>", topology.StreamOutbound: "",
	} {
		require.Equal(t, want, topology.FilterAccount(stream, "shop"))
	}
}
