package e2e

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sendJSON sends a message of any kind by the API for business systems.
func (f *fan) sendJSON(t testing.TB, key string, message map[string]any) (int, sent) {
	t.Helper()
	message["touser"] = f.openid
	status, body := f.w.call(t, http.MethodPost, f.w.Console+"/api/v1/accounts/"+f.account+"/messages", http.Header{"Idempotency-Key": {key + f.openid}}, message)
	var out sent
	require.NoError(t, json.Unmarshal(body, &out), "%s", body)
	return status, out
}

// state asks for a message until it has come to that state.
func (f *fan) state(t testing.TB, id, want string) (answer struct {
	State   string `json:"state"`
	Errcode int    `json:"errcode"`
	Reason  string `json:"reason"`
}) {
	t.Helper()
	require.True(t, eventually(t, 60*time.Second, func() bool {
		status, body := f.w.call(t, http.MethodGet, f.w.Console+"/api/v1/accounts/"+f.account+"/messages/"+id, nil, nil)
		require.Equal(t, http.StatusOK, status, "%s", body)
		require.NoError(t, json.Unmarshal(body, &answer))
		return answer.State == want
	}), "state %s wanted: %+v", want, answer)
	return answer
}

func templateMessage(value string) map[string]any {
	return map[string]any{"msgtype": "template", "template": map[string]any{
		"template_id": "T1", "data": map[string]any{"thing1": map[string]any{"value": value}},
	}}
}

