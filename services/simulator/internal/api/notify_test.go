package api_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/simulator/internal/api"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

func TestTemplatesArePushedBackOnce(t *testing.T) {
	w := newWorld(t, map[string]api.Options{"shop": {Templates: []string{"T1"}}})
	token := w.token("wxshop")
	send := func(to, extra string) answer {
		return w.post("/cgi-bin/message/template/send", token, `{"touser":"`+to+`","template_id":"T1","data":{"thing1":{"value":"sold"}}`+extra+`}`)
	}
	first := send(fan, `,"client_msg_id":"c1"`)
	require.Zero(t, first.code())
	again := send(fan, `,"client_msg_id":"c1"`)
	require.Equal(t, first["msgid"], again["msgid"])
	events := w.finish()
	require.Len(t, events, 1)
	require.Equal(t, "TEMPLATESENDJOBFINISH", events[0].name)
	require.Equal(t, "success", events[0].fields["Status"])
	f, _ := w.ledger.Fan("shop", fan)
	require.Len(t, f.Timeline, 1)
	require.Equal(t, "thing1: sold", f.Timeline[0].Content.Text)

	w.clock.Advance(11 * time.Minute)
	require.NotEqual(t, first["msgid"], send(fan, `,"client_msg_id":"c1"`)["msgid"], "the key is forgotten after ten minutes")
	require.Equal(t, 40003, send("oNobody", "").code())
	require.Equal(t, 40037, w.post("/cgi-bin/message/template/send", token, `{"touser":"oFan1","template_id":"T2","data":{"a":{}}}`).code())
	require.Equal(t, 47003, w.post("/cgi-bin/message/template/send", token, `{"touser":"oFan1","template_id":"T1"}`).code())
	require.Equal(t, 48001, w.post("/cgi-bin/message/template/send", w.token("wxclub"), `{"touser":"oFan1","template_id":"T1"}`).code())
}

func TestSubscribeMessagesNeedConsent(t *testing.T) {
	w := newWorld(t)
	body := `{"touser":"oFan1","template_id":"T1","data":{"thing1":{"value":"x"}}}`
	require.Equal(t, 43101, w.post("/cgi-bin/message/subscribe/send", w.token("wxmini"), body).code())
	require.NoError(t, w.ledger.EditFan("mini", fan, func(f *ledger.FanEdit) { f.Consents["T1"] = 1 }))
	require.Zero(t, w.post("/cgi-bin/message/subscribe/send", w.token("wxmini"), body).code())
	require.Equal(t, 43101, w.post("/cgi-bin/message/subscribe/send", w.token("wxmini"), body).code(), "one consent is one message")
	require.Equal(t, "subscribe_msg_sent_event", w.finish()[0].name)
	require.Equal(t, 48001, w.post("/cgi-bin/message/subscribe/send", w.token("wxshop"), body).code())
	require.Equal(t, 43101, w.post("/cgi-bin/message/subscribe/bizsend", w.token("wxshop"), body).code())
}

func TestOneTimeMessagesNeedConsent(t *testing.T) {
	w := newWorld(t)
	const path = "/cgi-bin/message/template/subscribe"
	body := `{"touser":"oFan1","template_id":"T1","scene":"7","title":"到货","data":{"content":{"value":"x"}}}`
	require.Equal(t, 43101, w.post(path, w.token("wxshop"), body).code())
	require.NoError(t, w.ledger.EditFan("shop", fan, func(f *ledger.FanEdit) { f.Consents["T1"] = 1 }))
	require.Equal(t, 47003, w.post(path, w.token("wxshop"), strings.Replace(body, `"7"`, `"seven"`, 1)).code())
	first := w.post(path, w.token("wxshop"), body)
	require.Zero(t, first.code())
	require.NotContains(t, first, "msgid")
	require.Equal(t, 43101, w.post(path, w.token("wxshop"), body).code())
	require.Equal(t, 48001, w.post(path, w.token("wxmini"), body).code())
}

func TestTemplateLists(t *testing.T) {
	w := newWorld(t, map[string]api.Options{"shop": {Templates: []string{"T1", "T2"}}})
	require.Len(t, w.post("/cgi-bin/template/get_all_private_template", w.token("wxshop"), "{}")["template_list"], 2)
	require.Equal(t, 48001, w.post("/cgi-bin/template/get_all_private_template", w.token("wxmini"), "{}").code())
	require.Len(t, w.post("/wxaapi/newtmpl/gettemplate", w.token("wxmini"), "{}")["data"], 1)
}

