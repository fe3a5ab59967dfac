package wechat

import (
	"strings"

	"github.com/wxbus/wxbus/pkg/fault"
)

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
	// kindEmptyList stands for a JSON array without elements.
	kindEmptyList
)

func (d *document) str(s span) string { return d.text[s.start:s.end] }

// parse reads body, which must be within limits.Bytes, into the empty document d.
func (d *document) parse(body []byte, limits Limits) (Format, error) {
	limits = limits.orDefaults()
	if len(body) > limits.Bytes {
		return 0, ErrTooLarge
	}
	body = clean(body)
	format, ok := SniffFormat(body)
	if !ok {
		return 0, ErrFormat
	}
	out := builder{doc: d, limits: limits}
	d.nodes = d.first[:0]
	out.text.Grow(len(body))
	var err error
	if format == XML {
		err = readXML(body, &out)
	} else {
		err = readJSON(body, &out)
	}
	if err != nil {
		return 0, err
	}
	d.text = out.text.String()
	return format, nil
}

// builder fills a document in one pass.
type builder struct {
	doc    *document
	limits Limits
	text   strings.Builder
	open   [hardMaxDepth]uint16
	depth  int
}

// name stores the name of an element to come.
func (b *builder) name(p []byte) span {
	start := b.text.Len()
	b.text.Write(p)
	return span{uint32(start), uint32(b.text.Len())}
}

// begin opens an element; what is written until its end is its value, unless it gets children.
func (b *builder) begin(name span, kind nodeKind, listed bool) error {
	if b.depth == b.limits.Depth {
		return ErrTooDeep
	}
	if len(b.doc.nodes) == b.limits.Elements {
		return ErrTooMany
	}
	if b.depth > 0 {
		b.doc.nodes[b.open[b.depth-1]].kind = kindBranch
	}
	b.open[b.depth] = uint16(len(b.doc.nodes))
	b.depth++
	start := uint32(b.text.Len())
	b.doc.nodes = append(b.doc.nodes, node{name: name, value: span{start, start}, kind: kind, listed: listed})
	return nil
}

// end closes the innermost open element.
func (b *builder) end() {
	b.depth--
	n := &b.doc.nodes[b.open[b.depth]]
	n.next = uint16(len(b.doc.nodes))
	if n.kind == kindBranch {
		n.value = span{}
		return
	}
	n.value.end = uint32(b.text.Len())
}

// inBranch reports whether the innermost open element already has children, so that text directly
// inside it has no meaning.
func (b *builder) inBranch() bool {
	return b.doc.nodes[b.open[b.depth-1]].kind == kindBranch
}