var kinds = map[string]func(*testing.T, *world){
	"a template message needs no window and ends with WeChat's event": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		status, out := f.sendJSON(t, "template", templateMessage("已发货"))
		require.Equal(t, http.StatusAccepted, status, "%+v", out)
		f.sees(t, "template:thing1: 已发货")
		f.state(t, out.ID, "sent")
	},
	"a subscription message without consent is refused by WeChat with 43101": func(t *testing.T, w *world) {
		f := w.newFan(t, miniApp)
		_, out := f.sendJSON(t, "subscribe", map[string]any{"msgtype": "subscribe", "subscribe": map[string]any{
			"template_id": "S1", "data": map[string]any{"thing1": map[string]any{"value": "x"}},
		}})
		require.Equal(t, 43101, f.state(t, out.ID, "failed").Errcode)
		f.stays(t, 300*time.Millisecond)
	},
	"a long text arrives in parts, in order": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		f.opens(t)
		long := strings.Repeat("这是一个句子。", 200) // 4200 bytes: three messages
		status, out := f.sendJSON(t, "long", map[string]any{"msgtype": "text", "text": map[string]any{"content": long}})
		require.Equal(t, http.StatusAccepted, status, "%+v", out)
		f.state(t, out.ID, "sent")
		require.Equal(t, "passive:你好，朋友"+long, strings.ReplaceAll(strings.Join(f.saw(t), ""), "kf:", ""))
	},
	"typing is shown and takes nothing of the window": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		f.opens(t)
		_, out := f.sendJSON(t, "typing", map[string]any{"msgtype": "typing", "typing": map[string]any{}})
		f.state(t, out.ID, "sent")
		text, err := w.CLI(t, "quota", "--account", f.account, "--openid", f.openid)
		require.NoError(t, err, text)
		require.Contains(t, text, "5 messages until")
	},
	"a template goes out when the window is closed": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		out, err := w.CLI(t, "send", "text", "--account", f.account, "--openid", f.openid, "在吗", "--wait",
			"--fallback", `{"msgtype":"template","template":{"template_id":"T1","data":{"thing1":{"value":"在吗"}}}}`)
		require.NoError(t, err, out)
		require.Contains(t, out, "sent")
		require.Contains(t, out, "before that, custom_send refused: window closed")
		f.sees(t, "template:thing1: 在吗")
		_, err = w.CLI(t, "send", "text", "--account", f.account, "--openid", f.openid, "在吗")
		require.Error(t, err, "without a fallback it is refused")
	},
	"a business system names what to send instead, and reads why": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		status, out := f.sendJSON(t, "instead", map[string]any{"msgtype": "text", "text": map[string]any{"content": "在吗"}, "fallback": []any{templateMessage("在吗")}})
		require.Equal(t, http.StatusAccepted, status, "%+v", out)
		f.state(t, out.ID, "sent")
		f.sees(t, "template:thing1: 在吗")
		_, body := w.call(t, http.MethodGet, w.Console+"/api/v1/accounts/"+f.account+"/messages/"+out.ID, nil, nil)
		var message struct {
			Endpoint string `json:"endpoint"`
			Steps    []struct {
				Endpoint string `json:"endpoint"`
				Reason   string `json:"reason"`
			} `json:"steps"`
		}
		require.NoError(t, json.Unmarshal(body, &message))
		require.Equal(t, "template", message.Endpoint, "%s", body)
		require.Len(t, message.Steps, 1, "%s", body)
		require.Equal(t, "custom_send", message.Steps[0].Endpoint)
		require.Contains(t, message.Steps[0].Reason, "window closed")
	},
	"an image is uploaded once and sent": func(t *testing.T, w *world) {
		f := w.newFan(t, compatJSON)
		f.opens(t)
		file := filepath.Join(t.TempDir(), "photo.png")
		require.NoError(t, os.WriteFile(file, []byte("\x89PNG\r\n\x1a\n"+f.openid), 0o600))
		before, _ := w.calls(t, f.account, "/cgi-bin/media/upload")
		for range 2 {
			out, err := w.CLI(t, "send", "image", "--account", f.account, "--openid", f.openid, file, "--wait")
			require.NoError(t, err, out)
		}
		after, _ := w.calls(t, f.account, "/cgi-bin/media/upload")
		require.Equal(t, before+1, after)
		require.Len(t, f.saw(t), 3)
	},
	"what WeChat refuses for its content or its recipient fails with WeChat's code and is not tried again": func(t *testing.T, w *world) {
		for name, tc := range map[string]struct {
			code    int
			openid  string
			message map[string]any
		}{
			"media":     {40007, "", map[string]any{"msgtype": "image", "image": map[string]any{"media_id": "nobody-uploaded-this"}}},
			"agent":     {65401, "", map[string]any{"msgtype": "text", "text": map[string]any{"content": "x"}, "customservice": map[string]any{"kf_account": "nobody@here"}}},
			"recipient": {40003, "oNobodyAtAll", templateMessage("x")},
		} {
			f := w.newFan(t, compatJSON)
			f.opens(t)
			if tc.openid != "" {
				f.openid = tc.openid
			}
			status, out := f.sendJSON(t, name, tc.message)
			require.Equal(t, http.StatusAccepted, status, "%s: %+v", name, out)
			got := f.state(t, out.ID, "failed")
			require.Equal(t, tc.code, got.Errcode, name)
			require.NotEmpty(t, got.Reason, name)
		}
	},
	"an account tells how it stands": func(t *testing.T, w *world) {
		f := w.newFan(t, secureJSON)
		f.opens(t)
		out, err := w.CLI(t, "send", "text", "--account", f.account, "--openid", f.openid, "一", "--wait")
		require.NoError(t, err, out)
		out, err = w.CLI(t, "quota", "--account", f.account)
		require.NoError(t, err, out)
		require.Regexp(t, `custom_send +[1-9]\d* +500000`, out)
		require.Contains(t, out, "WeChat counts anew at")
		require.Contains(t, out, "not today")
	},
	"every type of customer-service message reaches the fan with all of its parts": func(t *testing.T, w *world) {
		picture, sound, film, thumb := w.upload(t, compatXML, "image", "\x89PNG\r\n\x1a\n a picture"), w.upload(t, compatXML, "voice", "#!AMR\n a voice"),
			w.upload(t, compatXML, "video", "\x00\x00\x00\x18ftypmp42 a film"), w.upload(t, compatXML, "thumb", "\xff\xd8\xff a thumb")
		w.reach(t, compatXML, map[string]shown{
			"text":  {map[string]any{"content": "<b>你好</b> & 再见"}, map[string]any{"text": "<b>你好</b> & 再见"}},
			"image": {map[string]any{"media_id": picture}, map[string]any{"media_id": picture}},
			"voice": {map[string]any{"media_id": sound}, map[string]any{"media_id": sound}},
			"video": {map[string]any{"media_id": film, "thumb_media_id": thumb, "title": "片", "description": "一部"},
				map[string]any{"media_id": film, "thumb_media_id": thumb, "title": "片", "description": "一部"}},
			"music": {map[string]any{"title": "歌", "description": "一首", "musicurl": "https://example.com/a.mp3", "hqmusicurl": "https://example.com/b.mp3", "thumb_media_id": thumb},
				map[string]any{"title": "歌", "description": "一首", "url": "https://example.com/a.mp3", "hq_url": "https://example.com/b.mp3", "thumb_media_id": thumb}},
			"news": {map[string]any{"articles": []any{map[string]any{"title": "八折", "description": "今天", "url": "https://example.com", "picurl": "https://example.com/a.png"}}},
				map[string]any{"articles": []any{map[string]any{"title": "八折", "description": "今天", "url": "https://example.com", "pic_url": "https://example.com/a.png"}}}},
			"mpnews":        {map[string]any{"media_id": picture}, map[string]any{"media_id": picture}},
			"mpnewsarticle": {map[string]any{"article_id": "article-1"}, map[string]any{"title": "article-1"}},
			"msgmenu": {map[string]any{"head_content": "满意吗？", "list": []any{map[string]any{"id": "1", "content": "满意"}, map[string]any{"id": "2", "content": "不满意"}}, "tail_content": "谢谢"},
				map[string]any{"menu": map[string]any{"head": "满意吗？", "tail": "谢谢", "items": []any{map[string]any{"id": "1", "text": "满意"}, map[string]any{"id": "2", "text": "不满意"}}}}},
			"wxcard": {map[string]any{"card_id": "card-1"}, map[string]any{"title": "card-1"}},
			"miniprogrampage": {map[string]any{"title": "小程序", "appid": "wx0123456789abcdef", "pagepath": "pages/index", "thumb_media_id": thumb},
				map[string]any{"title": "小程序", "appid": "wx0123456789abcdef", "page_path": "pages/index", "thumb_media_id": thumb}},
		})
		own := w.upload(t, miniApp, "image", "\x89PNG\r\n\x1a\n a picture")
		w.reach(t, miniApp, map[string]shown{
			"text":  {map[string]any{"content": "你好"}, map[string]any{"text": "你好"}},
			"image": {map[string]any{"media_id": own}, map[string]any{"media_id": own}},
			"link": {map[string]any{"title": "看", "description": "一眼", "url": "https://example.com", "thumb_url": "https://example.com/a.png"},
				map[string]any{"title": "看", "description": "一眼", "url": "https://example.com", "pic_url": "https://example.com/a.png"}},
			"miniprogrampage": {map[string]any{"title": "页", "pagepath": "pages/index", "thumb_media_id": own},
				map[string]any{"title": "页", "page_path": "pages/index", "thumb_media_id": own}},
		})
	},
}

