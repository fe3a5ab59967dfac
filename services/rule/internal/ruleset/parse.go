package ruleset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/wxbus/wxbus/pkg/fault"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	"github.com/wxbus/wxbus/services/rule/internal/match"
	"github.com/wxbus/wxbus/services/rule/internal/worktime"
)

// Options say what a file may contain.
type Options struct {
	// Account returns the kind of an account, or false when there is none; nil accepts every name.
	Account func(name string) (eventv1.AccountKind, bool)
	// CheckURL returns why the address of a webhook is refused; nil accepts every http and https one.
	CheckURL func(url string) error
	// CheckChat returns why there is no chat provider of a name ("" for the only one); nil accepts every name.
	CheckChat func(provider string) error
}

// Parse reads a rule file. Its error is Invalid and names every mistake, up to 25, by path and line.
func Parse(file []byte, o Options) (*File, error) {
	if len(file) > MaxFileBytes {
		return nil, fault.Errorf(fault.Invalid, "rules: %d bytes, at most %d are allowed", len(file), MaxFileBytes)
	}
	root, err := document(file)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	f := &fileReader{options: o, fold: match.DefaultFold, names: map[string]int{}, clocks: map[string]*worktime.Clock{}}
	f.file(at{node: root})
	if err := f.err(); err != nil {
		return nil, err
	}
	return &f.result, nil
}

// document returns the root node of the only document in a file.
func document(file []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(file))
	var doc, second yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("rules: the file is empty")
		}
		return nil, fmt.Errorf("rules: %w", err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("rules: a file holds one YAML document")
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, errors.New("rules: the file is empty")
	}
	return doc.Content[0], nil
}

// fileReader reads the whole file.
type fileReader struct {
	reader
	options Options
	fold    match.Fold
	result  File
	names   map[string]int
	clocks  map[string]*worktime.Clock
	scope   scope // of the rule in hand
}

func (f *fileReader) file(a at) {
	var rules, places, calendars *at
	keep := func(where **at) func(at) { return func(a at) { *where = &a } }
	f.fields(a, map[string]func(at){
		"rules": keep(&rules), "places": keep(&places), "calendars": keep(&calendars),
		"fold": func(a at) { f.fold = f.readFold(a, f.fold) },
	})
	if places != nil {
		f.places(*places)
	}
	if calendars != nil {
		f.calendars(*calendars)
	}
	switch {
	case rules == nil && a.node.Kind == yaml.MappingNode:
		f.refuse(at{a.node, "rules"}, "is required")
	case rules != nil:
		f.items(*rules, MaxRules, f.rule)
	}
}

// readFold reads what matching ignores, starting from what it ignores by default.
func (f *fileReader) readFold(a at, fold match.Fold) match.Fold {
	bit := func(b match.Fold) func(at) {
		return func(a at) {
			f.boolean(a, func(on bool) {
				if fold &^= b; on {
					fold |= b
				}
			})
		}
	}
	f.fields(a, map[string]func(at){
		"ignore_case": bit(match.FoldCase), "ignore_width": bit(match.FoldWidth), "ignore_traditional": bit(match.FoldHan),
	})
	return fold
}

func (f *fileReader) rule(a at) {
	rule := Rule{Match: Match{Fold: f.fold}}
	var on, matching, when, do *at
	keep := func(where **at) func(at) { return func(a at) { *where = &a } }
	f.fields(a, map[string]func(at){
		"name":     f.into(&rule.Name, 4*MaxNameRunes),
		"account":  func(a at) { rule.Accounts = f.accounts(a) },
		"priority": func(a at) { rule.Priority = f.priority(a) },
		"on":       keep(&on), "match": keep(&matching), "when": keep(&when), "do": keep(&do),
	})
	if a.node.Kind != yaml.MappingNode {
		return
	}
	f.name(a, &rule)
	if on != nil {
		rule.On = f.kinds(*on)
	} else {
		rule.On = defaultKinds(matching)
	}
	if when != nil {
		rule.When = f.when(*when)
	}
	switch {
	case matching != nil:
		f.match(*matching, &rule)
	case messagesOnly(rule.On) || len(rule.On) == 0:
		f.refuse(a.child("match", a.node), "is required: any, or lists under %s", strings.Join(matchKeys, ", "))
	default:
		rule.Match.Any = true // an event is named by its kind alone
	}
	if do == nil {
		f.refuse(a.child("do", a.node), "is required: a list of actions")
	} else {
		f.scope = f.scopeOf(&rule)
		f.suitsAccounts(&rule, f.actions(*do, &rule))
	}
	f.result.Rules = append(f.result.Rules, rule)
}

// messagesOnly tells whether every kind is one of messages.
func messagesOnly(kinds []string) bool {
	for _, kind := range kinds {
		if !IsMessage(kind) {
			return false
		}
	}
	return true
}

// name checks the name of a rule, or makes one of its place in the file.
func (f *fileReader) name(a at, rule *Rule) {
	if rule.Name == "" {
		rule.Name = "rule " + strconv.Itoa(len(f.result.Rules)+1)
	}
	if utf8.RuneCountInString(rule.Name) > MaxNameRunes || strings.ContainsFunc(rule.Name, unicode.IsControl) {
		f.refuse(a.child("name", a.node), "must have at most %d characters and no control characters", MaxNameRunes)
	}
	if line, ok := f.names[rule.Name]; ok {
		f.refuse(a.child("name", a.node), "%q is the name of the rule in line %d too", rule.Name, line)
		return
	}
	f.names[rule.Name] = a.node.Line
}

func (f *fileReader) accounts(a at) []string {
	accounts := f.texts(a, 1000)
	if len(accounts) == 0 && a.node.Kind == yaml.SequenceNode {
		f.refuse(a, "must name an account; leave it out for every account")
	}
	for _, name := range accounts {
		if _, ok := f.kindOfAccount(name); !ok {
			f.refuse(a, "there is no account %q", name)
		}
	}
	return accounts
}

func (f *fileReader) kindOfAccount(name string) (eventv1.AccountKind, bool) {
	if f.options.Account == nil {
		return eventv1.AccountKind_ACCOUNT_KIND_UNSPECIFIED, true
	}
	return f.options.Account(name)
}

// suitsAccounts refuses replies that an account which the rule names cannot send.
func (f *fileReader) suitsAccounts(rule *Rule, nodes []at) {
	for _, name := range rule.Accounts {
		kind, _ := f.kindOfAccount(name)
		if kind == eventv1.AccountKind_ACCOUNT_KIND_UNSPECIFIED {
			continue
		}
		for i, action := range rule.Actions {
			if c, err := action.Content(); err == nil && c != nil && c.GetNativeTransfer() == nil {
				if action.Templated {
					c = Fill(c, sampleValue, 1)[0]
				}
				f.sendable(nodes[i].child("reply", nodes[i].node), c, kind)
			}
		}
	}
}

func (f *fileReader) priority(a at) int32 {
	var value int
	if a.node.Kind != yaml.ScalarNode || a.node.Decode(&value) != nil || value < math.MinInt32 || value > math.MaxInt32 {
		f.refuse(a, "must be a whole number; the higher one wins")
	}
	return int32(value)
}

func (f *fileReader) kinds(a at) []string {
	kinds := f.texts(a, 100)
	if len(kinds) == 0 {
		f.refuse(a, "must name at least one kind")
	}
	for _, kind := range kinds {
		if !isKind(kind) {
			f.refuse(a, "%q is not a kind; the kinds are %s and event:<name of the event in lower case>", kind, strings.Join(Kinds(), ", "))
		}
	}
	return kinds
}
