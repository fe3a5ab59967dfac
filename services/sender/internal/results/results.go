// Package results reads what WeChat's events tell about messages that it took.
package results

import (
	"fmt"
	"strings"
	"time"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/sender/internal/endpoint"
	"github.com/wxbus/wxbus/services/sender/internal/jobs"
)

// Told is one result.
type Told struct {
	Job    jobs.Job
	Result jobs.Result
}

// Of returns the results in an event; none for every other event. now is when it arrived.
func Of(ev *eventv1.InboundEvent, now time.Time) []Told {
	switch ev.GetEvent() {
	case "templatesendjobfinish", "masssendjobfinish", "subscribe_msg_sent_event":
	default:
		return nil
	}
	push, err := wechat.Parse(ev.GetRaw(), wechat.Limits{})
	if err != nil {
		return nil // the gateway has read it before: what is wrong is told there
	}
	told := func(family, msgID string, r jobs.Result) Told {
		r.Result.AtUnixMs = now.UnixMilli()
		return Told{jobs.Job{Account: ev.GetAccount(), Family: family, MsgID: msgID}, r}
	}
	switch p := push.Payload().(type) {
	case wechat.TemplateJob:
		return []Told{told(endpoint.FamilyTemplate, p.MsgID, jobs.Result{
			Delivered: p.Result == wechat.TemplateDelivered, Reason: templateReason(p), Result: &senderv1.SendResult{Status: p.Status},
		})}
	case wechat.MassJob:
		return []Told{told(endpoint.FamilyMass, p.MsgID, massResult(p))}
	case wechat.SubscribeMessages:
		var out []Told
		for _, item := range p.Items {
			if item.MsgID != "" {
				out = append(out, told(endpoint.FamilySubscribe, item.MsgID, subscribeResult(item)))
			}
		}
		return out
	}
	return nil
}

func templateReason(p wechat.TemplateJob) string {
	switch p.Result {
	case wechat.TemplateDelivered:
		return ""
	case wechat.TemplateUserBlocked:
		return "the fan has blocked the account"
	case wechat.TemplateSystemFailed:
		return "WeChat could not deliver it"
	default:
		return "not delivered: " + short(p.Status)
	}
}

func massResult(p wechat.MassJob) jobs.Result {
	r := jobs.Result{Delivered: p.Succeeded, Result: &senderv1.SendResult{
		Status: p.Status, TotalCount: p.TotalCount, FilterCount: p.FilterCount, SentCount: p.SentCount, ErrorCount: p.ErrorCount,
	}}
	switch {
	case p.Succeeded:
	case p.Reason() != "":
		r.Reason = "not sent: " + p.Reason()
	default:
		r.Reason = "not sent: " + short(p.Status)
	}
	return r
}

func subscribeResult(item wechat.SubscribeMessage) jobs.Result {
	r := jobs.Result{Delivered: item.ErrorCode == 0, Result: &senderv1.SendResult{Status: item.ErrorStatus}}
	if !r.Delivered {
		r.Reason = fmt.Sprintf("not delivered: errcode %d %s", item.ErrorCode, short(item.ErrorStatus))
	}
	return r
}

// short bounds a text of WeChat.
func short(s string) string {
	const most = 120
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}
