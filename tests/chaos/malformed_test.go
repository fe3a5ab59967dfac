package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/tests/chaos/record"
)

func malformedRow() row {
	return row{number: 21, name: "malformed, forged and hostile requests", ci: true, steps: attack, checks: attackChecks}
}

// hostile is the fan of every hostile request.
const hostile = "oHostile"

// envelope is a request as WeChat makes it, with the parts that an attacker changes.
type envelope struct {
	inner   string // what is encrypted
	appID   string
	account string
	token   string
	stamp   time.Time // default: now
	// change spoils the request after everything was signed.
	change func(query url.Values, body *string)
}

// request returns the URL without the gateway, and the body.
func (e envelope) request(x *trial, nonce string) (path, body string) {
	x.t.Helper()
	cipher, err := wechat.NewCipher(encodingKey, e.appID, nil)
	require.NoError(x.t, err)
	sealed, err := cipher.Encrypt([]byte(e.inner))
	require.NoError(x.t, err)
	at := e.stamp
	if at.IsZero() {
		at = time.Now()
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	query := url.Values{
		"timestamp": {stamp}, "nonce": {nonce}, "openid": {hostile}, "encrypt_type": {"aes"},
		"signature": {wechat.Sign(e.token, stamp, nonce)}, "msg_signature": {wechat.Sign(e.token, stamp, nonce, sealed)},
	}
	body = "<xml><ToUserName><![CDATA[gh_one]]></ToUserName><Encrypt><![CDATA[" + sealed + "]]></Encrypt></xml>"
	if e.change != nil {
		e.change(query, &body)
	}
	return "/wx/" + e.account + "?" + query.Encode(), body
}

// text is a push of the hostile fan.
func text(msgID, content string) string {
	return fmt.Sprintf("<xml><ToUserName><![CDATA[gh_one]]></ToUserName><FromUserName><![CDATA[%s]]></FromUserName><CreateTime>%d</CreateTime>"+
		"<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[%s]]></Content><MsgId>%s</MsgId></xml>", hostile, time.Now().Unix(), content, msgID)
}

func genuine(inner string) envelope {
	return envelope{inner: inner, appID: appID(passiveXML), account: passiveXML, token: "token" + passiveXML}
}

const (
	bomb = `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><xml><Content>&c;&c;&c;</Content></xml>`
	xxe  = `<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><xml><FromUserName>&f;</FromUserName></xml>`
)

func nested(depth int) string {
	return strings.Repeat("<a>", depth) + strings.Repeat("</a>", depth)
}

// forged are requests that WeChat did not make, and documents that it never writes, whoever sealed them. Every
// one gets the same answer, and nothing of it is kept.
func forged() map[string]envelope {
	spoil := func(change func(query url.Values, body *string)) envelope {
		e := genuine(text("1", "k0001"))
		e.change = change
		return e
	}
	plain := func(body string) envelope {
		return spoil(func(query url.Values, b *string) {
			query.Del("encrypt_type")
			query.Del("msg_signature")
			*b = body
		})
	}
	wrongApp, wrongToken, nobody := genuine(text("1", "k0001")), genuine(text("1", "k0001")), genuine(text("1", "k0001"))
	wrongApp.appID, wrongToken.token, nobody.account = "wx0000000000000000", "tokenofnobody", "nobody"
	return map[string]envelope{
		"wrong appid in the ciphertext": wrongApp,
		"wrong token":                   wrongToken,
		"an account of nobody":          nobody,
		"no query":                      spoil(func(q url.Values, _ *string) { clear(q) }),
		"changed signature":             spoil(func(q url.Values, _ *string) { q.Set("msg_signature", strings.Repeat("0", 40)) }),
		"signature too short":           spoil(func(q url.Values, _ *string) { q.Set("msg_signature", "00") }),
		"another body under an old URL": spoil(func(_ url.Values, b *string) {
			*b = strings.Replace(*b, "Encrypt><![CDATA[", "Encrypt><![CDATA[AAAA", 1)
		}),
		"bad padding":                  spoil(sign("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==")),
		"no base64":                    spoil(sign("%%%")),
		"nothing encrypted":            spoil(sign("")),
		"no body":                      spoil(func(_ url.Values, b *string) { *b = "" }),
		"five megabytes":               spoil(func(_ url.Values, b *string) { *b = "<xml>" + strings.Repeat("x", 5<<20) + "</xml>" }),
		"downgrade to plaintext":       plain(text("1", "k0001")),
		"entity bomb":                  plain(bomb),
		"external entity":              plain(xxe),
		"deep nesting":                 plain(nested(1_000_000)),
		"no XML":                       plain("<xml><a"),
		"sealed entity bomb":           genuine(bomb),
		"sealed external entity":       genuine(xxe),
		"sealed deep nesting":          genuine("<xml>" + nested(5000) + "</xml>"),
		"sealed ten thousand elements": genuine("<xml>" + strings.Repeat("<a/>", 10_000) + "</xml>"),
	}
}

// sign replaces what is encrypted by a text that is signed as it should be.
func sign(encrypt string) func(query url.Values, body *string) {
	return func(q url.Values, body *string) {
		q.Set("msg_signature", wechat.Sign("token"+passiveXML, q.Get("timestamp"), q.Get("nonce"), encrypt))
		*body = "<xml><ToUserName>gh_one</ToUserName><Encrypt>" + encrypt + "</Encrypt></xml>"
	}
}

// unusable are requests that are WeChat's own by every sign and whose content is no push. They are kept as dead letters.
func unusable() map[string]envelope {
	return map[string]envelope{
		"no XML":                   genuine("<xml><a"),
		"no fan":                   genuine("<xml><MsgType>text</MsgType></xml>"),
		"two roots":                genuine(text("1", "a") + text("2", "b")),
		"bytes of another charset": genuine("<xml><FromUserName>\xc4\xe3\xba\xc3</FromUserName></xml>"),
	}
}

const (
	noteAnswers = "answers"
	noteParked  = "parked"
	noteSlow    = "slow connections that were closed"
	noteReplays = "answers to replays"
)

// slowConnections are opened to each gateway at once.
const slowConnections = 20

// attack sends everything to every gateway while good traffic goes on.
func attack(x *trial) {
	x.notes[noteRSS] = x.memories()
	x.at(0.1)
	answers, unused := map[string]map[string]int{"forged": {}, "unusable": {}}, 0
	for i, gw := range x.Gateways {
		x.broke("hostile requests to gateway-%d", i)
		for name, e := range forged() {
			answers["forged"][x.send(gw.URL, e, fmt.Sprintf("%d%s", i, name))]++
		}
		for name, e := range unusable() {
			e.inner = strings.Replace(e.inner, "<xml>", fmt.Sprintf("<xml><From>%d</From>", i), 1) // a body of its own
			answers["unusable"][x.send(gw.URL, e, fmt.Sprintf("%d%s", i, name))]++
			unused++
		}
	}
	x.notes[noteAnswers], x.notes[noteParked] = answers, unused
	x.notes[noteReplays] = x.replay()
	x.notes[noteSlow] = x.slowloris()
	x.at(1)
}

// replay sends one genuine request again and again, under the same URL, to every gateway.
func (x *trial) replay() map[string]int {
	answers := map[string]int{}
	path, body := genuine(text("7000000001", "nobody has a rule for this")).request(x, "replay")
	for range 5 {
		for _, gw := range x.Gateways {
			answers[x.insist(gw.URL+path, body)]++
		}
	}
	return answers
}

func (x *trial) send(gateway string, e envelope, nonce string) string {
	path, body := e.request(x, url.QueryEscape(nonce))
	return x.insist(gateway+path, body)
}

// insist asks again, as WeChat does, while a gateway says that it cannot store anything now.
func (x *trial) insist(target, body string) (answer string) {
	for range 30 {
		if answer = x.answer(target, body); !strings.HasPrefix(answer, "503 ") {
			break
		}
		x.after(time.Second)
	}
	return answer
}

// answer returns status and body of the answer.
func (x *trial) answer(target, body string) string {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(body))
	require.NoError(x.t, err)
	resp, err := http.DefaultClient.Do(req) //nolint:forbidigo // bounded by ctx
	require.NoError(x.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(x.t, err)
	return fmt.Sprintf("%d %s", resp.StatusCode, answer)
}

// slowloris opens connections that never finish their request, and counts those that the gateways close.
func (x *trial) slowloris() (closed int) {
	x.t.Helper()
	var conns []net.Conn
	for _, gw := range x.Gateways {
		for range slowConnections {
			c, err := net.Dial("tcp", strings.TrimPrefix(gw.URL, "http://"))
			require.NoError(x.t, err)
			defer c.Close()
			_, err = io.WriteString(c, "POST /wx/one HTTP/1.1\r\nHost: x\r\nX-Slow: ")
			require.NoError(x.t, err)
			conns = append(conns, c)
		}
	}
	for _, c := range conns {
		require.NoError(x.t, c.SetReadDeadline(time.Now().Add(patience)))
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, os.ErrDeadlineExceeded) {
			closed++
		}
	}
	return closed
}

