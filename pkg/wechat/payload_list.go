package wechat

import "iter"

// listOf yields the elements of a list below parent in each of the spellings that WeChat uses:
// <List><item/><item/></List>, repeated <List/> siblings, and a JSON array or single object.
func listOf(parent Tree, name string) iter.Seq[Tree] {
	return func(yield func(Tree) bool) {
		for list := range parent.All(name) {
			if !list.Child("item").Exists() {
				if list.IsBranch() && !yield(list) {
					return
				}
				continue
			}
			for item := range list.All("item") {
				if !yield(item) {
					return
				}
			}
		}
	}
}

// SubscribeMessages is what a fan decided about subscribe notifications, or what became of one.
type SubscribeMessages struct{ Items []SubscribeMessage }

// SubscribeMessage is one template in a SubscribeMessages push.
type SubscribeMessage struct {
	TemplateID string
	// Decision is SubscribeStatusString: "accept" or "reject"; empty in a sent event.
	Decision string
	// PopupScene is "0" Mini Program page, "1" web page, "2" article; popup events only.
	PopupScene string
	// MsgID, ErrorCode and ErrorStatus are set in a sent event; ErrorCode 0 is delivered.
	MsgID       string
	ErrorCode   int
	ErrorStatus string
}

// subscribeMessagesOf reads the list inside wrapper (XML) or directly below the root (JSON).
func subscribeMessagesOf(root Tree, wrapper string) SubscribeMessages {
	parent := root
	if w := root.Child(wrapper); w.Exists() {
		parent = w
	}
	var m SubscribeMessages
	for item := range listOf(parent, "List") {
		m.Items = append(m.Items, SubscribeMessage{
			TemplateID:  trimmed(item, "TemplateId"),
			Decision:    trimmed(item, "SubscribeStatusString"),
			PopupScene:  trimmed(item, "PopupScene"),
			MsgID:       trimmed(item, "MsgID"),
			ErrorCode:   int(parseInt(item.Child("ErrorCode").Text())),
			ErrorStatus: trimmed(item, "ErrorStatus"),
		})
	}
	return m
}
