package console_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/console"
)

const (
	massPath  = "/api/v1/accounts/shop/mass"
	massToTag = `{"filter":{"is_to_all":false,"tag_id":100},"msgtype":"text","text":{"content":"周五八折"}}`
)

func TestAMassMessageOfABusinessSystem(t *testing.T) {
	s := newSite(t)
	sent := s.call("POST", massPath+"?name=friday", massToTag, "Idempotency-Key", "friday")
	require.Equal(t, http.StatusAccepted, sent.status, sent.text)
	require.Equal(t, map[string]any{"id": "m0", "state": "queued", "replayed": false}, sent.data(t))
	require.Equal(t, massPath+"/m0", sent.header.Get("Location"))
	again := s.call("POST", massPath, massToTag, "Idempotency-Key", "friday").data(t)
	require.Equal(t, map[string]any{"id": "m0", "state": "sent", "replayed": true}, again)

	got := s.backend.masses()
	require.Len(t, got, 1)
	require.Equal(t, "shop friday friday", got[0].GetAccount()+" "+got[0].GetIdempotencyKey()+" "+got[0].GetName())
	require.Equal(t, int32(100), got[0].GetMessage().GetTagId())
	require.Equal(t, "周五八折", got[0].GetMessage().GetText().GetContent())

	status := s.call("GET", sent.header.Get("Location"), "").data(t)
	require.Equal(t, "SEND_SUCCESS", status["wechat_status"])
	require.EqualValues(t, 1, status["result"].(map[string]any)["error_count"])
	require.NotContains(t, status, "request_hash")
	listed := s.call("GET", massPath+"?name=monday", "").data(t)["mass"].([]any)[0].(map[string]any)
	require.Equal(t, []any{"monday", "tag 100", "m0"}, []any{listed["name"], listed["target"], listed["id"]})
	shown := s.call("POST", massPath+":preview", `{"towxname":"zhang","msgtype":"text","text":{"content":"x"}}`).data(t)
	require.Equal(t, "zhang", shown["msg_id"])
	require.Equal(t, http.StatusOK, s.call("DELETE", massPath+"/m0?article_index=2", "").status)
	require.Equal(t, http.StatusOK, s.call("PUT", massPath+":speed", `{"speed":4}`).status)
}

func TestAListOfTenThousandFansFits(t *testing.T) {
	s := newSite(t)
	openids := make([]string, 10_000)
	for i := range openids {
		openids[i] = "o" + strings.Repeat("x", 22) + string(mustJSON(t, 10_000+i))
	}
	body := string(mustJSON(t, map[string]any{"touser": openids, "msgtype": "text", "text": map[string]any{"content": "x"}}))
	sent := s.call("POST", massPath, body, "Idempotency-Key", "all")
	require.Equal(t, http.StatusAccepted, sent.status, sent.text)
	require.Equal(t, openids, s.backend.masses()[0].GetMessage().GetOpenids().GetOpenids())
}