func attackChecks(x *trial) []record.Check {
	answers := x.notes[noteAnswers].(map[string]map[string]int)
	forgedAnswers, unusableAnswers := slices.Sorted(maps.Keys(answers["forged"])), slices.Sorted(maps.Keys(answers["unusable"]))
	var storedOnce, parked, crashed, grown = 0, 0, []string{}, 0.0
	for key, ids := range x.facts.Books.Events {
		if key.OpenID == hostile {
			storedOnce += len(ids)
		}
	}
	for _, d := range x.books().dead {
		if d.service == topology.ServiceGateway {
			parked++
		}
	}
	before := x.notes[noteRSS].(map[string]float64)
	for i, gw := range x.Gateways {
		name := fmt.Sprintf("gateway-%d", i)
		if !gw.Running() || strings.Contains(gw.Log(1_000_000), "panic") {
			crashed = append(crashed, name)
		}
		grown = max(grown, memory(x, gw.Process)-before[name])
	}
	want, slow, replays := x.notes[noteParked].(int), x.notes[noteSlow].(int), x.notes[noteReplays].(map[string]int)
	return []record.Check{
		count("answers to what is forged or hostile", "always the same", len(forgedAnswers) == 1, "%q", forgedAnswers),
		count("answers to authentic bodies that are no push", "always success", slices.Equal(unusableAnswers, []string{"200 success"}), "%q", unusableAnswers),
		count("dead letters of the gateways", fmt.Sprint(want), parked == want, "%d", parked),
		count("one genuine push replayed 15 times", "always success, stored once, nothing else is", storedOnce == 1 && replays["200 success"] == 15, "%v, stored %d", replays, storedOnce),
		count("slow connections that the gateways close", fmt.Sprint(slowConnections*len(x.Gateways)), slow == slowConnections*len(x.Gateways), "%d", slow),
		count("panics and crashes", "0", len(crashed) == 0, "%v", crashed),
		timing("memory of a gateway", "grows by less than 50 MB", grown < 50, "by %.1f MB at most", grown),
		x.acknowledged(), x.slowestAnswer(2 * time.Second),
	}
}
