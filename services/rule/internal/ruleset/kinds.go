package ruleset

import (
	"slices"
	"strings"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/match"
	"github.com/wxbus/wxbus/services/rule/internal/place"
)

// anyMessage is the kind that every message has beside its own.
const anyMessage = "any_message"

// eventPrefix names an event of WeChat that has no kind of its own.
const eventPrefix = "event:"

// messageKinds maps the kinds of messages to whether they carry text.
var messageKinds = map[string]bool{
	"text": true, "image": false, "voice": true, "video": false, "shortvideo": false,
	"location": true, "link": true, "miniprogrampage": true, "file": true, anyMessage: true,
}

// eventKinds maps the kinds of events to whether they carry a key.
var eventKinds = map[string]bool{
	"subscribe": true, "unsubscribe": false, "scan": true, "view": true, "enter_session": true,
	"location_report": false, "click": true,
	"scancode_push": true, "scancode_waitmsg": true, "pic_sysphoto": true, "pic_photo_or_album": true,
	"pic_weixin": true, "location_select": true,
}

// kindOfEvent maps events of WeChat to the kinds under which rules ask for them, beside their name.
var kindOfEvent = map[string][]string{
	"subscribe": {"subscribe"}, "unsubscribe": {"unsubscribe"}, "scan": {"scan"},
	"view": {"view"}, "view_miniprogram": {"view"},
	"user_enter_tempsession": {"enter_session"}, "enter": {"enter_session"},
	"location": {"location_report"}, "click": {"click"},
	"scancode_push": {"click", "scancode_push"}, "scancode_waitmsg": {"click", "scancode_waitmsg"},
	"pic_sysphoto": {"click", "pic_sysphoto"}, "pic_photo_or_album": {"click", "pic_photo_or_album"},
	"pic_weixin": {"click", "pic_weixin"}, "location_select": {"click", "location_select"},
}

