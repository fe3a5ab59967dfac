package e2e

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// campaign is the command line of an operator who sends a campaign.
func (w *world) campaign(t testing.TB, args ...string) string {
	t.Helper()
	out, err := w.CLI(t, append([]string{"campaign", "--address", w.GRPC("sender")}, args...)...)
	require.NoError(t, err, out)
	return out
}

// list writes a CSV file with the fans and one more column.
func (w *world) list(t testing.TB, name string, fans ...*fan) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("openid,name\n")
	for i, f := range fans {
		fmt.Fprintf(&b, "%s,朋友%d\n", f.openid, i+1)
	}
	b.WriteString("not an openid,x\n")
	file := filepath.Join(w.Dir, name+".csv")
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	return file
}

var campaigns = map[string]func(*testing.T, *world){
	"a campaign is counted, sent with a canary, and its refusals are replayed": func(t *testing.T, w *world) {
		a, b, cold := w.newFan(t, plainJSON), w.newFan(t, plainJSON), w.newFan(t, plainJSON)
		a.says(t, "你好")
		b.says(t, "你好")
		out := w.campaign(t, "create", "spring", "--account", plainJSON, "--text", "{{name}}，春天好", "--csv", w.list(t, "spring", a, b, cold))
		require.Contains(t, out, "line 5")
		require.Contains(t, out, "bad_openid")
		require.True(t, eventually(t, 60*time.Second, func() bool {
			return regexp.MustCompile(`would get it\s+2\b`).MatchString(w.campaign(t, "count", "spring", "--account", plainJSON))
		}), "the sender knows both windows")

		_, err := w.CLI(t, "campaign", "--address", w.GRPC("sender"), "start", "spring", "--account", plainJSON)
		require.Error(t, err, "nothing starts without --yes")
		out = w.campaign(t, "start", "spring", "--account", plainJSON, "--canary", "1", "--yes", "--follow")
		require.Contains(t, out, "finished")
		a.sees(t, "passive:你好，朋友", "kf:朋友1，春天好")
		b.sees(t, "passive:你好，朋友", "kf:朋友2，春天好")
		cold.stays(t, 300*time.Millisecond)

		cold.says(t, "你好")
		require.True(t, eventually(t, 60*time.Second, func() bool {
			out, err := w.CLI(t, "campaign", "--address", w.GRPC("sender"), "replay", "spring", "--account", plainJSON, "--errcode", "0", "--yes", "--follow")
			return err == nil && regexp.MustCompile(`(?m)^sent\s+3$`).MatchString(out)
		}), "who was refused gets it after writing")
		cold.sees(t, "passive:你好，朋友", "kf:朋友3，春天好")
		a.sees(t, "passive:你好，朋友", "kf:朋友1，春天好")

		out = w.campaign(t, "export", "spring", "--account", plainJSON, "--state", "sent")
		require.Equal(t, 4, strings.Count(out, "\n"), out)
		require.Contains(t, w.campaign(t, "list", "--account", plainJSON), "spring")
	},
	"a canary is a sample of the list and the rest follows, each fan once": func(t *testing.T, w *world) {
		var fans []*fan
		openids := map[string]*fan{}
		for range 8 {
			f := w.newFan(t, plainJSON)
			f.says(t, "你好")
			fans, openids[f.openid] = append(fans, f), f
		}
		w.campaign(t, "create", "sample", "--account", plainJSON, "--text", "抽样", "--csv", w.list(t, "sample", fans...))
		require.True(t, eventually(t, 60*time.Second, func() bool {
			return regexp.MustCompile(`would get it\s+8\b`).MatchString(w.campaign(t, "count", "sample", "--account", plainJSON))
		}), "the sender knows all windows")
		w.campaign(t, "start", "sample", "--account", plainJSON, "--canary", "3", "--confirm", "--yes")
		require.True(t, eventually(t, 60*time.Second, func() bool {
			return strings.Contains(w.campaign(t, "status", "sample", "--account", plainJSON), "step 1 is done")
		}), "the canary waits for somebody")

		var sent [][]string
		require.True(t, eventually(t, 60*time.Second, func() bool {
			var err error
			sent, err = csv.NewReader(strings.NewReader(w.campaign(t, "export", "sample", "--account", plainJSON, "--state", "sent"))).ReadAll()
			require.NoError(t, err)
			return len(sent) == 1+3
		}), "%s", sent)
		for _, row := range sent[1:] {
			openids[row[0]].sees(t, "passive:你好，朋友", "kf:抽样")
			delete(openids, row[0])
		}
		for _, f := range openids {
			require.Equal(t, []string{"passive:你好，朋友"}, f.saw(t), "not in the sample")
		}
		w.campaign(t, "resume", "sample", "--account", plainJSON)
		for _, f := range fans {
			f.sees(t, "passive:你好，朋友", "kf:抽样")
		}
	},
	"result events close the books of a campaign of template messages": func(t *testing.T, w *world) {
		a, b, gone := w.newFan(t, secureJSON), w.newFan(t, secureJSON), w.newFan(t, secureJSON)
		gone.does(t, "unsubscribe", nil)
		w.expectViolation("send_after_unfollow", gone) // a template is sent all the same: WeChat alone knows who follows
		file := filepath.Join(w.Dir, "template.json")
		require.NoError(t, os.WriteFile(file, []byte(`{"content":{"template":{"template_id":"t1","data":{"thing1":{"value":"{{name}}"}}}}}`), 0o600))
		w.campaign(t, "create", "notice", "--account", secureJSON, "--message", file, "--csv", w.list(t, "notice", a, b, gone))
		w.campaign(t, "start", "notice", "--account", secureJSON, "--yes", "--follow")
		var rec struct {
			State    string `json:"state"`
			Progress struct {
				Sent      int `json:"sent"`
				Confirmed int `json:"confirmed"`
				Refused   int `json:"refused"`
				Failures  []struct {
					Errcode int    `json:"errcode"`
					Advice  string `json:"advice"`
				} `json:"failures"`
			} `json:"progress"`
		}
		out := w.campaign(t, "status", "notice", "--account", secureJSON, "--json")
		require.NoError(t, json.Unmarshal([]byte(out), &rec), out)
		require.Equal(t, "CAMPAIGN_STATE_FINISHED", rec.State)
		require.Equal(t, 2, rec.Progress.Sent, out)
		require.Equal(t, 2, rec.Progress.Confirmed, "WeChat told that they got it: %s", out)
		require.Equal(t, 1, rec.Progress.Refused, "who has left is known, and WeChat is not asked: %s", out)
		require.Zero(t, rec.Progress.Failures[0].Errcode, out)
		require.Contains(t, rec.Progress.Failures[0].Advice, "see the reason")
	},
	"a campaign leaves the reserved calls of the day to more urgent messages, and says what it waits for": func(t *testing.T, w *world) {
		var fans []*fan
		for range 7 {
			f := w.newFan(t, thrifty)
			f.opens(t)
			fans = append(fans, f)
		}
		f := fans[0]
		f.state(t, f.accepted(t, "通知一"), "sent")
		require.True(t, eventually(t, 60*time.Second, func() bool {
			status, body := w.call(t, http.MethodGet, w.Console+"/api/v1/accounts/"+thrifty+"/sending", nil, nil)
			require.Equal(t, http.StatusOK, status, string(body))
			var out struct {
				Endpoints []struct {
					Path       string `json:"path"`
					FromWeChat bool   `json:"limit_from_wechat"`
					Shares     []struct {
						Lane  string `json:"lane"`
						Limit string `json:"limit"`
					} `json:"shares"`
				} `json:"endpoints"`
			}
			require.NoError(t, json.Unmarshal(body, &out), string(body))
			custom := out.Endpoints[0]
			return custom.FromWeChat && len(custom.Shares) == 1 && custom.Shares[0].Lane == "LANE_CAMPAIGN" && custom.Shares[0].Limit == "5"
		}), "WeChat told the limit of the day, and campaigns have half of it")

		w.campaign(t, "create", "thrift", "--account", thrifty, "--text", "活动", "--csv", w.list(t, "thrift", fans...))
		counted := w.campaign(t, "count", "thrift", "--account", thrifty)
		require.Contains(t, counted, "more than today's budget: they would wait for the next days")
		require.Contains(t, counted, "today's budget has room for")
		w.campaign(t, "start", "thrift", "--account", thrifty, "--yes")
		require.True(t, eventually(t, 60*time.Second, func() bool {
			return strings.Contains(w.campaign(t, "status", "thrift", "--account", thrifty), "share of the day's calls")
		}), "it waits, and says for what")
		before, codes := w.calls(t, thrifty, sendPath)
		require.LessOrEqual(t, before, 5, "no call beyond its share: %v", codes)

		f.state(t, f.accepted(t, "通知二"), "sent")
		after, codes := w.calls(t, thrifty, sendPath)
		require.Equal(t, before+1, after, "who is more urgent sends, and the campaign still waits")
		require.Equal(t, make([]int, after), codes, "WeChat refused nothing")
		w.campaign(t, "cancel", "thrift", "--account", thrifty, "--yes")
	},
}
