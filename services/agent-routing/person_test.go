package agentrouting_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
)

func TestAPersonHasOneTimelineOverTheAccountsThatTheReaderMaySee(t *testing.T) {
	w := newWorld(t)
	w.api, w.tokens = weChat(t).URL, oneToken{} // who says of every fan that they are the same person
	d := staffed(t, w)
	w.online(d, "li")
	asked := w.says("fan", "转人工")
	w.decides(asked, "sales")
	w.in(d, asked.GetId(), offered)
	require.Eventually(t, func() bool {
		card, err := d.GetFan(t.Context(), &agentroutingv1.GetFanRequest{Account: shop, Openid: "fan"})
		return err == nil && card.GetFan().GetUnionid() == "union-1"
	}, patient, soon, "the desk never asked WeChat about a fan whom it serves")
	card, err := d.GetFan(t.Context(), &agentroutingv1.GetFanRequest{Account: club, Openid: "fan", Refresh: true})
	require.NoError(t, err)
	require.Equal(t, shop, card.GetFan().GetLinked()[0].GetAccount())
	_, err = d.RenameFan(as(t, "li"), &agentroutingv1.RenameFanRequest{Account: club, Openid: "fan", Remark: "王先生"})
	require.NoError(t, err)

	read := func(in *agentroutingv1.ListPersonEntriesRequest, accounts ...string) *agentroutingv1.ListPersonEntriesResponse {
		ctx := as(t, "li")
		for _, name := range accounts {
			ctx = metadata.AppendToOutgoingContext(ctx, "wxbus-accounts", name)
		}
		in.Account, in.Openid = club, "fan"
		got, err := d.ListPersonEntries(ctx, in)
		require.NoError(t, err)
		return got
	}
	both := read(&agentroutingv1.ListPersonEntriesRequest{})
	require.Len(t, both.GetFans(), 2)
	require.Equal(t, []string{club, "王先生"}, []string{both.GetFans()[0].GetAccount(), both.GetFans()[0].GetName()}, "who was asked for comes first")
	var told []string
	for _, e := range both.GetEntries() {
		told = append(told, e.GetChange().GetConversationChanged().GetChange()+e.GetMessage().GetText())
	}
	require.Contains(t, told, "转人工", "what was said to the other account")
	require.Subset(t, told, []string{"opened", "offered"})
	require.False(t, both.GetMore())

	last := both.GetEntries()[len(both.GetEntries())-1]
	page := read(&agentroutingv1.ListPersonEntriesRequest{Before: last.GetCursor(), Limit: 1})
	require.Equal(t, both.GetEntries()[len(both.GetEntries())-2].GetCursor(), page.GetEntries()[0].GetCursor())
	require.True(t, page.GetMore())
	require.Empty(t, read(&agentroutingv1.ListPersonEntriesRequest{After: last.GetCursor()}).GetEntries())

	own := read(&agentroutingv1.ListPersonEntriesRequest{}, club, "-")
	require.Len(t, own.GetFans(), 1)
	require.Empty(t, own.GetEntries())
	card, err = d.GetFan(metadata.AppendToOutgoingContext(as(t, "li"), "wxbus-accounts", club), &agentroutingv1.GetFanRequest{Account: club, Openid: "fan"})
	require.NoError(t, err)
	require.Empty(t, card.GetFan().GetLinked(), "nor does the card name an account that the reader may not see")

	for _, bad := range []*agentroutingv1.ListPersonEntriesRequest{
		{Account: shop}, {Account: shop, Openid: "fan", Limit: 201}, {Account: shop, Openid: "fan", Before: "x"}, {Account: shop, Openid: "fan", Before: last.GetCursor(), After: last.GetCursor()},
	} {
		_, err := d.ListPersonEntries(t.Context(), bad)
		require.Equal(t, codes.InvalidArgument, status.Code(err), bad.String())
	}
	_, err = d.ListPersonEntries(t.Context(), &agentroutingv1.ListPersonEntriesRequest{Account: "none", Openid: "fan"})
	require.Equal(t, codes.NotFound, status.Code(err))
}
