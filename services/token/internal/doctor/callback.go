package doctor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"

	"github.com/wxbus/wxbus/pkg/wechat"
)

// callback plays WeChat's verification of the URL, over the address that WeChat uses.
func (v *visit) callback(ctx context.Context) {
	const name = "callback_echo"
	if v.a.CallbackURL == "" {
		v.skip(name, say("没有设置 callback_url，未做回环测试", "callback_url is not set: the round trip was not tried"),
			say("把公网回调地址写进 callback_url，例如 https://你的域名/wx/%s", "set callback_url to the public address, for example https://your-domain/wx/%s", v.a.Name))
		return
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	echo := hex.EncodeToString(random[:])
	status, body, err := v.verify(ctx, echo)
	switch {
	case err != nil:
		v.fail(name, say("%s 没有应答", "no answer from %s", v.a.CallbackURL), say("检查域名、证书、负载均衡和网关是否运行", "check domain, certificate, load balancer, and whether the gateway runs"))
	case status == http.StatusOK && body == echo:
		v.ok(name, say("%s 正确返回 echostr", "%s returns echostr", v.a.CallbackURL))
	case status == http.StatusOK && strings.Contains(body, echo):
		v.fail(name, say("echostr 前后多了内容", "echostr comes back with something around it"), say("中间的代理改写了响应：关闭页面注入、压缩改写或 BOM", "a proxy changes the answer: switch injection, rewriting or a BOM off"))
	case status == http.StatusForbidden && body == "refused":
		v.fail(name, say("网关拒绝了签名：请求参数在途中被改，或网关还没有最新的 Token", "the gateway refused the signature: query parameters were changed on the way, or the gateway does not have the newest Token"),
			say("检查代理是否原样转发查询串；路径必须是 /wx/%s", "see that the proxy forwards the query string as it is; the path must be /wx/%s", v.a.Name))
	default:
		v.fail(name, say("HTTP %d，不是网关的应答", "HTTP %d, which is not the gateway's answer", status),
			say("域名指向了别的服务，或路径不是 /wx/%s", "the domain leads to another server, or the path is not /wx/%s", v.a.Name))
	}
}

// verify returns the answer to a verification of the URL, at most a little of it.
func (v *visit) verify(ctx context.Context, echo string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	u, err := url.Parse(v.a.CallbackURL)
	if err != nil {
		return 0, "", err
	}
	stamp, nonce := strconv.FormatInt(v.Now().Unix(), 10), echo[:8]
	u.RawQuery = wechat.Query{
		Signature: wechat.Sign(v.a.Token.Reveal(), stamp, nonce), Timestamp: stamp, Nonce: nonce, EchoStr: echo,
	}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := v.HTTP.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return resp.StatusCode, string(b), err
}

// recent is how old evidence may be to count.
const recent = 24 * time.Hour

func (v *visit) isRecent(unixMs int64) bool {
	return unixMs > 0 && v.Now().Sub(time.UnixMilli(unixMs)) < recent
}

// pushes says what refused requests show.
func (v *visit) pushes(seen []*gatewayv1.CollectEvidenceResponse) {
	const name = "push_signature"
	if len(seen) == 0 {
		v.skip(name, say("没有网关应答", "no gateway answered"), say("检查网关是否运行", "see whether a gateway runs"))
		return
	}
	taken, last := uint64(0), int64(0)
	causes := map[gatewayv1.Mismatch]*cause{}
	for _, s := range seen {
		taken += s.GetTaken()
		last = max(last, s.GetLastTakenUnixMs())
		for _, r := range s.GetRefused() {
			if v.isRecent(r.GetLastUnixMs()) {
				c, ok := causes[r.GetMismatch()]
				if !ok {
					c = &cause{}
					causes[r.GetMismatch()] = c
				}
				c.add(s, r)
			}
		}
	}
	found := false
	for _, m := range slices.Sorted(maps.Keys(causes)) {
		found = v.mismatch(name, causes[m], last, len(seen) > 1) || found
	}
	switch {
	case found:
	case taken == 0:
		v.warn(name, say("网关启动以来没有收到过推送", "no push has come since the gateways started"),
			say("在公众平台启用服务器配置，然后给账号发一条消息", "enable the server configuration in WeChat's console and send the account a message"))
	default:
		v.ok(name, say("已接受 %d 条推送，最近一条 %s", "%d pushes taken, the last at %s", taken, time.UnixMilli(last).UTC().Format(time.RFC3339)))
	}
}

// cause is what the gateways saw of one mismatch.
type cause struct {
	count  uint64
	latest *gatewayv1.RefusedRequests
	// at are the gateways that refused, with their counts.
	at []string
	// stays is true when one of them has taken no push since.
	stays bool
}

func (c *cause) add(s *gatewayv1.CollectEvidenceResponse, r *gatewayv1.RefusedRequests) {
	c.count += r.GetCount()
	c.at = append(c.at, fmt.Sprintf("%s×%d", s.GetInstance(), r.GetCount()))
	c.stays = c.stays || s.GetLastTakenUnixMs() <= r.GetLastUnixMs()
	if r.GetLastUnixMs() > c.latest.GetLastUnixMs() {
		c.latest = r
	}
}

// mismatch reports one cause; false when it is nobody's fault here. Pushes that were taken later show that the cause is
// gone, when every gateway that refused has taken one.
func (v *visit) mismatch(name string, c *cause, lastTaken int64, several bool) bool {
	r := c.latest
	m := r.GetMismatch()
	known, ok := mismatches[m]
	if !ok {
		return false // strangers
	}
	at := time.UnixMilli(r.GetLastUnixMs()).UTC().Format(time.RFC3339)
	evidence := say(known[0].zh+"（%[1]d 次，最近 %[2]s，来自 %[3]s，参数 %[4]s）", known[0].en+" (%[1]d times, last at %[2]s, from %[3]s, parameters %[4]s)",
		c.count, at, r.GetAddress(), strings.Join(r.GetQueryFields(), ","))
	if several {
		where := firstOf(c.at)
		evidence = text{evidence.zh + "；网关 " + where, evidence.en + "; at " + where}
	}
	name += "_" + word(m)
	switch {
	case !c.stays:
		v.ok(name, text{evidence.zh + "；之后的推送已被接受", evidence.en + "; pushes were taken since"})
	case lastTaken > r.GetLastUnixMs():
		v.warn(name, text{evidence.zh + "；之后只有别的网关接受过推送", evidence.en + "; only other gateways took pushes since"},
			text{"那个网关前面可能另有代理，或它的配置较旧：比较各网关的版本与配置。" + known[1].zh, "another proxy may stand in front of that gateway, or its settings are older: compare versions and settings. " + known[1].en})
	case m == gatewayv1.Mismatch_MISMATCH_TOKEN && !r.GetFromWechat():
		v.warn(name, evidence, known[1])
	default:
		v.fail(name, evidence, known[1])
	}
	return true
}

// maxNamed is how many gateways are named.
const maxNamed = 16

func firstOf(list []string) string {
	if len(list) <= maxNamed {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s … +%d", strings.Join(list[:maxNamed], ", "), len(list)-maxNamed)
}

const (
	// settledIn is how long a gateway must run before it is a surprise that it gets no push.
	settledIn = time.Hour
	// manyPushes is how many the others must have taken meanwhile.
	manyPushes = 100
)

// gateways says which gateway saw what, and which of several gets nothing.
func (v *visit) gateways(seen []*gatewayv1.CollectEvidenceResponse) {
	const name = "gateways"
	if len(seen) == 0 {
		return // the signatures say that nobody answered
	}
	total := uint64(0)
	for _, s := range seen {
		total += s.GetTaken()
	}
	var zh, en, idle []string
	for _, s := range seen {
		refused := uint64(0)
		for _, r := range s.GetRefused() {
			refused += r.GetCount()
		}
		since := time.UnixMilli(s.GetStartedUnixMs())
		line := say("%s（%s 起）：接受 %d，拒绝 %d，旧密钥 %d", "%s (since %s): %d taken, %d refused, %d by previous keys",
			s.GetInstance(), since.UTC().Format(time.RFC3339), s.GetTaken(), refused, s.GetPrevious())
		zh, en = append(zh, line.zh), append(en, line.en)
		if s.GetTaken() == 0 && v.Now().Sub(since) >= settledIn && total >= manyPushes {
			idle = append(idle, s.GetInstance())
		}
	}
	evidence := text{firstOf(zh), firstOf(en)}
	if len(idle) > 0 {
		v.warn(name, evidence, say("%s 一小时以上没有收到推送：检查负载均衡是否把它算在内", "%s got no push for an hour or more: see whether the load balancer sends there", firstOf(idle)))
		return
	}
	v.ok(name, evidence)
}

func word(m gatewayv1.Mismatch) string {
	return strings.ToLower(strings.TrimPrefix(m.String(), "MISMATCH_"))
}

// mismatches says what each mismatch means, and what to do.
var mismatches = map[gatewayv1.Mismatch][2]text{
	gatewayv1.Mismatch_MISMATCH_TOKEN: {
		{"签名与 Token 不符", "the signature does not match the Token"},
		{"核对公众平台与这里的 Token；若来源不是微信，可忽略", "compare the Token here and in WeChat's console; ignore it when the sender is not WeChat"},
	},
	gatewayv1.Mismatch_MISMATCH_TOKEN_SPACE: {
		{"对方的 Token 前后多了空白", "the sender's Token has white space around it"},
		{"在公众平台重新填写 Token，不要带空格或换行", "enter the Token in WeChat's console again, without blanks or a line break"},
	},
	gatewayv1.Mismatch_MISMATCH_TOKEN_CASE: {
		{"Token 大小写不同", "the Token differs in letter case"},
		{"Token 区分大小写：两边填成一样", "Tokens are case sensitive: make both the same"},
	},
	gatewayv1.Mismatch_MISMATCH_PLAIN: {
		{"签名正确但消息未加密：公众平台是明文模式，这里是安全模式", "genuine signature and a plain body: WeChat's console is in plaintext mode, and secure is expected here"},
		{"在公众平台改为安全模式（推荐），或把账号的 mode 改为 plaintext", "switch WeChat's console to secure mode (better), or the account's mode to plaintext"},
	},
	gatewayv1.Mismatch_MISMATCH_ENCRYPTED: {
		{"收到加密消息，但账号没有 EncodingAESKey", "encrypted pushes come, and the account has no EncodingAESKey"},
		{"把公众平台的 EncodingAESKey 填进来，并把 mode 改为 secure", "set encoding_aes_key as in WeChat's console, and mode to secure"},
	},
	gatewayv1.Mismatch_MISMATCH_SIGNATURE_FOR_MSG: {
		{"msg_signature 或 encrypt_type 丢失，或与 signature 弄混", "msg_signature or encrypt_type is missing, or was confused with signature"},
		{"中间的代理丢弃或改名了查询参数：让它原样转发整个查询串", "a proxy drops or renames query parameters: let it forward the whole query string as it is"},
	},
	gatewayv1.Mismatch_MISMATCH_BODY: {
		{"signature 正确而 msg_signature 不符：消息体被改过", "signature is genuine and msg_signature is not: the body was changed on the way"},
		{"中间的代理或 WAF 改写了请求体：关闭改写、转码和解压", "a proxy or firewall rewrites bodies: switch rewriting, transcoding and unpacking off"},
	},
	gatewayv1.Mismatch_MISMATCH_KEY: {
		{"msg_signature 正确但解不开：EncodingAESKey 不同", "msg_signature is genuine and no key opens the body: the EncodingAESKey differs"},
		{"把公众平台的 EncodingAESKey 填进来（43 位）：wxbus accounts rotate-keys", "set the EncodingAESKey of WeChat's console, 43 characters: wxbus accounts rotate-keys"},
	},
	gatewayv1.Mismatch_MISMATCH_APPID: {
		{"消息能解开，但属于另一个 AppID", "the body opens and belongs to another appid"},
		{"核对 appid；第三方平台代管的账号要填平台的 AppID", "compare the appid; for an account that a third-party platform manages, it is the platform's"},
	},
	gatewayv1.Mismatch_MISMATCH_RECIPIENT: {
		{"消息写给另一个原始 ID", "the push names another original id"},
		{"核对 original_id（gh_ 开头），或清空它", "compare original_id (gh_…), or leave it empty"},
	},
}

// previousKeys says whether WeChat still uses the keys that are about to be removed.
func (v *visit) previousKeys(seen []*gatewayv1.CollectEvidenceResponse) {
	const name = "previous_keys"
	if v.a.PreviousToken.IsZero() && v.a.PreviousEncodingAESKey.IsZero() {
		return
	}
	used := int64(0)
	for _, s := range seen {
		used = max(used, s.GetLastPreviousUnixMs())
	}
	if used == 0 || v.Now().Sub(time.UnixMilli(used)) > time.Hour {
		v.ok(name, say("旧密钥已不再使用，可以去掉", "the previous keys are not used any more and can go"))
		return
	}
	at := time.UnixMilli(used).UTC().Format(time.RFC3339)
	until := text{"在旧密钥去掉之前，到公众平台换成新的", "enter the new ones in WeChat's console before the previous ones are removed"}
	if end, ok := v.PreviousUntil(v.a.Name); ok {
		until = say("在 %s 之前到公众平台换成新的", "enter the new ones in WeChat's console before %s", end.UTC().Format(time.RFC3339))
	}
	v.warn(name, say("微信仍在用旧密钥，最近一次 %s", "WeChat still uses the previous keys, last at %s", at), until)
}

// origins says whether pushes came from addresses that WeChat's list does not have.
func (v *visit) origins(seen []*gatewayv1.CollectEvidenceResponse) {
	const name = "callback_ips"
	counts := map[string]uint64{}
	var total uint64
	for _, s := range seen {
		for _, o := range s.GetOutside() {
			if v.isRecent(o.GetLastUnixMs()) {
				counts[o.GetAddress()] += o.GetCount()
				total += o.GetCount()
			}
		}
	}
	if total == 0 {
		v.ok(name, say("没有来自微信 IP 列表之外的推送", "no push came from outside of WeChat's list"))
		return
	}
	list := make([]string, 0, len(counts))
	for _, address := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%s×%d", address, counts[address]))
	}
	v.warn(name, say("%d 条签名正确的推送来自列表之外：%s", "%d genuine pushes came from outside of WeChat's list: %s", total, strings.Join(list, ", ")),
		say("若前面有负载均衡，设置 gateway.trusted_proxies；否则列表可能滞后，或有人拿到了密钥",
			"with a load balancer in front, set gateway.trusted_proxies; otherwise the list lags behind, or somebody has the keys"))
}
