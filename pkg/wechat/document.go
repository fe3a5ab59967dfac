package wechat

import "github.com/wxbus/wxbus/pkg/fault"

// Errors of the limits. They are fault.Invalid: the same body always fails.
var (
	ErrTooLarge = fault.New(fault.Invalid, "parse body: larger than the limit")
	ErrTooDeep  = fault.New(fault.Invalid, "parse body: nested deeper than the limit")
	ErrTooMany  = fault.New(fault.Invalid, "parse body: more elements than the limit")
	// ErrFormat is returned for a body that is neither an XML document nor a JSON object.
	ErrFormat = fault.New(fault.Invalid, "parse body: neither an XML document nor a JSON object")
)

// document is a parsed body: the elements in document order, and one string that holds every name
// and value. XML and JSON give the same document for the same push.
type document struct {
	text  string
	nodes []node
	// first holds the nodes of a usual push, so that they cost no allocation of their own.
	first [20]node
}

// node is one element. The root is nodes[0]; the children of nodes[i] lie between i+1 and
// nodes[i].next.
type node struct {
	name, value span
	next        uint16
	kind        nodeKind
	// listed marks an element of a JSON array: a list even when it is alone.
	listed bool
}

// span is a part of document.text.
type span struct{ start, end uint32 }

type nodeKind uint8

const (
	// kindText is an element without children; its value is its decoded text.
	kindText nodeKind = iota
	// kindLiteral is a JSON number or boolean, as it was spelled.
	kindLiteral
	// kindNull is a JSON null; its value is empty.
	kindNull
	// kindBranch is an element with children.
	kindBranch
	// kindList is a JSON array inside an array; its children have no name.
	kindList
	// kindEmptyList stands for a JSON array without elements.
	kindEmptyList
)

func (d *document) str(s span) string { return d.text[s.start:s.end] }

// parse reads body into the empty document d.
func (d *document) parse(body []byte, limits Limits) (Format, error) {
	b, format, err := parseBody(body, limits)
	if err != nil {
		return 0, err
	}
	d.text = string(b.text)
	d.nodes = append(d.first[:0], b.nodes...)
	b.release()
	return format, nil
}
