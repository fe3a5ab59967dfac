package doctor

import (
	"context"
	"strings"
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/wechat"
)

// scarce is the share of a quota below which it is nearly used up, in percent.
const scarce = 10

// quotas are the APIs whose quota runs out in practice.
var quotas = []string{"/cgi-bin/message/custom/send", "/cgi-bin/message/template/send"}

func (v *visit) quota(ctx context.Context) {
	for _, path := range quotas {
		if path == quotas[1] && v.a.Kind == account.KindMiniProgram {
			continue
		}
		v.quotaOf(ctx, path)
	}
}

func (v *visit) quotaOf(ctx context.Context, path string) {
	name := "quota_" + strings.ReplaceAll(strings.TrimPrefix(path, "/cgi-bin/message/"), "/", "_")
	var q wechat.Quota
	err := v.call(ctx, func(ctx context.Context, c *wechat.Client, token string) (err error) {
		q, err = c.QuotaGet(ctx, token, path)
		return err
	})
	code, _ := errcode(err)
	switch {
	case code == 76022 || code == 48001:
		v.skip(name, say("账号没有这个接口的权限", "the account has no permission for this API"), text{})
	case err != nil:
		v.trouble(name, err)
	case q.DailyLimit == 0:
		v.ok(name, say("没有每日上限", "there is no daily limit"))
	case q.Remaining <= 0:
		v.fail(name, say("%s 今天的 %d 次已用完", "the %[2]d calls of today to %[1]s are used up", path, q.DailyLimit),
			say("等到北京时间零点；紧急时调用清零接口（每月 10 次）", "wait for midnight in China, or clear the quota (ten times a month)")).Errcode = 45009
	case q.Remaining*100 < q.DailyLimit*scarce:
		v.warn(name, say("%s 今天只剩 %d / %d 次", "%s has %d of %d calls left today", path, q.Remaining, q.DailyLimit),
			say("减少群发与通知", "send fewer notices and campaigns"))
	default:
		v.ok(name, say("%s 剩余 %d / %d 次", "%s has %d of %d calls left", path, q.Remaining, q.DailyLimit))
	}
}

func (v *visit) permissions(ctx context.Context) {
	const name = "permission_customer_service"
	if !v.a.AllowsKf() {
		v.skip(name, say("kf_api 为 false：不使用客服接口", "kf_api is false: the customer-service API is not used"), text{})
		return
	}
	err := v.call(ctx, func(ctx context.Context, c *wechat.Client, token string) error {
		_, err := c.Call(ctx, wechat.Request{Path: "/cgi-bin/customservice/getkflist", Token: token})
		return err
	})
	code, _ := errcode(err)
	switch code {
	case 48001, 48002, 50001:
		v.fail(name, say("账号没有客服接口权限（%d）：超时的回复无法补发", "the account has no permission for the customer-service API (%d): late replies cannot be sent", code),
			say("完成微信认证并开通客服；或设 kf_api: false，只用被动回复", "have the account verified and customer service enabled; or set kf_api: false and reply passively only")).Errcode = code
	case 0:
		if err != nil {
			v.trouble(name, err)
			return
		}
		v.ok(name, say("可以使用客服接口", "the customer-service API may be used"))
	default:
		v.trouble(name, err)
	}
}

// reachability lets WeChat resolve and ping the address of its console.
func (v *visit) reachability(ctx context.Context) {
	const name = "callback_reachable"
	var report wechat.CallbackReport
	err := v.call(ctx, func(ctx context.Context, c *wechat.Client, token string) (err error) {
		report, err = c.CallbackCheck(ctx, token, "all", "DEFAULT")
		return err
	})
	code, _ := errcode(err)
	switch {
	case code == 40201:
		v.fail(name, say("公众平台没有配置有效的服务器地址（40201）", "WeChat's console has no valid server address (40201)"),
			say("在公众平台「基本配置 → 服务器配置」填写 https://你的域名/wx/%s 并启用", "enter https://your-domain/wx/%s in WeChat's console under server configuration, and enable it", v.a.Name)).Errcode = code
	case err != nil:
		v.trouble(name, err)
	case len(report.DNS) == 0:
		v.fail(name, say("微信解析不到服务器地址的域名", "WeChat cannot resolve the domain of the server address"), say("检查公网 DNS", "check public DNS"))
	default:
		v.pings(name, report)
	}
}

func (v *visit) pings(name string, report wechat.CallbackReport) {
	lost := 0
	for _, p := range report.Ping {
		if p.Loss == "100%" {
			lost++
		}
	}
	switch {
	case len(report.Ping) > 0 && lost == len(report.Ping):
		v.warn(name, say("微信 ping 不通 %s", "WeChat's pings of %s are lost", report.DNS[0].IP),
			say("若防火墙禁止 ping 可忽略；否则检查公网入口", "harmless when the firewall drops pings; otherwise check the way in"))
	default:
		v.ok(name, say("微信能解析并到达 %s", "WeChat resolves and reaches %s", report.DNS[0].IP))
	}
}

// alarmFor is how long an outside refresh is worth an alarm.
const alarmFor = 24 * time.Hour

func (v *visit) outsideRefresh() {
	const name = "outside_refresh"
	rec := v.Record(v.a.Name)
	if len(rec.GetOutside()) == 0 {
		v.ok(name, say("没有发现其他系统刷新 access_token", "no other system was seen refreshing the token"))
		return
	}
	e := rec.GetOutside()[0]
	died := time.UnixMilli(e.GetDiedUnixMs())
	evidence := say("第 %[1]d 代 access_token 获取 %[2]s 后就失效（错误码 %[3]d，本应还有 %[4]s），共 %[5]d 次，最近一次 %[6]s",
		"the token of generation %[1]d died %[2]s after it was fetched (errcode %[3]d, it had %[4]s left); %[5]d times in all, last at %[6]s",
		e.GetGeneration(), died.Sub(time.UnixMilli(e.GetFetchedUnixMs())).Round(time.Second), e.GetErrcode(),
		(time.Duration(e.GetRemainingMs()) * time.Millisecond).Round(time.Second), rec.GetOutsideRefreshes(), died.UTC().Format(time.RFC3339))
	if v.Now().Sub(died) >= alarmFor {
		v.ok(name, evidence)
		return
	}
	v.fail(name, evidence, say("还有系统在用同一个 AppSecret 刷新（旧程序、测试环境、第三方平台）：让它改用本服务的 token，或重置 AppSecret",
		"another system refreshes with the same AppSecret (an old program, a test environment, a vendor): let it use this service, or reset the AppSecret")).Errcode = e.GetErrcode()
}
