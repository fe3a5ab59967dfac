package grants

import (
	"errors"
	"fmt"
	"time"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// maxMessages bounds what one action may grant: the ledger keeps the id of every reserved message and the time of
// as many counted ones.
const maxMessages = 32

// Rule is what one action of a fan allows. Zero messages means that the action allows nothing.
type Rule struct {
	Messages int32         `yaml:"messages" desc:"messages that the action allows; 0 = none"`
	Window   time.Duration `yaml:"window" desc:"how long they may be sent, counted from WeChat's CreateTime"`
}

// OfficialNumbers are the grants of service and subscription accounts (protocol e.2).
type OfficialNumbers struct {
	Message   Rule `yaml:"message" desc:"the fan sends a message"`
	MenuTap   Rule `yaml:"menu_tap" desc:"the fan taps an item of a menu message"`
	Click     Rule `yaml:"click" desc:"the fan clicks a menu button (click, scancode_push, scancode_waitmsg)"`
	Subscribe Rule `yaml:"subscribe" desc:"the fan follows the account"`
	Scan      Rule `yaml:"scan" desc:"a follower scans a QR code of the account"`
	Pay       Rule `yaml:"pay" desc:"the fan paid (user_pay_from_pay_cell); WeChat's pages disagree, so none by default"`
}

// MiniProgramNumbers are the grants of Mini Programs (protocol e.2).
type MiniProgramNumbers struct {
	Message      Rule `yaml:"message" desc:"the fan sends a message"`
	EnterSession Rule `yaml:"enter_session" desc:"the fan enters the customer-service session"`
}

// Numbers are the grants of every action by kind of account.
type Numbers struct {
	Official    OfficialNumbers    `yaml:"official" desc:"service and subscription accounts"`
	MiniProgram MiniProgramNumbers `yaml:"mini_program" desc:"Mini Programs"`
}

// DefaultNumbers returns WeChat's numbers since 2023-06-12 (protocol e.2, appendix 1).
func DefaultNumbers() Numbers {
	short := Rule{Messages: 3, Window: time.Minute}
	long := Rule{Messages: 5, Window: 48 * time.Hour}
	return Numbers{
		Official: OfficialNumbers{
			Message: long, MenuTap: short, Click: short, Subscribe: short, Scan: short,
			Pay: Rule{Window: 48 * time.Hour},
		},
		MiniProgram: MiniProgramNumbers{
			Message:      long,
			EnterSession: Rule{Messages: 2, Window: time.Minute},
		},
	}
}

// Validate reports every number that is out of range with its path below grants.
func (n Numbers) Validate() error {
	rules := []struct {
		path string
		rule Rule
	}{
		{"official.message", n.Official.Message},
		{"official.menu_tap", n.Official.MenuTap},
		{"official.click", n.Official.Click},
		{"official.subscribe", n.Official.Subscribe},
		{"official.scan", n.Official.Scan},
		{"official.pay", n.Official.Pay},
		{"mini_program.message", n.MiniProgram.Message},
		{"mini_program.enter_session", n.MiniProgram.EnterSession},
	}
	var errs []error
	for _, r := range rules {
		if r.rule.Messages < 0 || r.rule.Messages > maxMessages {
			errs = append(errs, fmt.Errorf("%s.messages: must be 0 to %d", r.path, maxMessages))
		}
		if r.rule.Window <= 0 || r.rule.Window > 48*time.Hour {
			errs = append(errs, fmt.Errorf("%s.window: must be more than 0 and at most 48h", r.path))
		}
	}
	return errors.Join(errs...)
}

// rule returns what the event allows; zero messages for events that open no window.
func (n Numbers) rule(kind eventv1.AccountKind, ev *senderv1.GrantEvidence) Rule {
	if kind == eventv1.AccountKind_ACCOUNT_KIND_MINIPROGRAM {
		switch {
		case ev.GetKind() == eventv1.EventKind_EVENT_KIND_MESSAGE:
			return n.MiniProgram.Message
		case ev.GetEvent() == "user_enter_tempsession":
			return n.MiniProgram.EnterSession
		}
		return Rule{}
	}
	switch ev.GetKind() {
	case eventv1.EventKind_EVENT_KIND_MESSAGE:
		if ev.GetMenuTap() {
			return n.Official.MenuTap
		}
		return n.Official.Message
	case eventv1.EventKind_EVENT_KIND_CLICK:
		switch ev.GetEvent() {
		case "click", "scancode_push", "scancode_waitmsg":
			return n.Official.Click
		}
	case eventv1.EventKind_EVENT_KIND_SCAN:
		return n.Official.Scan
	case eventv1.EventKind_EVENT_KIND_SUBSCRIBE:
		return n.Official.Subscribe
	default:
	}
	if ev.GetEvent() == "user_pay_from_pay_cell" {
		return n.Official.Pay
	}
	return Rule{}
}

// EvidenceOf returns the part of a push that the ledger folds.
func EvidenceOf(ev *eventv1.InboundEvent) *senderv1.GrantEvidence {
	return &senderv1.GrantEvidence{
		EventId:        ev.GetId(),
		Kind:           ev.GetKind(),
		Event:          ev.GetEvent(),
		CreateTime:     ev.GetCreateTime(),
		MenuTap:        ev.GetText().GetBizMsgMenuId() != "",
		ReceivedUnixMs: ev.GetReceivedUnixMs(),
	}
}

// Opens tells whether the event opens a window at all, so that others need not be looked up.
func (n Numbers) Opens(kind eventv1.AccountKind, ev *senderv1.GrantEvidence) bool {
	return n.rule(kind, ev).Messages > 0
}
