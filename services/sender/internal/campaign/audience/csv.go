package audience

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wxbus/wxbus/services/sender/internal/campaign/message"
)

const (
	// maxLine bounds a line in bytes; longer ones are reported and left out.
	maxLine = 8 << 10
	// maxColumns bounds the columns of a file.
	maxColumns = 64
	// column is the name of the one column that every file has.
	column = "openid"
)

// errHeader is returned by newTable for a first line that cannot be used; the report says why.
var errHeader = errors.New("the first line cannot be used")

// table reads a CSV file line by line: no value goes over a line, so a quote that is never closed spoils one
// line and not the rest of the file. Fields are separated by comma, semicolon or tab, as the first line has it.
type table struct {
	in    *bufio.Reader
	line  uint32
	comma byte
	// openid is the index of the column openid, wanted those of the variables in the order of names.
	openid  int
	wanted  []int
	columns int
}

// newTable reads the first line. names are the variables of the message; a column that is none of them is
// reported and not kept, one that is missing makes the file useless.
func newTable(in io.Reader, names []string, report *Report) (*table, error) {
	t := &table{in: bufio.NewReaderSize(in, maxLine), openid: -1}
	line, err := t.next()
	if err != nil && !errors.Is(err, errTooLong) {
		if errors.Is(err, io.EOF) {
			report.add(1, Malformed, "", "the file is empty; the first line must name the columns: openid, …")
			return nil, errHeader
		}
		return nil, err
	}
	line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	t.comma = separator(line)
	fields, problem := t.fields(line, nil)
	if problem != "" || errors.Is(err, errTooLong) || len(fields) > maxColumns {
		report.add(1, Malformed, "", "the first line must name the columns: openid, …; "+problem)
		return nil, errHeader
	}
	return t, t.header(fields, names, report)
}

func (t *table) header(fields, names []string, report *Report) error {
	t.columns = len(fields)
	t.wanted = slices.Repeat([]int{-1}, len(names))
	bad := false
	for i, name := range fields {
		name = strings.TrimSpace(name)
		at := slices.Index(names, name)
		switch {
		case strings.EqualFold(name, column) && t.openid >= 0, at >= 0 && t.wanted[at] >= 0:
			report.add(1, Malformed, "", fmt.Sprintf("column %q is there twice", name))
			bad = true
		case strings.EqualFold(name, column):
			t.openid = i
		case at >= 0:
			t.wanted[at] = i
		case message.CheckName(name) != nil:
			report.add(1, UnknownVariable, "", fmt.Sprintf("column %d: %q is no name of a variable; it is not used", i+1, shortened(name)))
		default:
			report.add(1, UnknownVariable, "", fmt.Sprintf("column %q is not used: the message has no {{%s}}", name, name))
		}
	}
	if t.openid < 0 {
		report.add(1, Malformed, "", "no column is named openid; the first line must name the columns: openid, …")
		bad = true
	}
	for i, at := range t.wanted {
		if at < 0 {
			report.add(1, MissingVariable, "", fmt.Sprintf("no column for {{%s}}", names[i]))
			bad = true
		}
	}
	if bad {
		return errHeader
	}
	return nil
}

// separator is the one that the line has most of.
func separator(line []byte) byte {
	best := byte(',')
	for _, c := range []byte{';', '\t'} {
		if bytes.Count(line, []byte{c}) > bytes.Count(line, []byte{best}) {
			best = c
		}
	}
	return best
}

var errTooLong = errors.New("line is too long")

// next returns a line without its end. It belongs to the reader. A line that is too long comes as its beginning, with
// errTooLong.
func (t *table) next() ([]byte, error) {
	line, err := t.in.ReadSlice('\n')
	if len(line) == 0 && err != nil {
		return nil, err
	}
	t.line++
	long := false
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = t.in.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if long {
		return nil, errTooLong
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
}

// fields appends the fields of a line to out. A field that begins with a quote ends with one; two quotes inside stand for one.
func (t *table) fields(line []byte, out []string) (fields []string, problem string) {
	if !utf8.Valid(line) {
		return nil, "the line is not UTF-8: save the file as “CSV UTF-8”"
	}
	for {
		field, rest, more, problem := t.field(line)
		if problem != "" {
			return nil, problem
		}
		out = append(out, field)
		if !more {
			return out, ""
		}
		line = rest
	}
}

func (t *table) field(line []byte) (field string, rest []byte, more bool, problem string) {
	if len(line) == 0 || line[0] != '"' {
		before, after, found := bytes.Cut(line, []byte{t.comma})
		return string(before), after, found, ""
	}
	line = line[1:]
	var b []byte
	for {
		i := bytes.IndexByte(line, '"')
		if i < 0 {
			return "", nil, false, "a quote is not closed"
		}
		b = append(b, line[:i]...)
		line = line[i+1:]
		switch {
		case len(line) == 0:
			return string(b), nil, false, ""
		case line[0] == '"':
			b, line = append(b, '"'), line[1:]
		case line[0] == t.comma:
			return string(b), line[1:], true, ""
		default:
			return "", nil, false, "there is something after a closing quote"
		}
	}
}

// row returns the next recipient, with what is wrong with its line, or io.EOF. Empty lines are skipped.
func (t *table) row() (r row, err error) {
	for {
		line, err := t.next()
		r := row{line: t.line}
		switch {
		case errors.Is(err, errTooLong):
			r.kind, r.text = TooLong, fmt.Sprintf("the line has more than %d bytes", maxLine)
			return r, nil
		case err != nil:
			return r, err
		case len(bytes.TrimSpace(line)) == 0:
			continue
		}
		fields, problem := t.fields(line, make([]string, 0, t.columns))
		switch {
		case problem != "":
			r.kind, r.text = Malformed, problem
		case len(fields) != t.columns:
			r.kind, r.text = Malformed, fmt.Sprintf("%d fields, the first line has %d", len(fields), t.columns)
		default:
			r.openid = strings.TrimSpace(fields[t.openid])
			for _, at := range t.wanted {
				r.values = append(r.values, strings.TrimSpace(fields[at]))
			}
		}
		return r, nil
	}
}

// row is one line.
type row struct {
	line   uint32
	openid string
	values []string
	// kind and text say what is wrong; empty when nothing is.
	kind, text string
}

func shortened(s string) string {
	if len(s) <= 40 {
		return s
	}
	return strings.ToValidUTF8(s[:40], "") + "…"
}
