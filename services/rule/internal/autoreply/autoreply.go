// Package autoreply makes rules of WeChat's own automatic replies, as get_current_autoreply_info returns them:
// the reply to a follow, the default reply to messages, and the replies to keywords.
//
// WeChat's replies can do things that rules cannot, and the other way round. Whatever is not carried over, or
// behaves differently, is listed with the reason; nothing is dropped in silence.
package autoreply

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

const (
	// MaxBytes bounds the answer of WeChat.
	MaxBytes = 8 << 20
	// defaultPriority is that of the default reply: below every keyword.
	defaultPriority = -100
)

// onceAnHour is how often WeChat sends a fan the default reply.
var onceAnHour = map[string]string{"cooldown": "1h"}

// LeftOut is a part that is not carried over, or not exactly.
type LeftOut struct {
	Path   string // in the answer of WeChat
	Rule   string // name in WeChat; empty for none
	Reason string
	// Approximated is true when it is carried over and behaves differently.
	Approximated bool
}

// Converted is the answer of WeChat as rules.
type Converted struct {
	// File is a rule file.
	File    []byte
	Rules   int
	LeftOut []LeftOut
}

// Convert reads the answer of WeChat for one account. Its error is Invalid.
func Convert(answer []byte, account string) (*Converted, error) {
	if len(answer) > MaxBytes {
		return nil, fault.Errorf(fault.Invalid, "content: %d bytes, at most %d are allowed", len(answer), MaxBytes)
	}
	var in answerOf
	if err := json.Unmarshal(answer, &in); err != nil {
		return nil, fault.Errorf(fault.Invalid, "content: is not the answer of get_current_autoreply_info: %w", err)
	}
	if in.ErrCode != 0 {
		return nil, fault.Errorf(fault.Invalid, "content: WeChat answered with errcode %d", in.ErrCode)
	}
	if in.AddFriendOpen == nil && in.AutoReplyOpen == nil {
		return nil, fault.New(fault.Invalid, "content: is not the answer of get_current_autoreply_info: its flags are missing")
	}
	c := &converter{account: account, rules: []rule{}, names: map[string]bool{}}
	c.welcome(in)
	c.keywords(in)
	c.fallback(in)
	file, err := json.Marshal(map[string]any{"rules": c.rules})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err)
	}
	return &Converted{File: file, Rules: len(c.rules), LeftOut: c.leftOut}, nil
}

// flag is a switch of WeChat: a number, or the number as a text.
type flag bool

// UnmarshalJSON reads 0, 1, "0", "1", true and false.
func (f *flag) UnmarshalJSON(b []byte) error {
	switch text := strings.Trim(string(b), `"`); text {
	case "0", "false", "", "null":
		*f = false
	case "1", "true":
		*f = true
	default:
		return fmt.Errorf("%q is not 0 or 1", text)
	}
	return nil
}

type answerOf struct {
	ErrCode       int    `json:"errcode"`
	AddFriendOpen *flag  `json:"is_add_friend_reply_open"`
	AutoReplyOpen *flag  `json:"is_autoreply_open"`
	AddFriend     *reply `json:"add_friend_autoreply_info"`
	Default       *reply `json:"message_default_autoreply_info"`
	Keywords      struct {
		List []keywordRule `json:"list"`
	} `json:"keyword_autoreply_info"`
}

type keywordRule struct {
	Name     string    `json:"rule_name"`
	Mode     string    `json:"reply_mode"`
	Keywords []keyword `json:"keyword_list_info"`
	Replies  []reply   `json:"reply_list_info"`
}

type keyword struct {
	Type    string `json:"type"`
	Mode    string `json:"match_mode"`
	Content string `json:"content"`
}

type reply struct {
	Type    string `json:"type"`
	Content string `json:"content"`
	News    struct {
		List []article `json:"list"`
	} `json:"news_info"`
}

