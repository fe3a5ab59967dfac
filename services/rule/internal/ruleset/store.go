package ruleset

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/wxbus/wxbus/services/rule/internal/place"
	"github.com/wxbus/wxbus/services/rule/internal/rest"
	"github.com/wxbus/wxbus/services/rule/internal/worktime"
)

// head is how a set that loads fast begins, after its own length. Its rules follow as a sheet.
type head struct {
	Format    int
	Rules     int
	Places    map[string][]place.Place
	Calendars map[string]worktime.Calendar
}

// format grows with every change of File and of this form; another format is read from the rule file instead.
const format = 7

// lengthSize is how many bytes the length of the beginning takes.
const lengthSize = 4

// Stored is the rules of a version in the form in which they are stored, and in which a Set keeps them. It is immutable.
type Stored struct {
	rules     sheet
	places    map[string][]place.Place
	calendars map[string]worktime.Calendar
}

// Store brings a file into the form in which it is stored.
func Store(file *File) (*Stored, error) {
	rules, err := writeSheet(file.Rules)
	if err != nil {
		return nil, err
	}
	return &Stored{rules: rules, places: file.Places, calendars: file.Calendars}, nil
}

// Len returns the number of rules.
func (s *Stored) Len() int { return s.rules.len() }

// File reads all rules.
func (s *Stored) File() *File {
	file := &File{Places: s.places, Calendars: s.calendars}
	if s.Len() > 0 {
		file.Rules = make([]Rule, 0, s.Len())
	}
	for i := range s.Len() {
		file.Rules = append(file.Rules, *s.rules.rule(i))
	}
	return file
}

// Encode returns the bytes of a file that Open reads much faster than Parse reads YAML.
func Encode(file *File) ([]byte, error) {
	s, err := Store(file)
	if err != nil {
		return nil, err
	}
	var begin bytes.Buffer
	if err := gob.NewEncoder(&begin).Encode(head{format, s.Len(), s.places, s.calendars}); err != nil {
		return nil, fmt.Errorf("encode rules: %w", err)
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(begin.Len()))
	return append(append(out, begin.Bytes()...), s.rules.text...), nil
}

// Open reads what Encode wrote, and rests between its steps. It fails for bytes of another release. The text stays in use.
func Open(text string, rests *rest.Rest) (*Stored, error) {
	var h head
	if len(text) < lengthSize {
		return nil, fmt.Errorf("decode rules: %w", io.ErrUnexpectedEOF)
	}
	length := int64(binary.BigEndian.Uint32([]byte(text[:lengthSize])))
	if length > int64(len(text)-lengthSize) {
		return nil, errors.New("decode rules: another format")
	}
	begin, body := text[lengthSize:lengthSize+length], text[lengthSize+length:]
	if err := gob.NewDecoder(strings.NewReader(begin)).Decode(&h); err != nil {
		return nil, fmt.Errorf("decode rules: %w", err)
	}
	if h.Format != format {
		return nil, fmt.Errorf("decode rules: format %d, want %d", h.Format, format)
	}
	rules, err := openSheet(body, h.Rules, rests)
	if err != nil {
		return nil, err
	}
	return &Stored{rules: rules, places: h.Places, calendars: h.Calendars}, nil
}
