package decide

import (
	"context"
	"strconv"
	"strings"
	"time"

	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
	"github.com/wxbus/wxbus/services/rule/internal/template"
	"github.com/wxbus/wxbus/services/rule/internal/worktime"
)

// values returns what the variables of templates stand for in this evaluation.
func (e *evaluation) values(ctx context.Context) template.Values {
	return func(name template.Name) (string, bool) {
		switch name.Root {
		case "fan":
			return e.fanValue(ctx, name.Key)
		case "account":
			return e.accountValue(name.Key)
		case "event":
			return e.eventValue(name.Key)
		case "match":
			return map[string]string{"text": e.found.Matched, "rule": e.v.rule}[name.Key], true
		case "place":
			return e.placeValue(name.Key)
		case "webhook":
			if e.preview {
				return "‹" + name.String() + "›", true
			}
			value, ok := e.vars[name.Key]
			return value, ok
		case "form":
			value, ok := e.form[name.Key]
			return value, ok
		default:
			return "", false
		}
	}
}

func (e *evaluation) fanValue(ctx context.Context, key string) (string, bool) {
	if key == "openid" {
		return e.ev.GetOpenid(), true
	}
	fan := e.fanRecord(ctx)
	if fan == nil {
		return "", false
	}
	switch key {
	case "tags":
		return strings.Join(fan.GetTags(), "、"), true
	case "language":
		return fan.GetLanguage(), true
	case "subscribed_days":
		return daysSince(fan, e.now)
	default:
		return "", false
	}
}

func daysSince(fan *rulev1.FanRecord, now time.Time) (string, bool) {
	if fan.GetSubscribedUnixS() == 0 {
		return "", false
	}
	return strconv.Itoa(int(now.Sub(time.Unix(fan.GetSubscribedUnixS(), 0)) / (24 * time.Hour))), true
}

func (e *evaluation) accountValue(key string) (string, bool) {
	if key == "name" {
		return e.ev.GetAccount(), true
	}
	kind := strings.TrimPrefix(e.ev.GetAccountKind().String(), "ACCOUNT_KIND_")
	return strings.ToLower(kind), key == "kind"
}

func (e *evaluation) eventValue(key string) (string, bool) {
	switch key {
	case "text":
		return e.in.Text, true
	case "kind":
		return e.in.Triggers[0], len(e.in.Triggers) > 0
	case "key":
		return strings.Join(e.in.Keys[:min(len(e.in.Keys), 1)], ""), true
	case "scene":
		return e.in.Scene, true
	case "label":
		return e.ev.GetLocation().GetLabel(), true
	case "latitude":
		return degrees(e.in.Latitude), e.in.Position
	case "longitude":
		return degrees(e.in.Longitude), e.in.Position
	case "date":
		return e.local().Format("2006-01-02"), true
	case "time":
		return e.local().Format("15:04"), true
	default:
		return "", false
	}
}

func degrees(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) }

// local returns the time of the event in the time zone of the rule.
func (e *evaluation) local() time.Time {
	name := ""
	if e.found.Rule != nil && e.found.Rule.When != nil {
		name = e.found.Rule.When.Zone
	}
	zone, err := worktime.Zone(name)
	if err != nil {
		return e.now.UTC() // the rule was refused for it when it was loaded
	}
	return e.now.In(zone)
}

func (e *evaluation) placeValue(key string) (string, bool) {
	p := e.found.Place
	if p == nil {
		return "", false
	}
	switch key {
	case "name":
		return p.Name, true
	case "address":
		return p.Address, true
	case "latitude":
		return degrees(p.Latitude), true
	case "longitude":
		return degrees(p.Longitude), true
	case "distance":
		return ruleset.Metres(e.found.Distance), true
	default:
		value, ok := p.Fields[key]
		return value, ok
	}
}
