package e2e

import (
	"bytes"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTable is the promise in scenarios. The order matters only for the last ones, which kill.
func TestTable(t *testing.T) {
	w := start(t)
	t.Run("answered", func(t *testing.T) {
		for _, account := range []string{secureXML, secureJSON, compatXML, compatJSON, plainXML, plainJSON} {
			t.Run(account+" answers a keyword passively, in time", func(t *testing.T) {
				t.Parallel()
				f := w.newFan(t, account)
				p := f.says(t, "你好")
				require.Equal(t, "passive", p.Shown, "%+v", p.Attempts)
				require.Len(t, p.Attempts, 1)
				f.sees(t, "passive:你好，朋友")
			})
		}
		for name, scenario := range answered {
			t.Run(name, func(t *testing.T) { t.Parallel(); scenario(t, w) })
		}
		for name, scenario := range actions {
			t.Run(name, func(t *testing.T) { t.Parallel(); scenario(t, w) })
		}
		for name, scenario := range sending {
			t.Run(name, func(t *testing.T) { t.Parallel(); scenario(t, w) })
		}
		for name, scenario := range kinds {
			t.Run(name, func(t *testing.T) { t.Parallel(); scenario(t, w) })
		}
		for name, scenario := range errcodes {
			t.Run(name, func(t *testing.T) { t.Parallel(); scenario(t, w) })
		}
		for name, scenario := range consents {
			t.Run(name, func(t *testing.T) { t.Parallel(); scenario(t, w) })
		}
		for name, scenario := range mass {
			t.Run(name, func(t *testing.T) { t.Parallel(); scenario(t, w) })
		}
		for name, scenario := range atTheDesk {
			t.Run(name, func(t *testing.T) { t.Parallel(); scenario(t, w) })
		}
		for name, scenario := range privacy {
			t.Run(name, func(t *testing.T) { t.Parallel(); scenario(t, w) })
		}
		for name, scenario := range desk {
			t.Run(name, func(t *testing.T) { t.Parallel(); scenario(t, w) })
		}
		for name, scenario := range refused {
			t.Run(name, func(t *testing.T) { t.Parallel(); scenario(t, w) })
		}
		for name, scenario := range campaigns {
			t.Run(name, func(t *testing.T) { t.Parallel(); scenario(t, w) })
		}
	})
	t.Run("gateway killed between publish and answer: the retry gets the reply from another replica", func(t *testing.T) { gatewayKilled(t, w) })
	t.Run("an operator adds an account, rotates its keys under traffic, sees another system, disables and deletes it", func(t *testing.T) { operatorAddsAccount(t, w) })
	t.Run("an operator publishes, tries out and rolls back rules", func(t *testing.T) { operatorAtWork(t, w) })
	t.Run("an operator edits a draft, tries it on what fans wrote, publishes and rolls back", func(t *testing.T) { operatorEdits(t, w) })
	t.Run("the examples of the guides work as they stand", func(t *testing.T) { guides(t, w) })
	t.Run("the simulator saw no violation", func(t *testing.T) { noViolations(t, w) })
}

var answered = map[string]func(*testing.T, *world){
	"prefix, regex and image": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		f.says(t, "订单 12345 到哪了")
		f.says(t, "123456")
		f.does(t, "image", nil)
		f.sees(t, "passive:订单已发货", "passive:验证码收到", "passive:图片收到")
	},
	"several replies: the first passively, the others after it, in order": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		f.says(t, "两条")
		f.sees(t, "passive:第一条", "kf:第二条", "kf:第三条")
	},
	"follow and menu click": func(t *testing.T, w *world) {
		f := w.newFan(t, secureJSON)
		f.does(t, "unsubscribe", nil)
		f.does(t, "subscribe", nil)
		f.does(t, "CLICK", map[string]any{"EventKey": "DEALS"})
		got := f.saw(t)
		require.Contains(t, got, "passive:欢迎")
		require.Contains(t, got, "passive:今日优惠")
		require.True(t, eventually(t, 60*time.Second, func() bool { return contains(f.saw(t), "kf:看看菜单") }), "%v", f.saw(t))
	},
	"an unknown text goes to WeChat's own desk": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		p := f.says(t, "这句话没有规则")
		require.Equal(t, "transfer", p.Attempts[0].Outcome, "%+v", p.Attempts)
	},
	"a rule that says nothing ends the wait at once": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		p := f.says(t, "嘘")
		require.Len(t, p.Attempts, 1)
		require.Less(t, p.Attempts[0].End.Sub(p.Attempts[0].Start), 1500*time.Millisecond)
		f.stays(t, 500*time.Millisecond)
	},
	"a rule slower than the deadline answers once, by the customer-service API": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		p := f.says(t, "慢")
		require.Equal(t, "success", p.Attempts[0].Outcome, "%+v", p.Attempts)
		f.sees(t, "kf:after 3s")
		f.stays(t, 2*time.Second, "kf:after 3s")
	},
	"an account in ack mode never answers passively": func(t *testing.T, w *world) {
		f := w.newFan(t, ackOnly)
		p := f.says(t, "你好")
		require.Empty(t, p.Shown)
		f.sees(t, "kf:你好，朋友")
	},
	"a Mini Program gets content by the customer-service API": func(t *testing.T, w *world) {
		f := w.newFan(t, miniApp)
		f.says(t, "你好")
		f.sees(t, "kf:你好，朋友")
	},
	"the same push three times at once to three gateways: one copy": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		p := f.push(t, map[string]any{"type": "text", "fields": map[string]any{"Content": "你好"}, "copies": 3})
		require.Len(t, p.Attempts, 3)
		replicas := map[string]bool{}
		for _, a := range p.Attempts {
			require.Equal(t, "reply", a.Outcome, "every attempt gets the reply: %+v", p.Attempts)
			replicas[a.Replica] = true
		}
		require.Len(t, replicas, 3)
		f.sees(t, "passive:你好，朋友")
		f.stays(t, time.Second, "passive:你好，朋友")
	},
	"two fans who share a MsgId are two pushes": func(t *testing.T, w *world) {
		for range 2 {
			f := w.newFan(t, secureXML)
			f.push(t, map[string]any{"type": "text", "msg_id": "24999999999999999", "fields": map[string]any{"Content": "你好"}})
			f.sees(t, "passive:你好，朋友")
		}
	},
	"a stretch account is answered on attempt 3": func(t *testing.T, w *world) {
		f := w.newFan(t, stretched)
		p := f.says(t, "慢")
		require.Len(t, p.Attempts, 3, "%+v", p.Attempts)
		require.Equal(t, []string{"timeout", "timeout", "reply"}, []string{p.Attempts[0].Outcome, p.Attempts[1].Outcome, p.Attempts[2].Outcome})
		f.sees(t, "passive:after 3s")
		n, _ := w.calls(t, stretched, "/cgi-bin/message/custom/send")
		require.Zero(t, n)
	},
	"an account without the customer-service API never gets an async send": func(t *testing.T, w *world) {
		f := w.newFan(t, noAPI)
		f.says(t, "慢")
		f.stays(t, 5*time.Second)
		n, _ := w.calls(t, noAPI, "/cgi-bin/message/custom/send")
		require.Zero(t, n)
	},
	"a queue rule puts the fan on the waiting list, and an agent answers": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		f.says(t, "我要退货")
		f.sees(t, "passive:请稍候")
		url := w.Console + "/api/v1/accounts/" + secureXML + "/waiting"
		require.True(t, eventually(t, 60*time.Second, func() bool {
			_, body := w.call(t, http.MethodGet, url, nil, nil)
			return containsText(body, f.openid) && containsText(body, "aftersales") && containsText(body, "我要退货")
		}), "%s is not on the waiting list", f.openid)
		var status int
		var body []byte
		require.True(t, eventually(t, 60*time.Second, func() bool { // 503 asks for a repetition with the same key, which sends nothing twice
			status, body = w.call(t, http.MethodPost, url+"/"+f.openid+"/reply", http.Header{"Idempotency-Key": {f.openid}}, map[string]any{"agent": "li", "text": "您好，我是小李"})
			return status != http.StatusServiceUnavailable
		}), "%s", body)
		require.Less(t, status, 300, "%s", body)
		f.sees(t, "passive:请稍候", "kf:您好，我是小李")
		f.says(t, "你好")
		f.stays(t, time.Second, "passive:请稍候", "kf:您好，我是小李") // rules are silent while an agent owns the fan
	},
}

