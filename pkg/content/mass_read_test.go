package content_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/content"
	"github.com/wxbus/wxbus/pkg/fault"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

func TestWhatIsWrittenToWeChatIsReadAsTheSameMassMessage(t *testing.T) {
	for body, want := range massBodies() {
		got, err := content.MassFromJSON([]byte(strings.Replace(body, `,"clientmsgid":"k"`, "", 1)))
		require.NoError(t, err, body)
		require.True(t, proto.Equal(want, got), "%s became %v", body, got)
	}
	got, err := content.MassFromJSON([]byte(`{"filter":{"is_to_all":true,"tag_id":""},"msgtype":"text","text":{"content":"x"}}`))
	require.NoError(t, err, "WeChat's own example")
	require.True(t, got.GetToAll())
	got, err = content.MassFromJSON([]byte(`{"filter":{"tag_id":"100"},"msgtype":"text","text":{"content":"x"}}`))
	require.NoError(t, err)
	require.Equal(t, int32(100), got.GetTagId())
}

func TestAPreviewSaysWhoLooks(t *testing.T) {
	m, openid, name, err := content.PreviewFromJSON([]byte(`{"touser":"o_x","msgtype":"text","text":{"content":"<你好>"}}`))
	require.NoError(t, err)
	require.Equal(t, []string{"o_x", "", "<你好>"}, []string{openid, name, m.GetText().GetContent()})
	_, openid, name, err = content.PreviewFromJSON([]byte(`{"towxname":"zhang","msgtype":"text","text":{"content":"x"}}`))
	require.NoError(t, err)
	require.Equal(t, []string{"", "zhang"}, []string{openid, name})
	_, _, _, err = content.PreviewFromJSON([]byte(`{"msgtype":"text","text":{"content":"x"}}`))
	require.ErrorContains(t, err, "touser: required")
	_, _, _, err = content.PreviewFromJSON([]byte(`{"touser":["a","b"],"msgtype":"text","text":{"content":"x"}}`))
	require.ErrorContains(t, err, "touser: must be a string")
}

func TestAWrongMassBodyNamesEveryField(t *testing.T) {
	tests := map[string]string{
		`[]`: "body: must be a JSON object in UTF-8",
		`{"msgtype":"text","text":{"content":"x"}}`:                                                     `filter: required: {"is_to_all":true} or {"tag_id":100}, or a list of 2 to 10000 openids in touser`,
		`{"filter":{"tag_id":1},"touser":["a","b"],"msgtype":"text","text":{"content":"x"}}`:            "touser: stands beside filter: only one of them says who gets it",
		`{"filter":{},"msgtype":"text","text":{"content":"x"}}`:                                         "filter.tag_id: required",
		`{"filter":{"tag_id":"gold"},"msgtype":"text","text":{"content":"x"}}`:                          "filter.tag_id: must be a whole number",
		`{"filter":{"tag_id":-1},"msgtype":"text","text":{"content":"x"}}`:                              "filter.tag_id: must not be negative",
		`{"touser":"a","msgtype":"text","text":{"content":"x"}}`:                                        "touser: must be a list of strings",
		`{"touser":["a",7],"msgtype":"text","text":{"content":"x"}}`:                                    "touser[1]: must be a string",
		`{"touser":["a","a"],"msgtype":"text","text":{"content":"x"}}`:                                  "touser[1]: is there twice",
		`{"touser":["a","b"],"msgtype":"music","music":{}}`:                                             "msgtype: must be text, image, voice, mpvideo, mpnews or wxcard; music: unknown field",
		`{"touser":["a","b"],"msgtype":"mpnews"}`:                                                       "mpnews: required",
		`{"touser":["a","b"],"msgtype":"mpnews","mpnews":{}}`:                                           "mpnews.media_id: required",
		`{"touser":["a","b"],"msgtype":"image","images":{"media_ids":[]}}`:                              "images.media_ids: 1 to 20 images, has 0",
		`{"touser":["a","b"],"msgtype":"image","images":{"media_ids":["m"],"need_open_comment":"yes"}}`: "images.need_open_comment: must be 0 or 1",
		`{"touser":["a","b"],"msgtype":"text","text":{"content":"x","colour":"red"},"clientmsgid":"k"}`: "text.colour: unknown field; clientmsgid: unknown field",
	}
	for body, want := range tests {
		m, err := content.MassFromJSON([]byte(body))
		require.EqualError(t, err, want, body)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		require.Nil(t, m)
	}
	_, err := content.MassFromJSON([]byte(strings.Repeat(" ", content.MaxMassBody+1)))
	require.EqualError(t, err, "body: larger than 2 MiB")
}

// FuzzMassFromJSON: what is accepted is valid, can be stored, and means the same after a round trip.
func FuzzMassFromJSON(f *testing.F) {
	for body := range massBodies() {
		f.Add([]byte(strings.Replace(body, `,"clientmsgid":"k"`, "", 1)))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := content.MassFromJSON(body)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			return
		}
		require.NoError(t, content.ValidateMass(m, true))
		stored, err := proto.Marshal(m)
		require.NoError(t, err)
		loaded := &senderv1.MassMessage{}
		require.NoError(t, proto.Unmarshal(stored, loaded))
		written, err := content.Mass(loaded, "")
		require.NoError(t, err)
		require.True(t, json.Valid(written))
		again, err := content.MassFromJSON(written)
		require.NoError(t, err, string(written))
		require.True(t, proto.Equal(m, again), "%v became %v", m, again)
	})
}
