// Package doctor looks for what is wrong with an account and says what to do, in Chinese and English. It
// changes nothing; every check is bounded in time, and no secret is in what it says.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/token/internal/refresh"
	"github.com/wxbus/wxbus/services/token/internal/upstream"
)

// callTime bounds each call to WeChat or to our own callback.
const callTime = 5 * time.Second

// Tokens hands out access tokens.
type Tokens interface {
	Get(ctx context.Context, name string, kind refresh.Kind) (*tokenv1.AccessToken, error)
	Call(ctx context.Context, name string, fn func(ctx context.Context, token string) error) error
}

// Deps of a Doctor.
type Deps struct {
	Tokens Tokens
	Client func(name string) (*wechat.Client, error)
	// Record returns the token record of an account; nil when there is none.
	Record func(name string) *tokenv1.TokenRecord
	// Witness asks the gateways what they saw.
	Witness func(ctx context.Context, name string) []*gatewayv1.CollectEvidenceResponse
	// PreviousUntil returns when the previous keys of an account are removed.
	PreviousUntil func(name string) (time.Time, bool)
	HTTP          *http.Client
	Now           func() time.Time
}

// Doctor is safe for concurrent use.
type Doctor struct{ Deps }

// New returns a doctor.
func New(d Deps) *Doctor { return &Doctor{d} }

// visit is one examination.
type visit struct {
	*Doctor
	a      account.Account
	checks []*tokenv1.DoctorCheck
}

// Examine does every check that is possible, in the order in which a person would.
func (d *Doctor) Examine(ctx context.Context, a account.Account) []*tokenv1.DoctorCheck {
	v := &visit{Doctor: d, a: a}
	v.settings()
	v.clock(ctx)
	if v.credentials(ctx) {
		v.quota(ctx)
		v.permissions(ctx)
		v.reachability(ctx)
	}
	v.outsideRefresh()
	v.callback(ctx)
	seen := d.Witness(ctx, a.Name)
	v.gateways(seen)
	v.pushes(seen)
	v.previousKeys(seen)
	v.origins(seen)
	return v.checks
}

// text is what is said, in both languages.
type text struct{ zh, en string }

func say(zh, en string, a ...any) text {
	return text{fmt.Sprintf(zh, a...), fmt.Sprintf(en, a...)}
}

func (t text) local() *tokenv1.LocalText {
	if t.en == "" {
		return nil
	}
	return &tokenv1.LocalText{Zh: t.zh, En: t.en}
}

func (v *visit) add(name string, status tokenv1.DoctorStatus, evidence, advice text) *tokenv1.DoctorCheck {
	c := &tokenv1.DoctorCheck{Name: name, Status: status, Evidence: evidence.local(), Advice: advice.local()}
	v.checks = append(v.checks, c)
	return c
}

func (v *visit) ok(name string, evidence text) {
	v.add(name, tokenv1.DoctorStatus_DOCTOR_STATUS_OK, evidence, text{})
}

func (v *visit) warn(name string, evidence, advice text) *tokenv1.DoctorCheck {
	return v.add(name, tokenv1.DoctorStatus_DOCTOR_STATUS_WARN, evidence, advice)
}

func (v *visit) fail(name string, evidence, advice text) *tokenv1.DoctorCheck {
	return v.add(name, tokenv1.DoctorStatus_DOCTOR_STATUS_FAIL, evidence, advice)
}

func (v *visit) skip(name string, evidence, advice text) {
	v.add(name, tokenv1.DoctorStatus_DOCTOR_STATUS_SKIPPED, evidence, advice)
}

func (v *visit) settings() {
	const name = "settings"
	switch {
	case v.a.Disabled:
		v.warn(name, say("账号已停用：%s", "%s", v.a.WhyDisabled()), say("需要时用 wxbus accounts enable 启用", "enable it when it is wanted: wxbus accounts enable"))
	case v.a.Mode != account.ModeSecure:
		v.warn(name, say("消息加解密方式为 %s：见过一次签名的人就能伪造消息", "mode is %s: anybody who saw one signed URL can forge messages", v.a.Mode),
			say("在公众平台和这里都改为安全模式（secure）", "switch WeChat's console and mode to secure"))
	default:
		v.ok(name, say("安全模式，回复方式 %s", "mode secure, reply %s", v.a.Reply))
	}
}

// maxSkew is how far clocks may be apart: windows and attempts are counted in seconds.
const maxSkew = 3 * time.Second

func (v *visit) clock(ctx context.Context) {
	const name = "clock"
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, v.a.APIBase, nil)
	if err != nil {
		v.fail(name, say("api_base 无法使用", "api_base cannot be used"), say("修正 api_base", "fix api_base"))
		return
	}
	asked := v.Now()
	resp, err := v.HTTP.Do(req)
	if err != nil {
		v.fail(name, say("%s 没有应答", "no answer from %s", v.a.APIBase), say("检查出网防火墙与 DNS", "check the firewall for outgoing connections, and DNS"))
		return
	}
	_ = resp.Body.Close() // it has no content
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		v.skip(name, say("对方没有给出时间", "the server sent no date"), text{})
		return
	}
	// The date has whole seconds, and was written between asking and now.
	skew := max(date.Sub(v.Now()), asked.Sub(date)-time.Second).Round(time.Second)
	if skew > maxSkew {
		v.fail(name, say("与微信的时钟相差 %s", "off from WeChat's clock by %s", skew), say("启用 NTP：回复窗口和重试按秒计算", "run NTP: reply windows and attempts are counted in seconds"))
		return
	}
	v.ok(name, say("与微信的时钟一致", "agrees with WeChat's clock"))
}