func gatewayKilled(t *testing.T, w *world) {
	for range 12 {
		f := w.newFan(t, secureXML)
		w.sim(t, http.MethodPost, "/sim/v1/push", map[string]any{"account": f.account, "openid": f.openid, "type": "text", "async": true,
			"fields": map[string]any{"Content": "快"}}, nil)
		var holder string
		require.True(t, eventually(t, 60*time.Second, func() bool { holder = w.holderOf(t, f); return holder != "" }))
		victim := -1
		for i, gw := range w.Gateways[1:] { // gateway 0 may be the whole system
			if gw.URL == holder {
				victim = i + 1
			}
		}
		if victim < 0 {
			f.sees(t, "passive:after 900ms")
			continue
		}
		time.Sleep(400 * time.Millisecond) //nolint:forbidigo // stored by now, and not answered before 900 ms
		w.Gateways[victim].Kill()
		f.sees(t, "passive:after 900ms")
		f.stays(t, 3*time.Second, "passive:after 900ms")
		attempts := w.attemptsOf(t, f)
		require.GreaterOrEqual(t, len(attempts), 2, "%+v", attempts)
		require.Equal(t, "reply", attempts[len(attempts)-1].Outcome)
		require.NotEqual(t, holder, attempts[len(attempts)-1].Replica)
		w.RestartGateway(t, victim)
		return
	}
	t.Fatal("no push reached a gateway that may be killed")
}

// holderOf returns the gateway that holds the fan's newest push.
func (w *world) holderOf(t *testing.T, f *fan) string {
	if a := w.attemptsOf(t, f); len(a) > 0 {
		return a[0].Replica
	}
	return ""
}

func (w *world) attemptsOf(t *testing.T, f *fan) []attempt {
	t.Helper()
	var all []struct {
		OpenID   string    `json:"openid"`
		Attempts []attempt `json:"attempts"`
	}
	w.sim(t, http.MethodGet, "/sim/v1/pushes", nil, &all)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].OpenID == f.openid {
			return all[i].Attempts
		}
	}
	return nil
}

func noViolations(t *testing.T, w *world) {
	var report struct {
		Violations map[string]struct {
			Count     int `json:"count"`
			Incidents []struct {
				ID     string `json:"id"`
				Detail string `json:"detail"`
			} `json:"incidents"`
		} `json:"violations"`
	}
	w.sim(t, http.MethodGet, "/sim/v1/report", nil, &report)
	for class, v := range report.Violations {
		for _, i := range v.Incidents {
			_, expected := w.expected.Load(class + " " + i.ID)
			require.True(t, expected, "%s: %+v", class, i)
		}
		require.Len(t, v.Incidents, v.Count, "%s: the report shows some of them only", class)
	}
}

func contains(list []string, want string) bool { return slices.Contains(list, want) }

func containsText(body []byte, want string) bool { return bytes.Contains(body, []byte(want)) }
