// Package template fills variables into the texts of replies.
//
//	您好，{{fan.name | "朋友"}}，您离{{place.name}}还有{{place.distance}}。
//
// The grammar is as small as that: "{{", a variable of two names, an optional default after "|", "}}"; and
// {{"{{"}} for a literal text. There are no conditions and no loops. A value is text and never markup: what a
// fan wrote cannot become a link, whatever it is. Links are where the author wrote <a href="…">; there a value
// is escaped for an address.
package template

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Field says where a text is shown, and with that how values are escaped.
type Field uint8

// The fields.
const (
	// Text is the text of a message: links are possible.
	Text Field = iota
	// Plain is a title or a description.
	Plain
	// Address is a web address or the path of a page.
	Address
)

// Open begins a variable. A text without it is no template.
const Open = "{{"

const closing = "}}"

// Bounds of a template and of what it becomes.
const (
	MaxVariables = 50
	maxNameRunes = 64
	// MaxValue bounds a value in bytes; the rest is cut off.
	MaxValue = 2047
)

// Name is the name of a variable: {{Root.Key}}.
type Name struct{ Root, Key string }

// String returns the name as it is written.
func (n Name) String() string { return n.Root + "." + n.Key }

// Values returns the value of a variable, or false when it has none.
type Values func(Name) (string, bool)

// Template is a parsed text. It is immutable and safe for concurrent use.
type Template struct {
	parts []part
}

// part is a literal text, or a variable when it has a name.
type part struct {
	literal  string
	name     Name
	fallback string
	escape   escape
}

type escape uint8

const (
	asText         escape = iota
	asLine                // text on one line
	asPartOfURL           // within an address
	asWholeAddress        // at the beginning of an address
)

// Is tells whether a text is a template.
func Is(text string) bool { return strings.Contains(text, Open) }

// Parse reads a template. The error says what is wrong and where, without the text itself.
func Parse(text string, field Field) (*Template, error) {
	p := parser{field: field, text: text, rest: text}
	t := &Template{}
	for p.rest != "" {
		next, err := p.next()
		if err != nil {
			return nil, fmt.Errorf("at character %d: %w", utf8.RuneCountInString(text[:p.at()])+1, err)
		}
		if next.name.Root != "" {
			if p.variables++; p.variables > MaxVariables {
				return nil, fmt.Errorf("has more than %d variables", MaxVariables)
			}
		}
		t.parts = append(t.parts, next)
	}
	return t, nil
}

// Variables returns the names of the variables in the order of their use.
func (t *Template) Variables() []Name {
	var names []Name
	for _, p := range t.parts {
		if p.name.Root != "" {
			names = append(names, p.name)
		}
	}
	return names
}

// FixedBytes returns the size of what is there whatever the variables are.
func (t *Template) FixedBytes() int {
	n := 0
	for _, p := range t.parts {
		n += len(p.literal)
	}
	return n
}

// Expand fills in the values.
func (t *Template) Expand(values Values) string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.name.Root == "" {
			b.WriteString(p.literal)
			continue
		}
		value, ok := values(p.name)
		if !ok || strings.TrimSpace(value) == "" {
			value = p.fallback
		}
		b.WriteString(p.escape.apply(value))
	}
	return b.String()
}

// Expand parses and fills in at once. A text that is no template, or one that cannot be read, is returned as it is:
// Parse has refused the latter when the rules were loaded.
func Expand(text string, field Field, values Values) string {
	if !Is(text) {
		return text
	}
	t, err := Parse(text, field)
	if err != nil {
		return text
	}
	return t.Expand(values)
}

// parser reads a template from left to right.
type parser struct {
	field      Field
	text, rest string
	variables  int
	markup     markup
}

func (p *parser) at() int { return len(p.text) - len(p.rest) }

// next reads a literal text or what stands between braces.
func (p *parser) next() (part, error) {
	if literal, _, _ := strings.Cut(p.rest, Open); literal != "" {
		p.rest = p.rest[len(literal):]
		p.markup.read(literal)
		return part{literal: literal}, nil
	}
	inner := strings.TrimLeft(p.rest[len(Open):], " ")
	if strings.HasPrefix(inner, `"`) {
		text, rest, err := quoted(inner)
		if err != nil {
			return part{}, err
		}
		p.markup.read(text)
		return part{literal: text}, p.close(rest)
	}
	return p.variable(inner)
}

