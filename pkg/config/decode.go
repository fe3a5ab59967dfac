package config

import (
	"encoding"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wxbus/wxbus/pkg/secret"
)

// decoder fills config structs from merged layers. Leaves of the layers are strings as they were
// written, so that an AppID or a token of digits is not read as a number; nil keeps the default.
type decoder struct {
	lookup func(string) (string, bool)
	report func(path, text string)
}

func (d decoder) value(n *node, raw any, dst reflect.Value, path string) {
	if raw == nil {
		return
	}
	switch n.shape {
	case scalar:
		d.scalar(n, raw, dst, path)
	case object:
		if m, ok := raw.(map[string]any); ok {
			d.object(n, m, dst, path)
		} else {
			d.report(path, "must be a mapping")
		}
	case list:
		d.list(n, raw, dst, path)
	case dict:
		d.dict(n, raw, dst, path)
	}
}

// object decodes into the struct dst; the fields of the root carry their own destination.
func (d decoder) object(n *node, raw map[string]any, dst reflect.Value, path string) {
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		f := n.field(key)
		switch {
		case f != nil && f.index == nil:
			d.value(f.node, raw[key], f.node.value, join(path, key))
		case f != nil:
			d.value(f.node, raw[key], dst.FieldByIndex(f.index), join(path, key))
		case n.skipped[key]:
		default:
			known := n.names()
			known = slices.AppendSeq(known, maps.Keys(n.skipped))
			d.report(join(path, key), unknown("key", key, known))
		}
	}
}

func (d decoder) list(n *node, raw any, dst reflect.Value, path string) {
	items, ok := raw.([]any)
	if !ok {
		d.report(path, "must be a list")
		return
	}
	if len(items) == 0 {
		dst.SetZero()
		return
	}
	out := reflect.MakeSlice(n.typ, len(items), len(items))
	for i, item := range items {
		elem := out.Index(i)
		if s, ok := elem.Addr().Interface().(interface{ SetDefaults() }); ok {
			s.SetDefaults()
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		if item == nil {
			d.report(at, "must not be empty")
			continue
		}
		d.value(n.elem, item, elem, at)
	}
	dst.Set(out)
}

// dict merges into the default entries. A new map is made, as the default may be shared.
func (d decoder) dict(n *node, raw any, dst reflect.Value, path string) {
	entries, ok := raw.(map[string]any)
	if !ok {
		d.report(path, "must be a mapping")
		return
	}
	out := reflect.MakeMap(n.typ)
	for iter := dst.MapRange(); iter.Next(); {
		out.SetMapIndex(iter.Key(), iter.Value())
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if n.keys != nil && !slices.Contains(n.keys, key) {
			d.report(join(path, key), unknown("key", key, n.keys))
			continue
		}
		if !utf8.ValidString(key) {
			d.report(path, "has a key that is not UTF-8 text")
			continue
		}
		k := reflect.ValueOf(key).Convert(n.typ.Key())
		elem := reflect.New(n.typ.Elem()).Elem()
		if old := out.MapIndex(k); old.IsValid() {
			elem.Set(old)
		}
		d.value(n.elem, entries[key], elem, join(path, key))
		out.SetMapIndex(k, elem)
	}
	if out.Len() > 0 {
		dst.Set(out)
	}
}

func (d decoder) scalar(n *node, raw any, dst reflect.Value, path string) {
	text, ok := raw.(string)
	if !ok {
		d.report(path, "must be a single value")
		return
	}
	if !utf8.ValidString(text) {
		d.report(path, "must be UTF-8 text")
		return
	}
	if len(n.enum) > 0 && !slices.Contains(n.enum, text) {
		d.report(path, "must be one of "+strings.Join(n.enum, ", "))
		return
	}
	if dst.Kind() == reflect.Pointer {
		p := reflect.New(dst.Type().Elem())
		if d.set(p.Elem(), text, path) {
			dst.Set(p)
		}
		return
	}
	d.set(dst, text, path)
}

// set parses text by the type of dst and reports whether that worked. Messages never repeat the
// text: it may be a secret in the wrong place.
func (d decoder) set(dst reflect.Value, text, path string) bool {
	if dst.Type() == secretType {
		v, err := secret.Parse(text, d.lookup)
		if err != nil {
			d.report(path, err.Error())
			return false
		}
		dst.Set(reflect.ValueOf(v))
		return true
	}
	if u, ok := dst.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			d.report(path, err.Error())
			return false
		}
		return true
	}
	if msg := setBasic(dst, text); msg != "" {
		d.report(path, msg)
		return false
	}
	return true
}

func setBasic(dst reflect.Value, text string) string {
	bits := dst.Type().Bits
	switch {
	case dst.Type() == durationType:
		v, err := time.ParseDuration(text)
		if err != nil {
			return "must be a duration such as 4.5s, 30m or 72h"
		}
		dst.SetInt(int64(v))
	case dst.Kind() == reflect.String:
		dst.SetString(text)
	case dst.Kind() == reflect.Bool:
		v, ok := parseBool(text)
		if !ok {
			return "must be true or false"
		}
		dst.SetBool(v)
	case dst.CanInt():
		v, err := strconv.ParseInt(decimal(text), 0, bits())
		if err != nil {
			return wholeNumber(dst)
		}
		dst.SetInt(v)
	case dst.CanUint():
		v, err := strconv.ParseUint(decimal(text), 0, bits())
		if err != nil {
			return wholeNumber(dst)
		}
		dst.SetUint(v)
	default:
		v, err := strconv.ParseFloat(text, bits())
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return "must be a number"
		}
		dst.SetFloat(v)
	}
	return ""
}

// decimal removes leading zeros, which Go reads as octal and people do not.
func decimal(text string) string {
	sign := ""
	if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") {
		sign, text = text[:1], text[1:]
	}
	for len(text) > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9' {
		text = text[1:]
	}
	return sign + text
}

func wholeNumber(dst reflect.Value) string {
	bits := dst.Type().Bits()
	switch {
	case dst.CanUint() && bits == 64:
		return "must be a whole number, not negative"
	case dst.CanUint():
		return fmt.Sprintf("must be a whole number from 0 to %d", uint64(1)<<bits-1)
	case bits == 64:
		return "must be a whole number"
	}
	return fmt.Sprintf("must be a whole number from %d to %d", -int64(1)<<(bits-1), int64(1)<<(bits-1)-1)
}

func parseBool(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		return true, true
	case "false", "no", "off", "0":
		return false, true
	default:
		return false, false
	}
}
