package content_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

var massText = &senderv1.MassMessage_Text{Text: &eventv1.TextContent{Content: "<你好>"}}

// massBodies is one message of each kind with its body at WeChat.
func massBodies() map[string]*senderv1.MassMessage {
	all := &senderv1.MassMessage_ToAll{ToAll: true}
	return map[string]*senderv1.MassMessage{
		`{"filter":{"is_to_all":true},"msgtype":"text","text":{"content":"<你好>"},"send_ignore_reprint":0,"clientmsgid":"k"}`:                                                                         {Target: all, Body: massText},
		`{"filter":{"is_to_all":false,"tag_id":2},"msgtype":"mpnews","mpnews":{"media_id":"M"},"send_ignore_reprint":1,"clientmsgid":"k"}`:                                                           {Target: &senderv1.MassMessage_TagId{TagId: 2}, SendIgnoreReprint: true, Body: &senderv1.MassMessage_MpNews{MpNews: &eventv1.MpNewsContent{MediaId: "M"}}},
		`{"touser":["a","b"],"msgtype":"voice","voice":{"media_id":"M"},"send_ignore_reprint":0,"clientmsgid":"k"}`:                                                                                  {Target: fans("a", "b"), Body: &senderv1.MassMessage_Voice{Voice: &eventv1.VoiceContent{MediaId: "M"}}},
		`{"filter":{"is_to_all":true},"msgtype":"mpvideo","mpvideo":{"media_id":"M","title":"T"},"send_ignore_reprint":0,"clientmsgid":"k"}`:                                                         {Target: all, Body: &senderv1.MassMessage_Video{Video: &eventv1.VideoContent{MediaId: "M", Title: "T"}}},
		`{"filter":{"is_to_all":true},"msgtype":"wxcard","wxcard":{"card_id":"C"},"send_ignore_reprint":0,"clientmsgid":"k"}`:                                                                        {Target: all, Body: &senderv1.MassMessage_Card{Card: &eventv1.CardContent{CardId: "C"}}},
		`{"filter":{"is_to_all":true},"msgtype":"image","images":{"media_ids":["A","B"],"recommend":"r","need_open_comment":1,"only_fans_can_comment":0},"send_ignore_reprint":0,"clientmsgid":"k"}`: {Target: all, Body: &senderv1.MassMessage_Images{Images: &senderv1.MassImages{MediaIds: []string{"A", "B"}, Recommend: "r", NeedOpenComment: true}}},
	}
}

func TestMassBodies(t *testing.T) {
	for want, m := range massBodies() {
		got, err := content.Mass(m, "k")
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	got, err := content.MassPreview(&senderv1.MassMessage{Body: massText}, "o_x", "")
	require.NoError(t, err)
	require.Equal(t, `{"touser":"o_x","msgtype":"text","text":{"content":"<你好>"},"send_ignore_reprint":0}`, string(got))
	got, err = content.MassPreview(&senderv1.MassMessage{Body: massText}, "o_x", "name")
	require.NoError(t, err)
	require.Equal(t, `{"towxname":"name","msgtype":"text","text":{"content":"<你好>"},"send_ignore_reprint":0}`, string(got))
}

func fans(openids ...string) *senderv1.MassMessage_Openids {
	return &senderv1.MassMessage_Openids{Openids: &senderv1.MassOpenIDs{Openids: openids}}
}

func TestMassMessagesAreChecked(t *testing.T) {
	many := make([]string, content.MaxMassList+1)
	for i := range many {
		many[i] = fmt.Sprint("o_", i)
	}
	tests := map[string]*senderv1.MassMessage{
		"target: required; body: required":        {},
		"to_all: must be true":                    {Target: &senderv1.MassMessage_ToAll{}, Body: massText},
		"tag_id: must not be negative":            {Target: &senderv1.MassMessage_TagId{TagId: -1}, Body: massText},
		"openids: 2 to 10000 fans, has 1":         {Target: fans("a"), Body: massText},
		"openids: 2 to 10000 fans, has 10001":     {Target: fans(many...), Body: massText},
		"openids[1]: is there twice":              {Target: fans("a", "a"), Body: massText},
		"openids[1]: must be 1 to 128 bytes":      {Target: fans("a", ""), Body: massText},
		"images.media_ids: 1 to 20 images, has 0": {Target: fans("a", "b"), Body: &senderv1.MassMessage_Images{}},
		"text.content: required":                  {Target: fans("a", "b"), Body: &senderv1.MassMessage_Text{}},
	}
	for want, m := range tests {
		err := content.ValidateMass(m, true)
		require.EqualError(t, err, want)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		_, err = content.Mass(m, "k")
		require.Error(t, err)
	}
	_, err := content.MassPreview(&senderv1.MassMessage{}, "o_x", "")
	require.Error(t, err)
}
