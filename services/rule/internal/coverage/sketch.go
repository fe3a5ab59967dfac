package coverage

import (
	"cmp"
	"slices"
	"time"
)

// maxPhrases is how many phrases are kept for an account and a day.
const maxPhrases = 200

// Phrase is a group of texts that no rule asked for.
type Phrase struct {
	Account, Key, Text string
	// Count of the texts; the true count is between Count-Error and Count.
	Count, Error int64
	Last         time.Time
}

// sketch finds the most frequent phrases of a stream in bounded space (space-saving, Metwally et al. 2005): when it
// is full, a new phrase takes the place of the rarest one and inherits its count as a possible error. A phrase with
// more than 1/maxPhrases of all texts is always among those that are kept.
type sketch struct {
	phrases map[string]*Phrase
	changed map[string]bool // phrases that are to be written
	evicted map[string]bool // phrases that are to be deleted
}

func newSketch(known []*Phrase) *sketch {
	s := &sketch{phrases: map[string]*Phrase{}, changed: map[string]bool{}, evicted: map[string]bool{}}
	for _, p := range known {
		s.phrases[p.Key] = p
	}
	return s
}

// add counts a text.
func (s *sketch) add(key, text string, at time.Time) {
	p := s.phrases[key]
	if p == nil {
		p = &Phrase{Key: key, Text: text}
		if len(s.phrases) >= maxPhrases {
			p.Error = s.evict()
			p.Count = p.Error
		}
		s.phrases[key] = p
	}
	p.Count++
	if at.After(p.Last) {
		p.Last = at
	}
	s.changed[key] = true
	delete(s.evicted, key)
}

// evict removes the rarest phrase, of several the one that was seen longest ago, and returns its count.
func (s *sketch) evict() int64 {
	var rarest *Phrase
	for _, p := range s.phrases {
		if rarest == nil || cmp.Or(cmp.Compare(p.Count, rarest.Count), p.Last.Compare(rarest.Last), cmp.Compare(p.Key, rarest.Key)) < 0 {
			rarest = p
		}
	}
	delete(s.phrases, rarest.Key)
	delete(s.changed, rarest.Key)
	s.evicted[rarest.Key] = true
	return rarest.Count
}

// top returns the phrases, most frequent first.
func (s *sketch) top() []*Phrase {
	var out []*Phrase
	for _, p := range s.phrases {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Phrase) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key)) })
	return out
}