func TestAWrongRequestNamesTheFieldAndWhatToDo(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct{ method, path, body, field, message string }{
		{"POST", massPath, `{"msgtype":"text","text":{"content":"x"}}`, "filter", "is_to_all"},
		{"POST", massPath, `{"filter":{"tag_id":"gold"},"msgtype":"text","text":{"content":"x"}}`, "filter.tag_id", "must be a whole number"},
		{"POST", massPath, `{"touser":["a"],"msgtype":"text","text":{"content":"x"}}`, "touser", "2 to 10000 fans, has 1"},
		{"POST", massPath + ":preview", `{"msgtype":"text","text":{"content":"x"}}`, "touser", "towxname"},
		{"DELETE", massPath + "/m0?article_index=-1", "", "article_index", "must not be negative"},
		{"DELETE", massPath + "/m0?article_index=first", "", "article_index", "must be a whole number"},
		{"PUT", massPath + ":speed", `{"speed":"fast"}`, "speed", "must be a whole number"},
		{"PUT", massPath + ":speed", `{"speed":9}`, "speed", "must be 0 to 4"},
		{"POST", "/api/v1/accounts/shop/campaigns", `{"name":5}`, "name", "must be a string"},
		{"POST", "/api/v1/accounts/shop/campaigns", `{"name":"x","massage":{}}`, "massage", "is not a field of this request"},
		{"POST", "/api/v1/accounts/shop/campaigns", "{\n  \"name\": \"春\",\n  \"message\": {\"content\": {\"text\": {\"content\": 5}}}}", "message.content.text.content", "must be a string"},
		{"POST", "/api/v1/accounts/shop/campaigns", `{"message":{"content":{"text":{"content":"a"},"image":{"media_id":"m"}}}}`, "message.content.image", "only one of them"},
		{"POST", "/api/v1/accounts/shop/campaigns", `{"message":{"fallback":[{"text":{"content":"a"}},{"text":{"contents":"a"}}]}}`, "message.fallback[1].text.contents", "is not a field"},
		{"POST", "/api/v1/accounts/shop/campaigns", `{"message":{"fallback":{}}}`, "message.fallback", "is not of the right kind"},
		{"POST", "/api/v1/accounts/shop/campaigns", `{"name":"a","name":"b"}`, "name", "is there twice"},
		{"POST", "/api/v1/accounts/shop/campaigns", `[]`, "", "must be one JSON object"},
		{"POST", "/api/v1/accounts/shop/campaigns", ` `, "", "must be one JSON object"},
		{"POST", "/api/v1/accounts/shop/campaigns/c/start", `{"expected_recipients":-1}`, "expected_recipients", "must be a whole number"},
		{"GET", "/api/v1/accounts/shop/campaigns/c/count?rate=fast", "", "rate", "must be a number"},
		{"GET", "/api/v1/accounts/shop/campaigns/c/recipients?states=gone", "", "states", "must be one of pending"},
		{"GET", "/api/v1/accounts/shop/campaigns/c/recipients?errcodes=x", "", "errcodes", "must be a whole number"},
		{"GET", "/api/v1/accounts/shop/campaigns?page_size=1&page_size=2", "", "page_size", "once at most"},
		{"POST", "/api/v1/accounts/shop/media", "x", "type", "image, voice, video or thumb"},
		{"POST", "/api/v1/accounts/shop/media?type=image", "", "", "the body must be the file"},
	} {
		got := s.call(c.method, c.path, c.body, "Idempotency-Key", "k", "Content-Type", "application/json")
		require.Equal(t, http.StatusBadRequest, got.status, "%s %s %s: %s", c.method, c.path, c.body, got.text)
		p := got.problem(t)
		if c.field == "" {
			require.NotContains(t, p, "field", "%s %s", c.path, c.body)
		} else {
			require.Equal(t, c.field, p["field"], "%s %s", c.path, c.body)
		}
		require.Contains(t, p["message"], c.message, "%s %s", c.path, c.body)
	}
	require.Equal(t, "Idempotency-Key", s.call("POST", massPath, massToTag).problem(t)["field"])
	require.Empty(t, s.backend.masses())
}

func TestTheAudienceOfACampaignMayBeTheFileItself(t *testing.T) {
	s := newSite(t)
	const path = "/api/v1/accounts/shop/campaigns/spring/audience"
	file := "openid,name\n" + strings.Repeat("o_x,Li\n", 20_000) // larger than other requests may be
	got := s.call("PUT", path+"?strict=true", file, "Content-Type", "text/csv; charset=utf-8")
	require.Equal(t, http.StatusOK, got.status, got.text)
	report := got.data(t)["report"].(map[string]any)
	require.EqualValues(t, 20_001, report["lines"])
	require.Equal(t, false, report["frozen"], "strict came from the query")
	rows := s.call("GET", "/api/v1/accounts/shop/campaigns/spring/recipients?states=failed&states=refused&errcodes=45009&openid=o_x&page_size=7", "").data(t)["recipients"].([]any)
	require.Len(t, rows, 2)
	require.Equal(t, "RECIPIENT_STATE_REFUSED o_x", rows[1].(map[string]any)["state"].(string)+" "+rows[1].(map[string]any)["openid"].(string))
	require.EqualValues(t, 2, s.call("GET", "/api/v1/accounts/shop/campaigns/spring/replay?errcodes=45009&errcodes=-1", "").data(t)["count"])
}

func TestAFileIsUploadedAsItIs(t *testing.T) {
	s := newSite(t)
	got := s.call("POST", "/api/v1/accounts/shop/media?type=voice&filename=a.amr", "#!AMR"+strings.Repeat("\x00", 100_000))
	require.Equal(t, http.StatusOK, got.status, got.text)
	require.Equal(t, "MEDIA_TYPE_VOICE a.amr", got.data(t)["media_id"])
	require.Equal(t, http.StatusRequestEntityTooLarge, s.call("POST", "/api/v1/accounts/shop/media?type=video", strings.Repeat("x", 12<<20)).status)
}

// FuzzRequestBody: whatever a caller sends as a request is read, or refused with a status that says whose mistake it was.
func FuzzRequestBody(f *testing.F) {
	s := newSite(f, func(c *console.Config) { c.RateLimit, c.RateBurst = 1e9, 1<<30 })
	for _, body := range []string{`{"name":"x","message":{"content":{"text":{"content":"a"}}}}`, `{"a":[{"b":[]}]}`, "{\n\"name\":\n5}", `{"message":{"fallback":[1]}}`, ``, `{`, "{\"\xff\":1}"} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s.t = t
		got := s.call("POST", "/api/v1/accounts/shop/campaigns", body, "Idempotency-Key", "k")
		require.Contains(t, []int{http.StatusCreated, http.StatusBadRequest, http.StatusRequestEntityTooLarge}, got.status, got.text)
		require.True(t, json.Valid([]byte(got.text)))
	})
}