type article struct {
	Title   string `json:"title"`
	Author  string `json:"author"`
	Digest  string `json:"digest"`
	Cover   flag   `json:"show_cover"`
	PicURL  string `json:"cover_url"`
	URL     string `json:"content_url"`
	ReadURL string `json:"source_url"`
}

// rule is a rule of ours; its fields are the keys of a rule file.
type rule map[string]any

type converter struct {
	account string
	rules   []rule
	names   map[string]bool
	leftOut []LeftOut
}

func (c *converter) lost(path, rule, reason string) {
	c.leftOut = append(c.leftOut, LeftOut{Path: path, Rule: rule, Reason: reason})
}

func (c *converter) differs(path, rule, reason string) {
	c.leftOut = append(c.leftOut, LeftOut{Path: path, Rule: rule, Reason: reason, Approximated: true})
}

func isOpen(f *flag) bool { return f != nil && bool(*f) }

// welcome carries the reply to a follow over.
func (c *converter) welcome(in answerOf) {
	const path = "add_friend_autoreply_info"
	switch {
	case in.AddFriend == nil:
	case !isOpen(in.AddFriendOpen):
		c.lost(path, "", "the reply to a follow is switched off in WeChat")
	default:
		if do := c.replies([]reply{*in.AddFriend}, path, ""); len(do) > 0 {
			c.add(path, "", rule{"name": c.name("follow", path), "on": []string{"subscribe"}, "match": "any", "do": do})
		}
	}
}

// fallback carries the default reply over.
func (c *converter) fallback(in answerOf) {
	const path = "message_default_autoreply_info"
	switch {
	case in.Default == nil:
	case !isOpen(in.AutoReplyOpen):
		c.lost(path, "", "automatic replies are switched off in WeChat")
	default:
		do := c.replies([]reply{*in.Default}, path, "")
		if len(do) == 0 {
			return
		}
		c.add(path, "", rule{"name": c.name("default", path), "priority": defaultPriority, "on": []string{"any_message"}, "match": "any", "when": onceAnHour, "do": do})
	}
}

// keywords carries the replies to keywords over.
func (c *converter) keywords(in answerOf) {
	for i, k := range in.Keywords.List {
		path := fmt.Sprintf("keyword_autoreply_info.list[%d]", i)
		if !isOpen(in.AutoReplyOpen) {
			c.lost(path, k.Name, "automatic replies are switched off in WeChat")
			continue
		}
		match := c.match(k, path)
		if len(match) == 0 {
			c.lost(path, k.Name, "no keyword is left")
			continue
		}
		replies := k.Replies
		if k.Mode == "random_one" && len(replies) > 1 {
			c.differs(path+".reply_list_info", k.Name, "WeChat sends one of several replies at random, the rule sends the first")
			for j := range replies[1:] {
				c.lost(fmt.Sprintf("%s.reply_list_info[%d]", path, j+1), k.Name, "one of several replies at random")
			}
			replies = replies[:1]
		} else if k.Mode != "random_one" && k.Mode != "reply_all" {
			c.differs(path+".reply_mode", k.Name, fmt.Sprintf("%q is not a reply mode that is known here, all replies are sent", k.Mode))
		}
		do := c.replies(replies, path+".reply_list_info", k.Name)
		if len(do) == 0 {
			c.lost(path, k.Name, "no reply is left")
			continue
		}
		c.add(path, k.Name, rule{"name": c.name(k.Name, path), "match": match, "do": do})
	}
}

// match makes the match of a rule from keywords.
func (c *converter) match(k keywordRule, path string) map[string]any {
	match := map[string]any{}
	for i, word := range k.Keywords {
		at := fmt.Sprintf("%s.keyword_list_info[%d]", path, i)
		key := map[string]string{"contain": "contains", "equal": "exact"}[word.Mode]
		switch {
		case word.Type != "" && word.Type != "text":
			c.lost(at, k.Name, fmt.Sprintf("a keyword of type %q cannot be matched", word.Type))
		case key == "":
			c.lost(at, k.Name, fmt.Sprintf("%q is not a match mode that is known here", word.Mode))
		case strings.TrimSpace(word.Content) == "":
			c.lost(at, k.Name, "the keyword is empty")
		default:
			words, _ := match[key].([]string)
			match[key] = append(words, word.Content)
		}
	}
	return match
}

