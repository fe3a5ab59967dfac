package audience

import (
	"slices"
	"strings"

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
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, &senderv1.AudienceProblem{Line: line, Kind: kind, Text: text, Openid: shortened(openid)})
	}
}

// dropped is how many lines were left out. An unused column costs no line.
func (r *Report) dropped() uint32 { return r.lines - r.accepted }

// Proto returns the report as it is told.
func (r *Report) Proto(frozen bool) *senderv1.AudienceReport {
	out := &senderv1.AudienceReport{Lines: r.lines, Accepted: r.accepted, Problems: r.problems, Frozen: frozen}
	for kind, n := range r.counts {
		out.Counts = append(out.Counts, &senderv1.ProblemCount{Kind: kind, Problems: n})
	}
	slices.SortFunc(out.Counts, func(a, b *senderv1.ProblemCount) int { return strings.Compare(a.GetKind(), b.GetKind()) })
	return out
}