// shown is the member of a message and what the fan sees of it.
type shown struct{ member, seen map[string]any }

// upload gives WeChat a file by the API for programs and returns its media id.
func (w *world) upload(t testing.TB, account, kind, file string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Console+"/api/v1/accounts/"+account+"/media?type="+kind, strings.NewReader(file))
	require.NoError(t, err)
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var out struct {
		MediaID string `json:"media_id"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&out))
	require.NotEmpty(t, out.MediaID, "%s %s", kind, resp.Status)
	return out.MediaID
}

// reach sends each type of message to a fan of its own and compares what the fan sees.
func (w *world) reach(t testing.TB, account string, types map[string]shown) {
	t.Helper()
	for kind, one := range types {
		f := w.newFan(t, account)
		f.says(t, "嘘")
		require.True(t, eventually(t, 60*time.Second, func() bool { return f.quota(t).Remaining == 5 }))
		status, out := f.sendJSON(t, kind, map[string]any{"msgtype": kind, kind: one.member})
		require.Equal(t, http.StatusAccepted, status, "%s: %+v", kind, out)
		f.state(t, out.ID, "sent")
		var view struct {
			Timeline []struct {
				Way     string         `json:"way"`
				Content map[string]any `json:"content"`
			} `json:"timeline"`
		}
		w.sim(t, http.MethodGet, "/sim/v1/accounts/"+account+"/fans/"+f.openid, nil, &view)
		last := view.Timeline[len(view.Timeline)-1]
		want := map[string]any{"type": kind}
		maps.Copy(want, one.seen)
		require.Equal(t, "kf", last.Way, kind)
		require.Equal(t, want, last.Content, kind)
	}
}
