package wechat

// MaxBody is the hard limit for the body of a push, whatever Limits says.
const MaxBody = 1 << 20

// Defaults of Limits. The largest documented push, a mass job with eight articles, needs 5 levels
// and about 120 elements in 12 KiB.
const (
	DefaultMaxBytes    = 64 << 10
	DefaultMaxDepth    = 8
	DefaultMaxElements = 256
)

// hardMaxDepth sizes the stack of open elements; hardMaxElements is what a node index can hold.
const (
	hardMaxDepth    = 32
	hardMaxElements = 1 << 14
)

// Limits bounds what a body may cost. A zero field takes its default; a field above the hard limit
// is cut to it.
type Limits struct {
	// Bytes is the size of the body, at most MaxBody.
	Bytes int
	// Depth counts nested elements, the root included; at most 32.
	Depth int
	// Elements counts XML elements, or JSON members and array elements; at most 16384.
	Elements int
}

func (l Limits) orDefaults() Limits {
	return Limits{
		Bytes:    bounded(l.Bytes, DefaultMaxBytes, MaxBody),
		Depth:    bounded(l.Depth, DefaultMaxDepth, hardMaxDepth),
		Elements: bounded(l.Elements, DefaultMaxElements, hardMaxElements),
	}
}

func bounded(n, zero, hard int) int {
	if n <= 0 {
		return zero
	}
	return min(n, hard)
}
