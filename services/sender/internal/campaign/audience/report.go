package audience

import (
	"cmp"
	"maps"
	"slices"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// The kinds of problems.
const (
	BadOpenID       = "bad_openid"
	Duplicate       = "duplicate"
	TooLong         = "too_long"
	MissingVariable = "missing_variable"
	UnknownVariable = "unknown_variable"
	Malformed       = "malformed"
)

// maxProblems bounds the problems that a report lists; all are counted.
const maxProblems = 1000

// Report collects what is found in an audience.
type Report struct {
	lines, accepted uint32
	problems        []*senderv1.AudienceProblem
	counts          map[string]uint32
}

func newReport() *Report { return &Report{counts: map[string]uint32{}} }

func (r *Report) add(line uint32, kind, openid, text string) {
	r.counts[kind]++
	r.problems = append(r.problems, &senderv1.AudienceProblem{Line: line, Kind: kind, Text: text, Openid: shortened(openid)})
	if len(r.problems) >= 2*maxProblems {
		r.sort()
	}
}

// sort keeps the first problems in the order of the lines; duplicates are found in another order.
func (r *Report) sort() {
	slices.SortStableFunc(r.problems, func(a, b *senderv1.AudienceProblem) int { return cmp.Compare(a.GetLine(), b.GetLine()) })
	r.problems = r.problems[:min(len(r.problems), maxProblems)]
}

// dropped is how many lines were left out. An unused column costs no line.
func (r *Report) dropped() uint32 { return r.lines - r.accepted }

// drops returns the dropped lines by kind.
func (r *Report) drops() []*senderv1.AudienceDrop {
	var out []*senderv1.AudienceDrop
	for _, kind := range slices.Sorted(maps.Keys(r.counts)) {
		if kind != UnknownVariable {
			out = append(out, &senderv1.AudienceDrop{Kind: kind, Lines: r.counts[kind]})
		}
	}
	return out
}

// Proto returns the report as it is told.
func (r *Report) Proto(frozen bool) *senderv1.AudienceReport {
	r.sort()
	out := &senderv1.AudienceReport{Lines: r.lines, Accepted: r.accepted, Problems: r.problems, Frozen: frozen}
	for _, kind := range slices.Sorted(maps.Keys(r.counts)) {
		out.Counts = append(out.Counts, &senderv1.ProblemCount{Kind: kind, Problems: r.counts[kind]})
	}
	return out
}
