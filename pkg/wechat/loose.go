package wechat

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

var errNotNumber = errors.New("decode number: not an integer")

// LooseInt decodes a JSON number, or a string that holds one: WeChat uses both for the same field.
// Null and "" are zero.
type LooseInt int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *LooseInt) UnmarshalJSON(b []byte) error {
	s := strings.TrimSpace(strings.Trim(string(b), `"`))
	if s == "" || s == "null" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(s, 64)
		if ferr != nil || f != float64(int64(f)) {
			return errNotNumber
		}
		v = int64(f)
	}
	*n = LooseInt(v)
	return nil
}

// LooseString decodes a JSON string, or a number as it is spelled. Null is empty.
type LooseString string

// UnmarshalJSON implements json.Unmarshaler.
func (s *LooseString) UnmarshalJSON(b []byte) error {
	switch {
	case bytes.Equal(b, []byte("null")):
		*s = ""
	case len(b) > 0 && b[0] == '"':
		var text string
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		*s = LooseString(text)
	default:
		*s = LooseString(b)
	}
	return nil
}
