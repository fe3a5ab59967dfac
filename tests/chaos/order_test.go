package chaos

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/chaos/judge"
)

// step is one thing that happened to a push, as a stream has it.
type step struct {
	at  time.Time
	fan string // account/openid
	msg string // MsgId
	txt string
}

// trail notes that a stream has something about a push.
func (b *books) trail(m jetstream.Msg, account, openid, msg, format string, a ...any) {
	meta, err := m.Metadata()
	if err != nil {
		return // readStream has said so
	}
	b.steps = append(b.steps, step{at: meta.Timestamp, fan: account + "/" + openid, msg: msg,
		txt: fmt.Sprintf("%s %d: ", meta.Stream, meta.Sequence.Stream) + fmt.Sprintf(format, a...)})
}

// disordered are the fans who saw replies out of order, with what the simulator says about each.
func (x *trial) disordered() map[string][]string {
	out := map[string][]string{}
	for _, v := range x.record.Verdict.Violations {
		if v.Class == judge.ClassOrder {
			fan, number, _ := strings.Cut(v.ID, " ")
			out[fan] = append(out[fan], number+" "+v.Detail)
		}
	}
	return out
}

// tellOrder writes order.txt: for each fan who saw replies out of order what happened to its pushes, by what WeChat
// saw and by what the streams have, and the logs of the gateways, so that the cause can be told from the trial's folder.
func (x *trial) tellOrder(dir string) {
	x.t.Helper()
	fans := x.disordered()
	if len(fans) == 0 {
		return
	}
	steps := map[string][]step{}
	for _, s := range slices.Concat(x.books().steps, x.seen()) {
		if fans[s.fan] != nil {
			steps[s.fan] = append(steps[s.fan], s)
		}
	}
	var out strings.Builder
	for _, m := range x.record.Marks {
		fmt.Fprintf(&out, "%8.3f %s\n", time.Duration(m.At).Seconds(), m.Text)
	}
	for fan, of := range steps {
		fmt.Fprintf(&out, "\n%s\n", fan)
		for _, text := range fans[fan] {
			fmt.Fprintf(&out, "    %s\n", text)
		}
		slices.SortFunc(of, func(a, b step) int { return a.at.Compare(b.at) })
		for _, s := range of {
			fmt.Fprintf(&out, "%8.3f %s %s\n", s.at.Sub(x.began).Seconds(), cmp.Or(s.msg, strings.Repeat("-", 18)), s.txt)
		}
	}
	require.NoError(x.t, os.WriteFile(filepath.Join(dir, "order.txt"), []byte(out.String()), 0o644))
	for name, p := range x.processes() {
		require.NoError(x.t, os.WriteFile(filepath.Join(dir, name+".log"), []byte(p.Log(20_000)), 0o644))
	}
}

// seen is what WeChat and the fans saw.
func (x *trial) seen() (out []step) {
	for _, p := range x.facts.Pushes {
		note := func(at time.Time, format string, a ...any) {
			out = append(out, step{at: at, fan: p.Account + "/" + p.OpenID, msg: p.MsgID, txt: fmt.Sprintf("number %d: ", p.Number) + fmt.Sprintf(format, a...)})
		}
		for _, a := range p.Attempts {
			note(a.Start, "attempt %d at %s", a.Number, a.Replica)
			note(a.End, "attempt %d: %s %d", a.Number, a.Outcome, a.Status)
		}
		if p.ReplySeen > 0 {
			note(p.ReplyAt, "THE FAN SEES THE REPLY, %s", p.ReplyWay)
		}
	}
	return out
}
