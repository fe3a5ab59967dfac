package config

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// problem is one fault of the configuration.
type problem struct {
	path string
	text string
}

type problems struct{ list []problem }

func (p *problems) add(path, text string) { p.list = append(p.list, problem{path, text}) }

// covers returns a function that tells whether there is a problem at a path or above it. Later
// problems do not change the answer.
func (p *problems) covers() func(path string) bool {
	known := slices.Clone(p.list)
	return func(path string) bool {
		return slices.ContainsFunc(known, func(x problem) bool {
			rest, ok := strings.CutPrefix(path, x.path)
			return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
		})
	}
}

// join returns all problems as one error, sorted by path, each with its origin; nil if there are none.
func (p *problems) join(origins map[string]string) error {
	slices.SortStableFunc(p.list, func(a, b problem) int {
		return cmp.Or(comparePaths(a.path, b.path), cmp.Compare(a.text, b.text))
	})
	p.list = slices.Compact(p.list)
	errs := make([]error, len(p.list))
	for i, x := range p.list {
		text := x.text
		if x.path != "" {
			text = x.path + ": " + text
		}
		if origin := origins[x.path]; origin != "" {
			text += " (" + origin + ")"
		}
		errs[i] = errors.New(text)
	}
	return errors.Join(errs...)
}

// flatten returns the leaves of joined errors.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

var leadingPath = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.\[\]-]*): `)

// splitPath cuts the leading path off the text of a validation error.
func splitPath(text string) (path, rest string) {
	if m := leadingPath.FindStringSubmatch(text); m != nil {
		return m[1], text[len(m[0]):]
	}
	return "", text
}

var number = regexp.MustCompile(`\d+|\D+`)

// comparePaths orders by name and numbers by value: accounts[2] comes before accounts[10].
func comparePaths(a, b string) int {
	as, bs := number.FindAllString(a, -1), number.FindAllString(b, -1)
	for i := range min(len(as), len(bs)) {
		x, errX := strconv.Atoi(as[i])
		y, errY := strconv.Atoi(bs[i])
		if errX == nil && errY == nil && x != y {
			return cmp.Compare(x, y)
		}
		if c := strings.Compare(as[i], bs[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

// unknown describes a key that does not exist, with the nearest that does.
func unknown(what, key string, known []string) string {
	best, distance := "", 1+max(2, len(key)/3)
	for _, k := range known {
		if d := editDistance(key, k); d < distance {
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return "unknown " + what + "; did you mean " + best + "?"
	case len(known) > 0 && len(known) <= 12:
		known = slices.Sorted(slices.Values(known))
		return "unknown " + what + "; known are " + strings.Join(known, ", ")
	default:
		return "unknown " + what
	}
}

// editDistance is Levenshtein's, over bytes. Long keys are cut: they come from outside.
func editDistance(a, b string) int {
	a, b = a[:min(len(a), 128)], b[:min(len(b), 128)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j+1]+1, row[j]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
