package wechat_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

func TestSendNotice(t *testing.T) {
	c, got := recording(t, `{"errcode":0,"errmsg":"ok","msgid":200228332}`)
	id, err := c.SendNotice(t.Context(), "tok", wechat.PathSubscribeOfficial, []byte(`{"touser":"o_x"}`))
	require.NoError(t, err)
	require.Equal(t, "200228332", id)
	require.Equal(t, recorded{"POST", "/cgi-bin/message/subscribe/bizsend", "access_token=tok", `{"touser":"o_x"}`, "application/json; charset=utf-8"}, *got)

	id, err = answering(t, 200, `{"errcode":0,"msgid":"18446744073709551615"}`).SendNotice(t.Context(), "tok", wechat.PathTemplateSend, []byte(`{}`))
	require.NoError(t, err)
	require.Equal(t, "18446744073709551615", id)
	id, err = answering(t, 200, `{"errcode":0}`).SendNotice(t.Context(), "tok", wechat.PathOneTime, []byte(`{}`))
	require.NoError(t, err)
	require.Empty(t, id)
	_, err = answering(t, 200, `{"errcode":40241,"errmsg":"duplicate"}`).SendNotice(t.Context(), "tok", wechat.PathTemplateSend, []byte(`{}`))
	require.NoError(t, err)
	_, err = answering(t, 200, `{"errcode":43101}`).SendNotice(t.Context(), "tok", wechat.PathSubscribeMiniProgram, []byte(`{}`))
	require.Equal(t, wechat.ClassRecipient, wechat.ClassOf(err))
	_, err = answering(t, 502, `bad gateway`).SendNotice(t.Context(), "tok", wechat.PathTemplateSend, []byte(`{}`))
	require.Equal(t, wechat.OutcomeUnknown, wechat.OutcomeOf(err))
}

func TestTemplateLists(t *testing.T) {
	c, got := recording(t, `{"template_list":[{"template_id":"T","title":"发货","primary_industry":"x","content":"{{thing1.DATA}}","example":"e"}]}`)
	list, err := c.Templates(t.Context(), "tok")
	require.NoError(t, err)
	require.Equal(t, []wechat.TemplateInfo{{ID: "T", Title: "发货", Content: "{{thing1.DATA}}", Example: "e"}}, list)
	require.Equal(t, "/cgi-bin/template/get_all_private_template", got.Path)

	c, got = recording(t, `{"errcode":0,"data":[{"priTmplId":"S","title":"到货","content":"{{phrase1.DATA}}","example":"e","type":2}]}`)
	list, err = c.SubscribeTemplates(t.Context(), "tok")
	require.NoError(t, err)
	require.Equal(t, []wechat.TemplateInfo{{ID: "S", Title: "到货", Content: "{{phrase1.DATA}}", Example: "e"}}, list)
	require.Equal(t, "GET", got.Method)
	require.Equal(t, "/wxaapi/newtmpl/gettemplate", got.Path)
}

func TestMassSend(t *testing.T) {
	c, got := recording(t, string(readVector(t, "api/wechatpy_message_mass_send.json")))
	id, err := c.MassSend(t.Context(), "tok", wechat.PathMassByFilter, []byte(`{"clientmsgid":"k"}`))
	require.NoError(t, err)
	require.Equal(t, "34182", id)
	require.Equal(t, "/cgi-bin/message/mass/sendall", got.Path)

	id, err = answering(t, 200, `{"errcode":45065,"errmsg":"clientmsgid exist","msg_id":"34182"}`).MassSend(t.Context(), "tok", wechat.PathMassByList, nil)
	require.NoError(t, err, "it was sent by an earlier call")
	require.Equal(t, "34182", id)
	_, err = answering(t, 200, `{"errcode":45066}`).MassSend(t.Context(), "tok", wechat.PathMassByList, nil)
	require.Equal(t, wechat.ClassRate, wechat.ClassOf(err))

	id, err = answering(t, 200, `{"errcode":0,"msg_id":1}`).MassPreview(t.Context(), "tok", []byte(`{}`))
	require.NoError(t, err)
	require.Equal(t, "1", id)
}

func TestMassStatusAndDelete(t *testing.T) {
	c, got := recording(t, string(readVector(t, "api/wechatpy_message_mass_get.json")))
	status, err := c.MassStatus(t.Context(), "tok", "201053012")
	require.NoError(t, err)
	require.Equal(t, "SEND_SUCCESS", status)
	require.Equal(t, `{"msg_id":201053012}`, got.Body)
	_, err = c.MassStatus(t.Context(), "tok", "x")
	require.EqualError(t, err, "msg_id: must be a number")

	c, got = recording(t, `{"errcode":0}`)
	require.NoError(t, c.MassDelete(t.Context(), "tok", "7", 2))
	require.Equal(t, `{"article_idx":2,"msg_id":7}`, got.Body)
	require.NoError(t, c.MassDelete(t.Context(), "tok", "7", 0))
	require.Equal(t, `{"msg_id":7}`, got.Body)
	require.Error(t, c.MassDelete(t.Context(), "tok", "", 0))
}

func TestMassSpeed(t *testing.T) {
	c, got := recording(t, `{"speed":3,"realspeed":15}`)
	speed, perMinute, err := c.MassSpeed(t.Context(), "tok")
	require.NoError(t, err)
	require.Equal(t, 3, speed)
	require.EqualValues(t, 300_000, perMinute)
	require.Equal(t, "{}", got.Body)
	require.NoError(t, c.SetMassSpeed(t.Context(), "tok", 4))
	require.Equal(t, `{"speed":4}`, got.Body)
	require.Equal(t, wechat.ClassRequest, wechat.ClassOf(answering(t, 200, `{"errcode":45083}`).SetMassSpeed(t.Context(), "tok", 9)))
}
