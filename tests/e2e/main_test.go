// Package e2e runs one table of scenarios against real processes, twice: all services in one process
// (-mode=all), and each on its own over a NATS of three (-mode=split). WeChat is the simulator, which
// shares no code with what it judges. Times are WeChat's, shortened: an attempt lasts 2 s.
package e2e

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/wxbus/wxbus/tests/stack"
)

var (
	mode  = flag.String("mode", "all", "all or split")
	users = flag.Bool("users", false, "in mode split, give every service its own user of NATS, with the permissions of deploy/k8s")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *mode != string(stack.All) && *mode != string(stack.Split) {
		fmt.Fprintf(os.Stderr, "-mode must be all or split, got %q\n", *mode)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// Accounts of the table: one for each way that WeChat can push and we can answer.
const (
	secureXML  = "sxml"
	secureJSON = "sjson"
	compatXML  = "cxml"
	compatJSON = "cjson"
	plainXML   = "pxml"
	plainJSON  = "pjson"
	stretched  = "stretch"
	noAPI      = "noapi"
	ackOnly    = "ack"
	miniApp    = "mini"
	massOnly   = "mass"
	usedUp     = "usedup" // answers of WeChat that hold back a whole account have accounts of their own
	tooFast    = "toofast"
	busy       = "busy"
	denied     = "denied"
	shut       = "shut"
	full       = "full"
	cold       = "cold" // nobody else sends for these two
	stale      = "stale"
	thrifty    = "thrifty" // WeChat allows it ten messages a day, and campaigns may use five of them
	late       = "late"    // exists at WeChat only, until the operator adds it
)

const (
	key    = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	oldKey = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
)

func accountConfig(i int, name, kind, format, mode, reply string, more map[string]any) map[string]any {
	a := map[string]any{
		"name": name, "appid": fmt.Sprintf("wx%016x", 0xe2e00+i), "original_id": "gh_" + name, "kind": kind, "format": format, "mode": mode,
		"token": "token" + name, "encoding_aes_key": key, "app_secret": "secret-of-" + name, "reply": reply,
	}
	if mode != "secure" {
		a["allow_insecure"] = true
	}
	for k, v := range more {
		a[k] = v
	}
	return a
}

func config(w *webhook) map[string]any {
	return map[string]any{
		"accounts": []map[string]any{
			accountConfig(1, secureXML, "service", "xml", "secure", "passive", map[string]any{"previous_encoding_aes_key": oldKey, "previous_token": "oldtoken"}),
			accountConfig(2, secureJSON, "service", "json", "secure", "passive", nil),
			accountConfig(3, compatXML, "service", "xml", "compatible", "passive", nil),
			accountConfig(4, compatJSON, "service", "json", "compatible", "passive", nil),
			accountConfig(5, plainXML, "service", "xml", "plaintext", "passive", nil),
			accountConfig(6, plainJSON, "service", "json", "plaintext", "passive", nil),
			accountConfig(7, stretched, "subscription", "xml", "secure", "stretch", nil),
			accountConfig(8, noAPI, "subscription", "xml", "secure", "passive", map[string]any{"kf_api": false}),
			accountConfig(9, ackOnly, "service", "xml", "secure", "ack", nil),
			accountConfig(10, miniApp, "miniprogram", "json", "secure", "passive", nil),
			accountConfig(12, massOnly, "service", "xml", "secure", "passive", nil),
			accountConfig(13, usedUp, "service", "xml", "secure", "passive", nil),
			accountConfig(14, tooFast, "service", "xml", "secure", "passive", nil),
			accountConfig(15, busy, "service", "xml", "secure", "passive", nil),
			accountConfig(16, denied, "service", "xml", "secure", "passive", nil),
			accountConfig(17, shut, "service", "xml", "secure", "passive", nil),
			accountConfig(18, full, "service", "xml", "secure", "passive", nil),
			accountConfig(19, cold, "service", "json", "plaintext", "passive", nil),
			accountConfig(20, stale, "service", "xml", "compatible", "passive", nil),
			accountConfig(21, thrifty, "service", "xml", "secure", "passive", nil),
		},
		"gateway": map[string]any{"attempt_timeout": "2s", "passive_deadline": "1600ms", "publish": map[string]any{"primary_timeout": "400ms", "total": "1400ms"}},
		"simulator": map[string]any{
			"attempt_timeout": "2s", "demo_fans": 0,
			"accounts": map[string]any{
				denied:  map[string]any{"denied": []string{sendPath}},
				thrifty: map[string]any{"limits": map[string]any{sendPath: map[string]any{"daily": 10}}},
			},
			"extra_accounts": []map[string]any{accountConfig(11, late, "service", "xml", "secure", "passive", nil)},
		},
		"sender": map[string]any{"quota_pause": quotaPause.String(), "rate_pause": ratePause.String(), "busy_pauses": []string{"200ms", "400ms"},
			"reserve": map[string]any{"campaign_of": map[string]any{thrifty: 50}}},
		"console": map[string]any{
			"first_admin": map[string]any{"name": "admin", "password": firstPassword},
			"webhooks":    map[string]any{"allow_http": true, "allow_private": true},
		},
		"rule": map[string]any{
			"attempt_timeout": "2s",
			"webhook":         map[string]any{"allow_http": true, "allow_private": true},
			"chat": map[string]any{
				"private_bases": []string{w.URL + "/v1"},
				"providers":     []map[string]any{{"name": "sim", "base_url": w.URL + "/v1", "api_key": "chat-key", "model": "m"}},
			},
		},
	}
}

func rules(w *webhook) string {
	return fmt.Sprintf(`
places:
  stores:
    - {name: 朝阳店, latitude: 39.92, longitude: 116.44, phone: "010-1"}
    - {name: 浦东店, latitude: 31.23, longitude: 121.54}
rules:
  - {name: echo, match: {prefix: [回声]}, do: [{reply: "您说：{{event.text}}"}]}
  - {name: coupon, match: {exact: [领券]}, when: {once_per: ever}, do: [{reply: 券给您}, {tag: coupon}]}
  - {name: had-coupon, match: {exact: [领券]}, when: {tags: coupon}, do: [{reply: 领过了}]}
  - {name: story, match: {exact: [故事]}, do: [{reply: 从前}, {reply: 有座山, after: 1s}, {reply: 山里有座庙, after: 1s}]}
  - {name: long-story, match: {exact: [长故事]}, do: [{reply: 从前}, {reply: 很久以后, after: 30s}]}
  - {name: price, match: {exact: [价格]}, do: [{webhook: {url: "%[1]s/vars"}}, {reply: "{{webhook.price}} 元，{{webhook.missing | \"无\"}}"}]}
  - {name: down, match: {exact: [坏]}, do: [{webhook: {url: "%[1]s/nothing-here", fallback: 稍后再试}}]}
  - {name: model, match: {prefix: [问]}, do: [{chat: {system: 友好, history: 3, fallback: 我问问同事}}]}
  - {name: near, match: {near: {places: stores, within: 5km}}, do: [{reply: "{{place.name}} {{place.distance}} {{place.phone | \"无\"}}"}]}
  - {name: far, on: location, match: any, do: [{reply: 附近没有}]}
  - {name: poster, match: {scene: {prefix: [poster-]}}, do: [{reply: "海报 {{event.scene}}"}]}
  - name: repair
    match: {exact: [报修]}
    do:
      - form:
          confirm: "{{form.phone}}，{{form.what}}？"
          questions: [{name: phone, ask: 手机？, kind: mobile}, {name: what, ask: 什么？, choices: [空调, 洗衣机]}]
          done: [{webhook: {url: "%[1]s/vars"}}, {reply: "{{form.what}}，{{webhook.price}} 元起"}]
  - {name: hello, match: {exact: [你好]}, do: [{reply: {text: "你好，朋友"}}]}
  - {name: two, match: {exact: [两条]}, do: [{reply: {text: 第一条}}, {reply: {text: 第二条}}, {reply: {text: 第三条}}]}
  - {name: quick-system, match: {exact: [快]}, do: [{webhook: {url: "%[1]s/after/900ms"}}]}
  - {name: slow-system, match: {exact: [慢]}, do: [{webhook: {url: "%[1]s/after/3s", timeout: 5s}}]}
  - {name: prefix, match: {prefix: [订单]}, do: [{reply: {text: 订单已发货}}]}
  - {name: regex, match: {regex: ['^\d{6}$']}, do: [{reply: {text: 验证码收到}}]}
  - {name: returns, match: {contains: [退货]}, do: [{reply: {text: 请稍候}}, {transfer: {queue: aftersales}}]}
  - {name: people, match: {exact: [转人工]}, do: [{transfer: {queue: desk}}]}
  - {name: wordy, match: {exact: [细说]}, do: [{transfer: {queue: wordy}}]}
  - {name: late, match: {exact: [急事]}, do: [{transfer: {queue: late}}]}
  - {name: race, match: {exact: [抢单]}, do: [{transfer: {queue: race}}]}
  - {name: image, on: [image], match: any, do: [{reply: {text: 图片收到}}]}
  - {name: welcome, on: [subscribe], match: any, do: [{reply: {text: 欢迎}}, {reply: {text: 看看菜单}}]}
  - {name: deals, on: [click], match: {event_key: [DEALS]}, do: [{reply: {news: [{title: 今日优惠, description: 八折, url: "https://example.com", pic_url: "https://example.com/a.png"}]}}]}
  - {name: silence, match: {exact: [嘘]}, do: [none]}
  - {name: unknown, on: [text, voice], priority: -10, match: any, do: [{transfer: native}]}
`, w.URL)
}

func start(t *testing.T) *world {
	t.Helper()
	hook := newWebhook(t)
	w := &world{webhook: hook}
	w.Stack = stack.Start(t, stack.Options{Mode: stack.Mode(*mode), Config: config(hook), Rules: rules(hook), Users: *users})
	w.sim(t, http.MethodPut, "/sim/v1/faults", answersOfWeChat, nil)
	return w
}