// Kinds returns every kind that has a name, sorted; event:<name> comes on top.
func Kinds() []string {
	var kinds []string
	for kind := range messageKinds {
		kinds = append(kinds, kind)
	}
	for kind := range eventKinds {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// IsMessage tells whether a kind is one of messages.
func IsMessage(kind string) bool {
	_, ok := messageKinds[kind]
	return ok
}

// IsMenuAction tells whether a kind is a tap on the menu that expects an answer.
func IsMenuAction(kind string) bool { return slices.Contains(kindOfEvent[kind], "click") }

func isKind(kind string) bool {
	if name, ok := strings.CutPrefix(kind, eventPrefix); ok {
		return name != "" && name == strings.ToLower(name) && len(name) <= 64
	}
	_, isEvent := eventKinds[kind]
	return isEvent || IsMessage(kind)
}

// hasScene tells whether pushes of a kind carry the scene of a QR code.
func hasScene(kind string) bool { return kind == "subscribe" || kind == "scan" }

// hasPosition tells whether pushes of a kind carry a position.
func hasPosition(kind string) bool {
	return kind == "location" || kind == "location_report" || kind == "location_select"
}

// mediaKinds are the kinds of messages with media, and whether they have a format.
var mediaKinds = map[string]bool{"image": false, "voice": true, "video": false, "shortvideo": false, "file": true}

// hasMedia tells whether messages of a kind may carry media.
func hasMedia(kind string) bool {
	_, ok := mediaKinds[kind]
	return ok || kind == anyMessage
}

// hasText tells whether messages of a kind carry text to match.
func hasText(kind string) bool { return messageKinds[kind] }

// hasKey tells whether pushes of a kind carry a key to match. The key of a text is the id of the
// menu item that the fan tapped.
func hasKey(kind string) bool {
	return kind == "text" || eventKinds[kind] || strings.HasPrefix(kind, eventPrefix)
}

// triggers returns the kinds of an event, without allocation for messages.
func triggers(ev *eventv1.InboundEvent) []string {
	if ev.GetEvent() == "" {
		if known, ok := messageTriggers[ev.GetMsgType()]; ok {
			return known
		}
		return messageTriggers[""]
	}
	if known, ok := eventTriggers[ev.GetEvent()]; ok {
		return known
	}
	return []string{eventPrefix + ev.GetEvent()}
}

// InputFor returns the input of an imagined message or event of a kind, for a dry run. It returns
// false when there is no such kind.
func InputFor(account, kind, text, key string) (match.Input, bool) {
	if !isKind(kind) {
		return match.Input{}, false
	}
	in := match.Input{Account: account, Triggers: triggersOf(kind), Text: text, HasText: hasText(kind)}
	if key != "" {
		in.Keys = []string{key}
		scene, ok := strings.CutPrefix(key, scenePrefix)
		if ok && kind == "subscribe" {
			in.Keys = append(in.Keys, scene)
		}
		if hasScene(kind) {
			in.Scene = scene
		}
	}
	if _, ok := mediaKinds[kind]; ok {
		in.Media = mediaOf(kind, "")
	}
	return in, true
}

// triggersOf returns the kinds of an event that a kind names.
func triggersOf(kind string) []string {
	if name, ok := strings.CutPrefix(kind, eventPrefix); ok {
		if known, ok := eventTriggers[name]; ok {
			return known
		}
		return []string{kind}
	}
	if known, ok := messageTriggers[kind]; ok {
		return known
	}
	if known, ok := eventTriggers[kind]; ok && slices.Contains(known, kind) {
		return known
	}
	for _, event := range []string{"user_enter_tempsession", "location"} {
		if slices.Contains(eventTriggers[event], kind) {
			return eventTriggers[event]
		}
	}
	return []string{kind} // any_message
}

var messageTriggers, eventTriggers = triggerTables()

func triggerTables() (messages, events map[string][]string) {
	messages = map[string][]string{"": {anyMessage}}
	for kind := range messageKinds {
		if kind != anyMessage {
			messages[kind] = []string{kind, anyMessage}
		}
	}
	events = map[string][]string{}
	for event, kinds := range kindOfEvent {
		events[event] = append(slices.Clone(kinds), eventPrefix+event)
	}
	return messages, events
}

// InputOf returns what of an event is matched.
func InputOf(ev *eventv1.InboundEvent) match.Input {
	in := match.Input{Account: ev.GetAccount(), Triggers: triggers(ev)}
	in.Text, in.HasText = textOf(ev)
	in.Keys = keysOf(ev)
	in.Scene = sceneOf(ev)
	if m := ev.GetMedia(); m != nil {
		in.Media = mediaOf(ev.GetMsgType(), formatOf(m))
	}
	if l := ev.GetLocation(); l != nil && place.Valid(l.GetLatitude(), l.GetLongitude()) {
		in.Position, in.Latitude, in.Longitude = true, l.GetLatitude(), l.GetLongitude()
	}
	return in
}

// mediaOf returns the names of a kind of media: alone, and with its format.
func mediaOf(kind, format string) []string {
	if format == "" || !mediaKinds[kind] {
		return plainMedia[kind]
	}
	return []string{kind, kind + "/" + format}
}

// plainMedia holds the lists that need no allocation.
var plainMedia = func() map[string][]string {
	lists := map[string][]string{}
	for kind := range mediaKinds {
		lists[kind] = []string{kind}
	}
	return lists
}()

// formatOf returns the format of a voice or the ending of the name of a file, in lower case.
func formatOf(m *eventv1.MediaMessage) string {
	if m.GetFormat() != "" {
		return strings.ToLower(m.GetFormat())
	}
	if dot := strings.LastIndexByte(m.GetTitle(), '.'); dot >= 0 {
		return strings.ToLower(m.GetTitle()[dot+1:])
	}
	return ""
}

// sceneOf returns the scene of the QR code that a fan scanned, also with the follow.
func sceneOf(ev *eventv1.InboundEvent) string {
	switch ev.GetEvent() {
	case "scan":
		return ev.GetEventKey()
	case "subscribe":
		scene, _ := strings.CutPrefix(ev.GetEventKey(), scenePrefix)
		return scene
	default:
		return ""
	}
}

func textOf(ev *eventv1.InboundEvent) (string, bool) {
	switch p := ev.GetPayload().(type) {
	case *eventv1.InboundEvent_Text:
		return p.Text.GetContent(), true
	case *eventv1.InboundEvent_Media:
		switch ev.GetMsgType() {
		case "voice":
			return p.Media.GetRecognition(), true
		case "file":
			return p.Media.GetTitle(), true
		}
	case *eventv1.InboundEvent_Location:
		if ev.GetEvent() == "" {
			return p.Location.GetLabel(), true
		}
	case *eventv1.InboundEvent_Link:
		return p.Link.GetTitle(), true
	case *eventv1.InboundEvent_MiniProgramPage:
		return p.MiniProgramPage.GetTitle(), true
	}
	return "", false
}

// scenePrefix precedes the scene in the key of a follow by QR code; a scan has the bare scene.
const scenePrefix = "qrscene_"

func keysOf(ev *eventv1.InboundEvent) []string {
	key := ev.GetEventKey()
	switch p := ev.GetPayload().(type) {
	case *eventv1.InboundEvent_Text:
		key = p.Text.GetBizMsgMenuId()
	case *eventv1.InboundEvent_SessionFrom:
		key = p.SessionFrom
	}
	if key == "" {
		return nil
	}
	if scene, ok := strings.CutPrefix(key, scenePrefix); ok && ev.GetEvent() == "subscribe" {
		return []string{key, scene}
	}
	return []string{key}
}
