package wechat

import "sync"

// builder collects the elements of a body in one pass. Builders are reused, so what outlives a parse
// is copied out of them.
type builder struct {
	nodes  []node
	text   []byte
	limits Limits
	open   [hardMaxDepth]uint16
	depth  int
}

// maxKeptText and maxKeptNodes keep a rare large body from staying in memory.
const (
	maxKeptText  = 16 << 10
	maxKeptNodes = 512
)

var builders = sync.Pool{New: func() any { return new(builder) }}

// parseBody reads body. The caller must release the builder; after an error there is none.
func parseBody(body []byte, limits Limits) (*builder, Format, error) {
	limits = limits.orDefaults()
	if len(body) > limits.Bytes {
		return nil, 0, ErrTooLarge
	}
	body = clean(body)
	format, ok := SniffFormat(body)
	if !ok {
		return nil, 0, ErrFormat
	}
	b := builders.Get().(*builder)
	b.limits = limits
	var err error
	if format == XML {
		err = readXML(body, b)
	} else {
		err = readJSON(body, b)
	}
	if err != nil {
		b.release()
		return nil, 0, err
	}
	return b, format, nil
}

// release gives the builder back; nothing of it may be used afterwards.
func (b *builder) release() {
	if cap(b.text) > maxKeptText || cap(b.nodes) > maxKeptNodes {
		return
	}
	b.nodes, b.text, b.depth = b.nodes[:0], b.text[:0], 0
	builders.Put(b)
}

// bytes returns a part of the text; valid until the release.
func (b *builder) bytes(s span) []byte { return b.text[s.start:s.end] }

// name stores the name of an element to come.
func (b *builder) name(p []byte) span {
	start := len(b.text)
	b.text = append(b.text, p...)
	return span{uint32(start), uint32(len(b.text))}
}

// dropText forgets the text stored for the innermost open element, which turns out to have children.
func (b *builder) dropText() {
	if b.depth == 0 || b.inBranch() {
		return
	}
	b.text = b.text[:b.nodes[b.open[b.depth-1]].value.start]
}

// begin opens an element; what is written until its end is its value, unless it gets children.
func (b *builder) begin(name span, kind nodeKind, listed bool) error {
	if b.depth == b.limits.Depth {
		return ErrTooDeep
	}
	if len(b.nodes) == b.limits.Elements {
		return ErrTooMany
	}
	if b.depth > 0 && b.nodes[b.open[b.depth-1]].kind != kindList {
		b.nodes[b.open[b.depth-1]].kind = kindBranch
	}
	b.open[b.depth] = uint16(len(b.nodes))
	b.depth++
	start := uint32(len(b.text))
	b.nodes = append(b.nodes, node{name: name, value: span{start, start}, kind: kind, listed: listed})
	return nil
}

// end closes the innermost open element.
func (b *builder) end() {
	b.depth--
	n := &b.nodes[b.open[b.depth]]
	n.next = uint16(len(b.nodes))
	if isBranchKind(n.kind) {
		n.value = span{}
		return
	}
	n.value.end = uint32(len(b.text))
}

// inBranch reports whether the innermost open element already has children, so that text directly
// inside it has no meaning.
func (b *builder) inBranch() bool {
	return b.nodes[b.open[b.depth-1]].kind == kindBranch
}
