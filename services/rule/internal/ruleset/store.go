package ruleset

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"

	"github.com/wxbus/wxbus/services/rule/internal/rest"
)

// stored is how a set that loads fast begins, after its own length. Its rules follow in parts, so that they can be read in
// steps and into room that is there already, and so that a reader takes the parts that it has from what it has.
type stored struct {
	Format int
	Parts  []storedPart
	File   File // without its rules
}

// storedPart describes some rules that follow.
type storedPart struct {
	Rules, Bytes int
	Sum          [16]byte // of their content; zero when it is not known
}

// part is some rules of a file that was decoded.
type part struct {
	sum        [16]byte
	first, end int
}

// format grows with every change of File and of this form; another format is read from the rule file instead.
const format = 6

const (
	// partSize bounds a part, and with it how long a reader works at once.
	partSize = 128
	// partEnds is at which share of rules a part ends by the name of the rule: a rule that comes or goes changes one part,
	// and not all after it.
	partEnds = 64
	// lengthSize is how many bytes the length of the beginning takes.
	lengthSize = 4
)

// Encode returns a file in a form that Decode reads about twenty times faster than Parse reads YAML.
func Encode(file *File) ([]byte, error) {
	head := stored{Format: format, File: *file}
	head.File.Rules = nil
	var body bytes.Buffer
	e := gob.NewEncoder(&body)
	if err := e.Encode([]Rule{}); err != nil { // what rules look like, which gob tells once
		return nil, fmt.Errorf("encode rules: %w", err)
	}
	for rest := file.Rules; len(rest) > 0; {
		n := lengthOfPart(rest)
		begin := body.Len()
		if err := e.Encode(rest[:n]); err != nil {
			return nil, fmt.Errorf("encode rules: %w", err)
		}
		head.Parts = append(head.Parts, storedPart{n, body.Len() - begin, sumOf(rest[:n])})
		rest = rest[n:]
	}
	var begin bytes.Buffer
	if err := gob.NewEncoder(&begin).Encode(head); err != nil {
		return nil, fmt.Errorf("encode rules: %w", err)
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(begin.Len()))
	return append(append(out, begin.Bytes()...), body.Bytes()...), nil
}

// lengthOfPart returns how many rules the next part has.
func lengthOfPart(rules []Rule) int {
	for i := range min(len(rules), partSize) {
		h := fnv.New32a()
		_, _ = h.Write([]byte(rules[i].Name)) // never fails
		if h.Sum32()%partEnds == 0 {
			return i + 1
		}
	}
	return min(len(rules), partSize)
}

// sumOf returns a digest of the content of rules, the same in every process. gob would not do: it writes maps in any order.
func sumOf(rules []Rule) (sum [16]byte) {
	text, err := json.Marshal(rules)
	if err != nil {
		return sum // these rules are read every time
	}
	digest := sha256.Sum256(text)
	copy(sum[:], digest[:])
	return sum
}

// Decode is the inverse of Encode. It fails for bytes of another release.
func Decode(b []byte) (*File, error) { return DecodeGently(b, nil, nil) }

// DecodeGently is Decode that rests between its steps. Rules that the set before it has, too, are not decoded: both share
// them. The set may be nil.
func DecodeGently(b []byte, before *Set, rests *rest.Rest) (*File, error) {
	head, body, err := decodeHead(b)
	if err != nil {
		return nil, fmt.Errorf("decode rules: %w", err)
	}
	count := 0
	for _, p := range head.Parts {
		if p.Rules <= 0 || p.Rules > partSize || p.Bytes <= 0 || count > MaxRules {
			return nil, fmt.Errorf("decode rules: a part of %d after %d", p.Rules, count)
		}
		count += p.Rules
	}
	file, known := &head.File, before.parts()
	if count > 0 {
		file.Rules = make([]Rule, count)
	}
	r := bytes.NewReader(body)
	d := gob.NewDecoder(r)
	var none []Rule
	if err := d.Decode(&none); err != nil {
		return nil, fmt.Errorf("decode rules: %w", err)
	}
	at := 0
	for _, p := range head.Parts {
		rests.Long()
		room := file.Rules[at : at : at+p.Rules] // gob writes where there is room
		if have := known[p.Sum]; p.Sum != [16]byte{} && len(have) == p.Rules {
			copy(room[:p.Rules], have)
			_, err = r.Seek(int64(p.Bytes), io.SeekCurrent)
		} else if err = d.Decode(&room); err == nil && len(room) != p.Rules {
			err = fmt.Errorf("a part of %d instead of %d", len(room), p.Rules)
		}
		if err != nil {
			return nil, fmt.Errorf("decode rules: %w", err)
		}
		file.parts = append(file.parts, part{p.Sum, at, at + p.Rules})
		at += p.Rules
	}
	return file, nil
}

func decodeHead(b []byte) (stored, []byte, error) {
	var head stored
	if len(b) < lengthSize {
		return head, nil, io.ErrUnexpectedEOF
	}
	length := int64(binary.BigEndian.Uint32(b))
	if length > int64(len(b)-lengthSize) {
		return head, nil, errors.New("another format")
	}
	if err := gob.NewDecoder(bytes.NewReader(b[lengthSize : lengthSize+length])).Decode(&head); err != nil {
		return head, nil, err
	}
	if head.Format != format {
		return head, nil, fmt.Errorf("format %d, want %d", head.Format, format)
	}
	return head, b[lengthSize+length:], nil
}

// parts returns the rules of a set by the digest of their part; none of a nil set.
func (s *Set) parts() map[[16]byte][]Rule {
	if s == nil {
		return nil
	}
	out := make(map[[16]byte][]Rule, len(s.file.parts))
	for _, p := range s.file.parts {
		out[p.sum] = s.file.Rules[p.first:p.end]
	}
	return out
}