func TestMassSends(t *testing.T) {
	w := newWorld(t)
	token := w.token("wxshop")
	body := `{"filter":{"is_to_all":true},"msgtype":"text","text":{"content":"sale"},"clientmsgid":"c1"}`
	first := w.post("/cgi-bin/message/mass/sendall", token, body)
	require.Zero(t, first.code())
	id, err := json.Marshal(first["msg_id"])
	require.NoError(t, err)
	get := func() any {
		return w.post("/cgi-bin/message/mass/get", token, `{"msg_id":`+string(id)+`}`)["msg_status"]
	}
	require.Equal(t, "SENDING", get())
	again := w.post("/cgi-bin/message/mass/sendall", token, body)
	require.Equal(t, 45065, again.code())
	require.Equal(t, first["msg_id"], again["msg_id"], "the original id")
	events := w.finish()
	require.Len(t, events, 1)
	require.Equal(t, "MASSSENDJOBFINISH", events[0].name)
	require.Equal(t, 2, events[0].fields["SentCount"])
	require.Equal(t, "SEND_SUCCESS", get())
	f, _ := w.ledger.Fan("shop", fan)
	require.Equal(t, ledger.WayMass, f.Timeline[0].Way)

	list := func(to string) int {
		return w.post("/cgi-bin/message/mass/send", token, `{"touser":`+to+`,"msgtype":"text","text":{"content":"x"}}`).code()
	}
	require.Equal(t, 40130, list(`["oFan1"]`))
	require.Equal(t, 40032, list(`"oFan1"`))
	require.Zero(t, list(`["oFan1","oFan2"]`))
	require.Equal(t, 45067, w.post("/cgi-bin/message/mass/sendall", token, `{"clientmsgid":"`+strings.Repeat("x", 65)+`"}`).code())
	require.Equal(t, 40008, w.post("/cgi-bin/message/mass/sendall", token, `{"filter":{"is_to_all":true},"msgtype":"hologram"}`).code())
	require.Zero(t, w.post("/cgi-bin/message/mass/preview", token, `{"touser":"oFan1","msgtype":"text","text":{"content":"x"}}`).code())
	require.Equal(t, 45083, w.post("/cgi-bin/message/mass/speed/set", token, `{"speed":5}`).code())
	require.Equal(t, 45084, w.post("/cgi-bin/message/mass/speed/set", token, `{}`).code())
	require.Zero(t, w.post("/cgi-bin/message/mass/speed/set", token, `{"speed":4}`).code())
	require.EqualValues(t, 4, w.post("/cgi-bin/message/mass/speed/get", token, ``)["speed"])
}

func TestAFanGetsFourMassMessagesAMonth(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		require.Zero(t, w.post("/cgi-bin/message/mass/sendall", w.token("wxshop"), `{"filter":{"is_to_all":true},"msgtype":"text","text":{"content":"x"}}`).code())
	}
	events := w.finish()
	require.Equal(t, 2, events[3].fields["SentCount"])
	require.Equal(t, 0, events[4].fields["FilterCount"])
	require.Zero(t, w.post("/cgi-bin/message/mass/sendall", w.token("wxclub"), `{"filter":{"is_to_all":true},"msgtype":"text","text":{"content":"x"}}`).code())
	require.Equal(t, 45028, w.post("/cgi-bin/message/mass/sendall", w.token("wxclub"), `{"filter":{"is_to_all":true},"msgtype":"text","text":{"content":"x"}}`).code(), "a subscription account has one a day")
}

func TestDeletedMassJobsDoNotArrive(t *testing.T) {
	w := newWorld(t)
	token := w.token("wxshop")
	first := w.post("/cgi-bin/message/mass/sendall", token, `{"filter":{"is_to_all":true},"msgtype":"text","text":{"content":"x"}}`)
	id, err := json.Marshal(first["msg_id"])
	require.NoError(t, err)
	require.Zero(t, w.post("/cgi-bin/message/mass/delete", token, `{"msg_id":`+string(id)+`}`).code())
	require.Empty(t, w.finish())
	require.Equal(t, 40097, w.post("/cgi-bin/message/mass/delete", token, `{"msg_id":1}`).code())
}
