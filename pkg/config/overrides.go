package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fromOverrides sets the flags into a copy of the layers below. Wrong paths need no check here: the
// decoder finds unknown keys wherever they come from.
func (l *loader) fromOverrides(base map[string]any) (map[string]any, error) {
	for _, path := range slices.Sorted(maps.Keys(l.opts.Overrides)) {
		l.set(base, strings.Split(path, "."), plainValue(l.opts.Overrides[path]), "flag")
	}
	return base, nil
}

// set puts v at the path into the merged values and records where it came from.
func (l *loader) set(base map[string]any, segments []string, v any, origin string) {
	path, ok := setAt(base, segments, v)
	if !ok {
		l.problems.add(path, "cannot be set by "+origin+": no such place in the configuration")
		return
	}
	for known := range l.origins { // what was below is replaced
		if strings.HasPrefix(known, path+".") || strings.HasPrefix(known, path+"[") {
			delete(l.origins, known)
		}
	}
	l.origins[path] = origin
}

// setAt walks down from m, making maps where nothing is. It returns the path with list indexes in
// brackets, and false when a part of it is no map and no list element that exists.
func setAt(m map[string]any, segments []string, v any) (string, bool) {
	var at any = m
	path := ""
	for i, s := range segments {
		last := i == len(segments)-1
		switch parent := at.(type) {
		case map[string]any:
			path = join(path, s)
			if last {
				parent[s] = v
				return path, true
			}
			if parent[s] == nil {
				parent[s] = map[string]any{}
			}
			at = parent[s]
		case []any:
			index, err := strconv.Atoi(s)
			path = fmt.Sprintf("%s[%s]", path, s)
			if err != nil || index < 0 || index >= len(parent) {
				return path, false
			}
			if last {
				parent[index] = v
				return path, true
			}
			if parent[index] == nil {
				parent[index] = map[string]any{}
			}
			at = parent[index]
		default:
			return path, false
		}
	}
	return path, false
}

// plainValue brings the value of a flag into the form of the other layers.
func plainValue(v any) any {
	switch x := v.(type) {
	case nil:
		return nil
	case string:
		return x
	case Secret:
		return x.Reveal()
	case time.Duration:
		return x.String()
	}
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.Slice, reflect.Array:
		items := make([]any, rv.Len())
		for i := range items {
			items[i] = plainValue(rv.Index(i).Interface())
		}
		return items
	case reflect.Map:
		m := make(map[string]any, rv.Len())
		for iter := rv.MapRange(); iter.Next(); {
			m[fmt.Sprint(iter.Key().Interface())] = plainValue(iter.Value().Interface())
		}
		return m
	case reflect.Pointer:
		if rv.IsNil() {
			return nil
		}
		return plainValue(rv.Elem().Interface())
	default:
		return fmt.Sprint(v)
	}
}
