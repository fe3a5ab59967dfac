package match

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Candidate is a rule that was considered for an input, and why it won or lost.
type Candidate struct {
	Hit     Hit
	Won     bool
	Outcome string
	// Failed is the condition that the rule failed; empty when it failed none.
	Failed string
}

// Explain lists the rules that match, the winner first and each with the reason why it lost, then
// rules that would match for another account or another kind; at most limit. failed says which condition a
// conditional rule fails, or ""; nil: none. Explain looks at every rule, so it is for people and not for the
// hot path.
func (s Source) Explain(in Input, limit int, failed func(rule int) string) []Candidate {
	var matching, others []Candidate
	entries := map[int]entry{}
	for i := range s.Len {
		r := s.Rule(i)
		hit, e, ok := r.check(in)
		if !ok {
			continue
		}
		hit.Rule, e.rule = i, uint32(i)
		account := len(r.Accounts) == 0 || slices.Contains(r.Accounts, in.Account)
		kind := slices.ContainsFunc(r.Triggers, func(t string) bool { return slices.Contains(in.Triggers, t) })
		switch {
		case account && kind:
			entries[i] = e
			matching = append(matching, Candidate{Hit: hit})
		case len(others) >= limit || e.class.unspecific():
		case !account:
			others = append(others, Candidate{Hit: hit, Outcome: "only for account " + strings.Join(r.Accounts, ", ")})
		default:
			others = append(others, Candidate{Hit: hit, Outcome: "only on " + strings.Join(r.Triggers, ", ")})
		}
	}
	slices.SortFunc(matching, func(x, y Candidate) int { return entries[x.Hit.Rule].compare(entries[y.Hit.Rule]) })
	matching = s.judge(matching, entries, failed)
	all := append(matching, others...)
	return all[:min(len(all), limit)]
}

// judge says of matching rules, best first, which won and why the others did not. The winner comes first.
func (s Source) judge(matching []Candidate, entries map[int]entry, failed func(rule int) string) []Candidate {
	winner := -1
	for i := range matching {
		c := &matching[i]
		if s.Rule(c.Hit.Rule).Conditional && failed != nil {
			c.Failed = failed(c.Hit.Rule)
		}
		switch {
		case c.Failed != "":
			c.Outcome = "condition failed: " + c.Failed
		case winner < 0:
			winner = i
			c.Won, c.Outcome = true, "won"
		default:
			c.Outcome = s.reason(entries[matching[winner].Hit.Rule], entries[c.Hit.Rule])
		}
	}
	if winner > 0 {
		won := matching[winner]
		matching = slices.Insert(slices.Delete(matching, winner, winner+1), 0, won)
	}
	return matching
}

// reason says why loser lost to winner.
func (s Source) reason(winner, loser entry) string {
	name := s.Rule(int(winner.rule)).Name
	switch {
	case loser.priority != winner.priority:
		return fmt.Sprintf("lower priority than %s (%d < %d)", name, loser.priority, winner.priority)
	case loser.class != winner.class:
		return fmt.Sprintf("%s is weaker than %s of %s", loser.class, winner.class, name)
	case loser.length != winner.length:
		return fmt.Sprintf("shorter match than %s", name)
	default:
		return fmt.Sprintf("later in the file than %s", name)
	}
}

// check finds the best way in which the rule alone matches the input, whatever its account and
// triggers, without any index.
func (r *Rule) check(in Input) (Hit, entry, bool) {
	for _, key := range in.Keys {
		if slices.Contains(r.EventKeys, key) {
			return Hit{Class: Exact, Matched: key}, entry{priority: r.Priority, class: Exact}, true
		}
	}
	if hit, length, ok := r.checkKeys(in); ok {
		return hit, entry{priority: r.Priority, class: hit.Class, length: uint32(length)}, true
	}
	if in.HasText {
		if hit, length, ok := r.checkText(in.Text); ok {
			return hit, entry{priority: r.Priority, class: hit.Class, length: uint32(length)}, true
		}
	}
	if r.Near && in.Position {
		return Hit{Class: Near}, entry{priority: r.Priority, class: Near}, true
	}
	return Hit{Class: Any}, entry{priority: r.Priority, class: Any}, r.Any
}

// checkKeys finds a kind of media or the best scene, and the runes of the beginning of a scene.
func (r *Rule) checkKeys(in Input) (hit Hit, length int, ok bool) {
	for _, key := range in.Media {
		if slices.Contains(r.Media, key) {
			return Hit{Class: Exact, Matched: key}, 0, true
		}
	}
	if in.Scene != "" && slices.Contains(r.Scenes, in.Scene) {
		return Hit{Class: Exact, Matched: in.Scene}, 0, true
	}
	best := ""
	for _, begin := range r.ScenePrefixes {
		if strings.HasPrefix(in.Scene, begin) && len(begin) > len(best) {
			best = begin
		}
	}
	return Hit{Class: Prefix, Matched: best}, utf8.RuneCountInString(best), best != ""
}

func (r *Rule) checkText(text string) (hit Hit, length int, ok bool) {
	folded := strings.TrimFunc(r.Fold.String(text), unicode.IsSpace)
	if folded == "" {
		return Hit{}, 0, false
	}
	at := func(class Class, start, end int) Hit {
		from := utf8.RuneCountInString(folded[:start])
		offset, matched := cut(text, from, from+utf8.RuneCountInString(folded[start:end]))
		return Hit{Class: class, Start: offset, Matched: matched}
	}
	for _, exact := range r.Exact {
		if normal(r.Fold, Exact, exact) == folded {
			return at(Exact, 0, len(folded)), 0, true
		}
	}
	for _, class := range [...]Class{Prefix, Contains} {
		if start, pattern := r.longest(class, folded); pattern != "" {
			return at(class, start, start+len(pattern)), utf8.RuneCountInString(pattern), true
		}
	}
	for _, re := range r.Regex {
		if span := re.re.FindStringIndex(folded); span != nil {
			return at(RegexClass, span[0], span[1]), 0, true
		}
	}
	return Hit{}, 0, false
}

// longest returns the longest prefix or contained text of the rule that text has, the earliest of
// equally long ones, and where it begins.
func (r *Rule) longest(class Class, text string) (start int, pattern string) {
	texts := r.Contains
	if class == Prefix {
		texts = r.Prefix
	}
	for _, raw := range texts {
		candidate := normal(r.Fold, class, raw)
		at := strings.Index(text, candidate)
		if at < 0 || class == Prefix && at > 0 {
			continue
		}
		more := utf8.RuneCountInString(candidate) - utf8.RuneCountInString(pattern)
		if more > 0 || more == 0 && at < start {
			start, pattern = at, candidate
		}
	}
	return start, pattern
}