func (p *parser) variable(inner string) (part, error) {
	root, rest := identifier(inner)
	key := ""
	if after, ok := strings.CutPrefix(rest, "."); ok {
		key, rest = identifier(after)
	}
	if root == "" || key == "" {
		return part{}, errors.New(`must be a variable like {{fan.openid}}, with a default like {{place.name | "我们"}}, or {{"{{"}} for braces`)
	}
	v := part{name: Name{root, key}}
	var err error
	if after, ok := strings.CutPrefix(strings.TrimLeft(rest, " "), "|"); ok {
		if v.fallback, rest, err = quoted(strings.TrimLeft(after, " ")); err != nil {
			return part{}, err
		}
	}
	if v.escape, err = p.escape(); err != nil {
		return part{}, err
	}
	return v, p.close(rest)
}

// close reads the closing braces.
func (p *parser) close(rest string) error {
	after, ok := strings.CutPrefix(strings.TrimLeft(rest, " "), closing)
	if !ok {
		return errors.New("a variable ends with }}; there is nothing but a name and a default in it")
	}
	p.rest = after
	return nil
}

// escape returns how a value is written here.
func (p *parser) escape() (escape, error) {
	switch {
	case p.field == Plain:
		return asLine, nil
	case p.field == Address && p.at() == 0:
		return asWholeAddress, nil
	case p.field == Address:
		return asPartOfURL, nil
	default:
		return p.markup.value()
	}
}

func identifier(text string) (name, rest string) {
	runes := 0
	for i, r := range text {
		if r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) || runes == maxNameRunes {
			return text[:i], text[i:]
		}
		runes++
	}
	return text, ""
}

// quoted reads a text in double quotes with the escapes \" \\ and \n.
func quoted(text string) (value, rest string, err error) {
	bad := errors.New(`a text stands in double quotes, with \" \\ and \n in it`)
	text, ok := strings.CutPrefix(text, `"`)
	if !ok {
		return "", "", bad
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			return b.String(), text[i+1:], nil
		case '\\':
			i++
			if i == len(text) {
				return "", "", bad
			}
			plain, ok := map[byte]byte{'"': '"', '\\': '\\', 'n': '\n'}[text[i]]
			if !ok {
				return "", "", bad
			}
			b.WriteByte(plain)
		default:
			b.WriteByte(c)
		}
	}
	return "", "", bad
}

// IsName tells whether a text can be the key of a variable.
func IsName(text string) bool {
	name, rest := identifier(text)
	return name != "" && rest == ""
}

// apply writes a value so that it is nothing but a value.
func (e escape) apply(value string) string {
	switch e {
	case asLine:
		return strings.Join(strings.Fields(clean(value)), " ")
	case asPartOfURL:
		return percent(clean(value))
	case asWholeAddress:
		return address(value)
	default:
		return neutral(clean(value))
	}
}

// clean drops what no text needs: control characters, and marks that turn the direction of the text around it.
func clean(value string) string {
	value = cut(strings.ToValidUTF8(value, "\uFFFD"), MaxValue)
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case unicode.IsControl(r), r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0xFEFF:
			return -1
		default:
			return r
		}
	}, value)
}

// neutral takes the meaning of markup from a text: it looks the same and is none.
var neutralizer = strings.NewReplacer("<", "＜", ">", "＞", "&", "＆")

func neutral(value string) string { return neutralizer.Replace(value) }

const hexDigits = "0123456789ABCDEF"

// percent escapes everything but letters, digits and -._~ of ASCII, so that it is right in every part of an address.
func percent(value string) string {
	var b strings.Builder
	for i := range len(value) {
		c := value[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

// address returns a value that is a whole http or https address, escaped, or nothing.
func address(value string) string {
	u, err := url.Parse(strings.TrimSpace(value))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ""
	}
	text := u.String()
	if strings.ContainsAny(text, "\"'<> `\\") || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return ""
	}
	return text
}

// cut returns the beginning of a text, cut between characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