// credentials fetches a token and tells whether further calls make sense.
func (v *visit) credentials(ctx context.Context) bool {
	const name = "credentials"
	if v.a.AppSecret.IsZero() {
		v.warn(name, say("没有 app_secret：无法调用任何接口", "no app_secret: nothing can be sent by API"), say("用 wxbus accounts set-secret 设置，或写进配置文件", "set it: wxbus accounts set-secret, or in the file"))
		return false
	}
	if v.a.Disabled {
		v.skip(name, say("账号已停用，不获取 access_token", "the account is disabled: no token is fetched"), text{})
		return false
	}
	t, err := v.Tokens.Get(ctx, v.a.Name, refresh.Token)
	if err == nil {
		left := time.UnixMilli(t.GetExpiresUnixMs()).Sub(v.Now()).Round(time.Second)
		v.ok(name, say("access_token 第 %d 代，剩余 %s", "access token of generation %d, valid for %s", t.GetGeneration(), left))
		return true
	}
	denied, _ := errors.AsType[*refresh.DeniedError](err)
	if denied != nil && denied.Errcode == 40164 {
		v.refusedAddress(denied.Seen)
		return false
	}
	advice := say("稍后再试；若持续出现，请检查网络", "try again later; if it stays, check the network")
	code := int32(0)
	if denied != nil {
		code = denied.Errcode
	}
	if known, ok := credentialAdvice[code]; ok {
		advice = known
	}
	v.fail(name, say("%s", "%s", err.Error()), advice).Errcode = code
	return false
}

var credentialAdvice = map[int32]text{
	40001: {"AppSecret 不对：在公众平台「设置与开发 → 基本配置」核对或重置，然后用 wxbus accounts set-secret 更新", "the AppSecret is wrong: look it up or reset it in WeChat's console, then wxbus accounts set-secret"},
	40013: {"AppID 不对：在公众平台「基本配置」核对", "the appid is wrong: compare it with WeChat's console"},
	40125: {"AppSecret 不对：重置后旧的立即失效；用 wxbus accounts set-secret 更新", "the AppSecret is wrong: a reset in WeChat's console ends the old one; wxbus accounts set-secret"},
	40243: {"AppSecret 已被冻结：在公众平台解冻", "the AppSecret is frozen: unfreeze it in WeChat's console"},
	45009: {"今天的调用次数已用完：等到北京时间零点，或用清零接口", "the quota of the day is used up: wait for midnight in China, or clear the quota"},
	50004: {"账号被禁止获取 access_token：联系微信客服", "the account may not use tokens: ask WeChat's support"},
	50007: {"账号已被冻结：联系微信客服", "the account is frozen: ask WeChat's support"},
	89501: {"此 IP 需要管理员在微信里确认", "the administrator must confirm this address in WeChat"},
	89503: {"此 IP 需要管理员在微信里确认", "the administrator must confirm this address in WeChat"},
}

func (v *visit) refusedAddress(seen netip.Addr) {
	if !seen.IsValid() {
		v.fail("egress_ip", say("出口 IP 不在白名单（40164），微信没有说明是哪个 IP", "our address is not in the IP list (40164), and WeChat does not say which it is"),
			say("把所有出口 IP 加进公众平台「设置与开发 → 基本配置 → IP白名单」", "add every outgoing address to the IP whitelist in WeChat's console")).Errcode = 40164
		return
	}
	v.fail("egress_ip", say("微信看到的出口 IP 是 %s，不在白名单（40164）", "WeChat sees us as %s, which is not in its IP list (40164)", seen),
		say("把 %s 粘贴到公众平台「设置与开发 → 基本配置 → IP白名单」；多出口时全部加上，不要填 0.0.0.0/0", "paste %s into WeChat's console: 设置与开发 → 基本配置 → IP白名单; with several outgoing addresses add all, and never 0.0.0.0/0", seen)).Errcode = 40164
}

// call makes one call of the API with a token.
func (v *visit) call(ctx context.Context, fn func(ctx context.Context, c *wechat.Client, token string) error) error {
	client, err := v.Client(v.a.Name)
	if err != nil {
		return err
	}
	return v.Tokens.Call(ctx, v.a.Name, func(ctx context.Context, token string) error {
		ctx, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		return fn(ctx, client, token)
	})
}

// errcode returns WeChat's code of a failed call; 0 when it did not answer.
func errcode(err error) (int32, netip.Addr) {
	if api, ok := errors.AsType[*wechat.APIError](err); ok {
		return int32(api.Code), upstream.SeenAddress(api.Msg)
	}
	return 0, netip.Addr{}
}

// trouble reports a call that failed for a reason that has nothing to do with the check.
func (v *visit) trouble(name string, err error) {
	code, seen := errcode(err)
	switch code {
	case 40164:
		v.refusedAddress(seen)
	case 45009, 45011:
		v.warn(name, say("调用次数受限（%d）", "the quota is used up (%d)", code), say("等一会儿再检查", "examine again later")).Errcode = code
	default:
		v.skip(name, say("未能查到：%s", "could not be looked up: %s", reason(err)), text{})
	}
}

// reason is safe to show: a code of WeChat or the kind of a fault.
func reason(err error) string {
	if code, _ := errcode(err); code != 0 {
		return fmt.Sprintf("errcode %d (%s)", code, wechat.Meaning(int(code)))
	}
	return fault.KindOf(err).String()
}
