package ledger

import (
	"strings"
	"time"
)

// Window is one permission to send: so many messages within a time (e.2).
type Window struct {
	Messages int           `yaml:"messages" json:"messages" desc:"messages allowed by the action"`
	Within   time.Duration `yaml:"within" json:"within" desc:"time after the action"`
}

// Windows are the permissions by action. Numbers changed over the years, so they are configuration.
type Windows struct {
	Message     Window `yaml:"message" json:"message" desc:"fan writes to an Official Account"`
	Click       Window `yaml:"click" json:"click" desc:"menu click, scancode_push, scancode_waitmsg, tap on a msgmenu item"`
	Follow      Window `yaml:"follow" json:"follow" desc:"fan follows"`
	Scan        Window `yaml:"scan" json:"scan" desc:"follower scans a QR code"`
	MiniMessage Window `yaml:"mini_message" json:"mini_message" desc:"fan writes to a Mini Program"`
	MiniEnter   Window `yaml:"mini_enter" json:"mini_enter" desc:"fan opens the session of a Mini Program"`
}

// DefaultWindows returns the numbers valid since June 2023.
func DefaultWindows() Windows {
	minute := func(n int) Window { return Window{Messages: n, Within: time.Minute} }
	twoDays := Window{Messages: 5, Within: 48 * time.Hour}
	return Windows{Message: twoDays, Click: minute(3), Follow: minute(3), Scan: minute(3), MiniMessage: twoDays, MiniEnter: minute(2)}
}

// Grant is what is left of a fan's permissions. They do not add up: an action raises both numbers to its own.
type Grant struct {
	Remaining int       `json:"remaining"`
	Deadline  time.Time `json:"deadline,omitzero"`
}

func (g Grant) after(w Window, at time.Time) Grant {
	if w.Messages == 0 {
		return g
	}
	if at.After(g.Deadline) {
		g.Remaining = 0
	}
	g.Remaining = max(g.Remaining, w.Messages)
	if end := at.Add(w.Within); end.After(g.Deadline) {
		g.Deadline = end
	}
	return g
}

// of returns the window that an action opens; the zero Window opens nothing.
func (w Windows) of(mini bool, kind Kind) Window {
	switch {
	case mini && !kind.IsEvent():
		return w.MiniMessage
	case mini && kind.Event == "user_enter_tempsession":
		return w.MiniEnter
	case mini:
		return Window{}
	case kind.MenuTap:
		return w.Click
	case !kind.IsEvent():
		return w.Message
	}
	switch strings.ToLower(kind.Event) {
	case "click", "scancode_push", "scancode_waitmsg":
		return w.Click
	case "subscribe":
		return w.Follow
	case "scan":
		return w.Scan
	}
	return Window{}
}

// Kind tells what a push is.
type Kind struct {
	MsgType string `json:"msg_type"`
	Event   string `json:"event,omitempty"`
	MenuTap bool   `json:"menu_tap,omitempty"` // a text that came from a tap on a msgmenu item
}

// IsEvent tells whether the push is an event and not a message.
func (k Kind) IsEvent() bool { return k.MsgType == "event" }

// Name returns the event's or the message's type.
func (k Kind) Name() string {
	if k.IsEvent() {
		return k.Event
	}
	return k.MsgType
}

// NoReply tells whether WeChat takes no reply to the push at all (b).
func (k Kind) NoReply() bool {
	if !k.IsEvent() {
		return false
	}
	e := strings.ToLower(k.Event)
	return e == "unsubscribe" || strings.HasSuffix(e, "jobfinish") || strings.HasPrefix(e, "kf_") || strings.HasPrefix(e, "subscribe_msg_")
}

// ShowsFault tells whether a fan sees the fault prompt when nobody answers: messages and menu clicks only (b).
func (k Kind) ShowsFault() bool {
	if !k.IsEvent() {
		return true
	}
	switch strings.ToLower(k.Event) {
	case "click", "scancode_waitmsg":
		return true
	}
	return false
}
