// Package match finds the one rule that wins for a message or an event.
//
// The cost of a match does not grow with the number of rules: exact texts and event keys are
// looked up by hash, prefixes and contained texts in one pass of an automaton, and a regular
// expression is tried only when a text that it requires was seen in that pass.
//
// The order of rules is total: higher priority, then exact before prefix before contains before
// regex before near before any, then the longer prefix or contained text, then the order of the file.
//
// A rule may be conditional: then it wins only if the caller allows it, who is asked when a rule
// matches and would win, and at most once for each rule of a match.
package match

import "cmp"

// Class is a way to match, strongest first.
type Class uint8

// The classes in the order in which they win. An event key, a scene and a kind of media count as Exact.
const (
	Exact Class = iota
	Prefix
	Contains
	RegexClass
	Near
	Any
)

// String returns the name of the class in the rule file.
func (c Class) String() string {
	return [...]string{"exact", "prefix", "contains", "regex", "near", "any"}[c]
}

// Rule is what Compile needs to know of a rule. Rules are given in the order of the file.
type Rule struct {
	Name     string
	Accounts []string // empty means every account
	Priority int32
	Triggers []string // kinds of messages and events; the caller chooses the names
	Fold     Fold

	Any       bool
	Exact     []string
	Prefix    []string
	Contains  []string
	Regex     []Regex
	EventKeys []string
	Scenes    []string // of QR codes
	// ScenePrefixes are how scenes of QR codes may begin.
	ScenePrefixes []string
	Media         []string // kinds of media, see Input.Media
	Near          bool     // every input with a position; the caller knows the distance

	// Conditional rules win only if the caller of Match allows it.
	Conditional bool
}

// Source gives rules one after the other, so that a set can be made of rules that are kept elsewhere in another form.
type Source struct {
	Len int
	// Rule gives the rule with an index, the same one every time. Its lists and texts are good until the next call.
	Rule func(i int) Rule
}

// Of returns a source of rules that are there.
func Of(rules []Rule) Source {
	return Source{Len: len(rules), Rule: func(i int) Rule { return rules[i] }}
}

// Input is a message or an event to match.
type Input struct {
	Account  string
	Triggers []string // every name under which a rule may ask for it
	Text     string   // leading and trailing white space is ignored
	HasText  bool     // an event without text matches no text rule
	Keys     []string // the event key, and other spellings of it
	Scene    string   // of a QR code; empty for none
	Media    []string // kind of media, alone and with its format
	Position bool     // whether it has a position

	Latitude, Longitude float64 // of the position; the caller's business
}

// Hit tells which rule won and why.
type Hit struct {
	Rule    int // index in the rules given to Compile
	Class   Class
	Matched string // part of Input.Text as the fan wrote it, or the key, scene or kind of media; empty for Near and Any
	Start   int    // byte offset of Matched in Input.Text; zero for keys
}

// An unspecific class says nothing about the text.
func (c Class) unspecific() bool { return c == Near || c == Any }

// entry is one way in which one rule can win. Entries are sorted, so that the rank of an entry is
// its index: the lower rank wins.
type entry struct {
	priority int32
	rule     uint32
	class    Class
	length   uint32 // runes of a prefix or contained text, otherwise zero
	// conditional is true when the caller has the last word.
	conditional bool
}

const noRank = ^uint32(0)

func (e entry) compare(o entry) int {
	return cmp.Or(
		cmp.Compare(o.priority, e.priority),
		cmp.Compare(e.class, o.class),
		cmp.Compare(o.length, e.length),
		cmp.Compare(e.rule, o.rule),
	)
}
