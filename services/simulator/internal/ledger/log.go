package ledger

import (
	"slices"
	"time"
)

// keepLines is enough for a long test; who shows the log asks for fewer.
const keepLines = 20_000

// Line is one line of the traffic log: a finished attempt or an API call.
type Line struct {
	Seq     uint64        `json:"seq"`
	At      time.Time     `json:"at"`
	Push    bool          `json:"push"` // an attempt, else an API call
	Account string        `json:"account,omitempty"`
	Name    string        `json:"name"` // type of the push, or path of the call
	Attempt int           `json:"attempt,omitempty"`
	Replica string        `json:"replica,omitempty"`
	Outcome string        `json:"outcome,omitempty"` // of an attempt, or the fault that hit a call
	ErrCode int           `json:"errcode,omitempty"`
	Took    time.Duration `json:"took_ns"`
}

func (l *Ledger) log(line Line) {
	l.seq++
	line.Seq = l.seq
	if len(l.lines) >= keepLines {
		l.lines = slices.Delete(l.lines, 0, keepLines/4)
	}
	l.lines = append(l.lines, line)
	l.touch()
}

func (l *Ledger) logAttempt(p *Push, a Attempt) {
	l.log(Line{At: a.End, Push: true, Account: p.Account, Name: p.Kind.Name(), Attempt: a.Number, Replica: a.Replica,
		Outcome: a.Outcome, Took: a.End.Sub(a.Start)})
}

// Called records an API call. path must come from a bounded set.
func (l *Ledger) Called(account, path string, errCode int, fault string, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	byCode := l.totals.calls[path]
	if byCode == nil {
		byCode = map[int]uint64{}
		l.totals.calls[path] = byCode
	}
	byCode[errCode]++
	l.log(Line{At: l.clock.Now(), Account: account, Name: path, Outcome: fault, ErrCode: errCode, Took: took})
}

// Lines returns the newest lines of the log behind a number that match, at most so many, oldest first.
func (l *Ledger) Lines(after uint64, most int, match func(Line) bool) []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []Line{}
	for _, line := range slices.Backward(l.lines) {
		if line.Seq <= after || len(out) == most {
			break
		}
		if match(line) {
			out = append(out, line)
		}
	}
	slices.Reverse(out)
	return out
}
