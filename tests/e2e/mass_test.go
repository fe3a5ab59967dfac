package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// massSend sends by the command line, waits for WeChat's result, and returns the id of the send.
func (w *world) massSend(t testing.TB, args ...string) string {
	t.Helper()
	out, err := w.CLI(t, append([]string{"send", "mass", "--account", massOnly, "--yes", "--wait"}, args...)...)
	require.NoError(t, err, out)
	id := regexp.MustCompile(`(?m)^([0-9a-f]{32})  sent`).FindStringSubmatch(out)
	require.Len(t, id, 2, out)
	return id[1]
}

// massStatus is what the operator reads about a mass message.
func (w *world) massStatus(t testing.TB, id string) (status struct {
	WeChat string `json:"wechat_status"`
	Record struct {
		State  string `json:"state"`
		Result struct {
			Total json.Number `json:"total_count"`
			Sent  json.Number `json:"sent_count"`
		} `json:"result"`
	} `json:"record"`
}) {
	t.Helper()
	out, err := w.CLI(t, "send", "mass", "status", id, "--account", massOnly, "--json")
	require.NoError(t, err, out)
	require.NoError(t, json.Unmarshal([]byte(out), &status), out)
	return status
}

// massCall asks the API for programs about mass messages.
func (w *world) massCall(t testing.TB, method, path, key string, body any) (int, map[string]any) {
	t.Helper()
	status, text := w.call(t, method, w.Console+"/api/v1/accounts/"+massOnly+"/"+path, http.Header{"Idempotency-Key": {key}}, body)
	var out map[string]any
	require.NoError(t, json.Unmarshal(text, &out), string(text))
	return status, out
}

var mass = map[string]func(*testing.T, *world){
	"a mass message goes to the fans with a tag, once for its key, and ends with WeChat's event": func(t *testing.T, w *world) {
		a, b, other := w.newFan(t, massOnly), w.newFan(t, massOnly), w.newFan(t, massOnly)
		a.edit(t, map[string]any{"tags": []int{100}})
		b.edit(t, map[string]any{"tags": []int{100}})
		_, err := w.CLI(t, "send", "mass", "tag", "100", "--account", massOnly, "--text", "八折")
		require.Error(t, err, "nothing is sent without --yes")
		id := w.massSend(t, "tag", "100", "--text", "八折", "--key", "friday")
		require.Equal(t, id, w.massSend(t, "tag", "100", "--text", "八折", "--key", "friday"))
		a.sees(t, "mass:八折")
		b.sees(t, "mass:八折")
		require.Empty(t, other.saw(t))
		status := w.massStatus(t, id)
		require.Equal(t, "SEND_SUCCESS", status.WeChat)
		require.Equal(t, "SEND_STATE_SENT", status.Record.State)
		require.Equal(t, json.Number("2"), status.Record.Result.Sent)
		require.Len(t, w.saw(t, massOnly, "/cgi-bin/message/mass/sendall"), 1)
	},
	"a mass message goes to a list, and WeChat takes it back": func(t *testing.T, w *world) {
		a, gone := w.newFan(t, massOnly), w.stranger(t, massOnly)
		file := filepath.Join(w.Dir, "mass.txt")
		require.NoError(t, os.WriteFile(file, []byte(strings.Join([]string{a.openid, gone.openid, ""}, "\n")), 0o600))
		id := w.massSend(t, "list", file, "--text", "名单", "--name", "名单八折")
		a.sees(t, "mass:名单")
		status := w.massStatus(t, id)
		require.Equal(t, json.Number("2"), status.Record.Result.Total)
		require.Equal(t, json.Number("1"), status.Record.Result.Sent)
		out, err := w.CLI(t, "send", "mass", "jobs", "--account", massOnly, "--name", "名单八折")
		require.NoError(t, err, out)
		require.Regexp(t, id+` +名单八折 +2 fans .* sent +1 `, out)
		out, err = w.CLI(t, "send", "mass", "delete", id, "--account", massOnly)
		require.NoError(t, err, out)
		require.Equal(t, "DELETE", w.massStatus(t, id).WeChat)
	},
	"a mass message is looked at by one fan, and its speed is set": func(t *testing.T, w *world) {
		f := w.newFan(t, massOnly)
		out, err := w.CLI(t, "send", "mass", "preview", "--account", massOnly, "--openid", f.openid, "--text", "预览")
		require.NoError(t, err, out)
		f.sees(t, "mass:预览")
		out, err = w.CLI(t, "send", "mass", "speed", "3", "--account", massOnly)
		require.NoError(t, err, out)
		require.Contains(t, out, "speed 3: 300000 messages")
		out, err = w.CLI(t, "send", "mass", "speed", "9", "--account", massOnly)
		require.Error(t, err, out)
	},
	"a mass message of a program goes to a list once for its key, is looked up, and is taken back": func(t *testing.T, w *world) {
		a, b, gone := w.newFan(t, massOnly), w.newFan(t, massOnly), w.stranger(t, massOnly)
		message := func(to any, text string) map[string]any {
			return map[string]any{"touser": to, "msgtype": "text", "text": map[string]any{"content": text}}
		}
		body := message([]string{a.openid, b.openid, gone.openid}, "程序群发")
		code, shown := w.massCall(t, http.MethodPost, "mass:preview", "", message(a.openid, "先看"))
		require.Equal(t, http.StatusOK, code, shown)
		a.sees(t, "mass:先看")
		code, sent := w.massCall(t, http.MethodPost, "mass?name=program", "program", body)
		require.Equal(t, http.StatusAccepted, code, sent)
		code, again := w.massCall(t, http.MethodPost, "mass?name=program", "program", body)
		require.Equal(t, http.StatusAccepted, code, again)
		require.Equal(t, []any{sent["id"], true}, []any{again["id"], again["replayed"]})
		a.sees(t, "mass:先看", "mass:程序群发")
		b.sees(t, "mass:程序群发")
		path := "mass/" + sent["id"].(string)
		var status map[string]any
		require.True(t, eventually(t, 60*time.Second, func() bool {
			_, status = w.massCall(t, http.MethodGet, path, "", nil)
			return status["state"] == "sent"
		}), "%v", status)
		require.Equal(t, "SEND_SUCCESS", status["wechat_status"])
		require.EqualValues(t, 2, status["result"].(map[string]any)["sent_count"])
		_, list := w.massCall(t, http.MethodGet, "mass?name=program", "", nil)
		require.Equal(t, sent["id"], list["mass"].([]any)[0].(map[string]any)["id"])
		code, deleted := w.massCall(t, http.MethodDelete, path, "", nil)
		require.Equal(t, http.StatusOK, code, deleted)
		_, status = w.massCall(t, http.MethodGet, path, "", nil)
		require.Equal(t, "DELETE", status["wechat_status"])
	},
}