// replies makes the actions of a rule.
func (c *converter) replies(replies []reply, path, name string) []rule {
	var do []rule
	for i, r := range replies {
		at := path
		if name != "" || len(replies) > 1 {
			at = fmt.Sprintf("%s[%d]", path, i)
		}
		if len(do) == ruleset.MaxReplies {
			c.lost(at, name, fmt.Sprintf("a rule sends %d replies at most", ruleset.MaxReplies))
			continue
		}
		if body := c.reply(r, at, name); body != nil {
			do = append(do, rule{"reply": body})
		}
	}
	return do
}

// reply makes the body of a reply, or nil for one that cannot be carried over.
func (c *converter) reply(r reply, path, name string) rule {
	switch {
	case r.Type == "news":
		return c.news(r, path, name)
	case strings.TrimSpace(r.Content) == "":
		c.lost(path, name, "the reply is empty")
	case r.Type == "text":
		return rule{"text": literal(r.Content)}
	case r.Type == "video":
		c.lost(path, name, "WeChat gives a link to the video and not its media id: upload it and add it to the rule")
	case r.Type == "img", r.Type == "image", r.Type == "voice":
		c.differs(path, name, "the media id ends after three days: upload the file to keep it")
		return rule{map[string]string{"img": "image", "image": "image", "voice": "voice"}[r.Type]: r.Content}
	default:
		c.lost(path, name, fmt.Sprintf("a reply of type %q cannot be sent by a rule", r.Type))
	}
	return nil
}

// literal keeps a text that happens to look like a variable as it is.
func literal(text string) string { return strings.ReplaceAll(text, "{{", `{{"{{"}}`) }

// news makes a reply of the first article: WeChat shows no more than one.
func (c *converter) news(r reply, path, name string) rule {
	if len(r.News.List) == 0 {
		c.lost(path, name, "the reply has no article")
		return nil
	}
	for i, a := range r.News.List {
		at := fmt.Sprintf("%s.news_info.list[%d]", path, i)
		if i > 0 {
			c.lost(at, name, fmt.Sprintf("a reply shows one article, %q is another one", a.Title))
		} else if a.Author != "" || a.ReadURL != "" {
			c.differs(at, name, "a reply shows neither the author nor the link to the source")
		}
	}
	first := r.News.List[0]
	body := rule{"title": literal(first.Title), "description": literal(first.Digest), "url": literal(first.URL)}
	if first.Cover {
		body["pic_url"] = literal(first.PicURL)
	}
	for key, value := range body {
		if value == "" {
			delete(body, key)
		}
	}
	return rule{"news": body}
}

// add keeps a rule when a publication would take it.
func (c *converter) add(path, name string, r rule) {
	r["account"] = c.account
	body, err := json.Marshal(r)
	if err == nil {
		err = ruleset.CheckRule(body, []byte("rules: []"), ruleset.Options{})
	}
	if err != nil {
		c.lost(path, name, "rules refuse it: "+strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	c.rules = append(c.rules, r)
}

// name makes a name that no other rule of the import has.
func (c *converter) name(name, path string) string {
	clean := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, name))
	if clean == "" {
		clean = "keyword"
	}
	full := c.account + ": " + clean
	if room := ruleset.MaxNameRunes - len(" (10000)"); utf8.RuneCountInString(full) > room {
		full = string([]rune(full)[:room])
		c.differs(path, name, "the name was too long")
	}
	unique := full
	for n := 2; c.names[unique]; n++ {
		unique = full + " (" + strconv.Itoa(n) + ")"
	}
	c.names[unique] = true
	return unique
}
