package faults_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/faults"
)

var start = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

func engine(t *testing.T, script string) (*faults.Engine, *clock.Clock) {
	t.Helper()
	s, err := faults.Parse([]byte(script))
	require.NoError(t, err)
	c := clock.Virtual(start)
	e := faults.NewEngine(c, clock.NewDice(1))
	require.NoError(t, e.Set(s))
	return e, c
}

const send = "/cgi-bin/message/custom/send"

func TestWithoutAScriptNothingGoesWrong(t *testing.T) {
	e := faults.NewEngine(clock.Virtual(start), clock.NewDice(1))
	require.Zero(t, e.API("demo", send))
	require.Zero(t, e.Push("demo", "text", 1))
}

func TestABurstOfErrcodesEndsAfterItsCount(t *testing.T) {
	e, _ := engine(t, `{"rules":[{"on":"api","path":"/cgi-bin/message/custom/*","kind":"errcode","errcode":45009,"count":2}]}`)
	require.Zero(t, e.API("demo", "/cgi-bin/user/info"), "another path")
	for range 2 {
		hit := e.API("demo", send)
		require.Equal(t, 45009, hit.ErrCode)
		require.Equal(t, faults.Before, hit.When)
	}
	require.Zero(t, e.API("demo", send))
	require.Equal(t, 2, e.Status()[0].Hits)
	require.EqualValues(t, 3, e.Status()[0].Matched)
}

func TestRulesTakeTurnsWhateverTheSeed(t *testing.T) {
	e, _ := engine(t, `{"rules":[{"on":"api","kind":"reset","every":3},{"on":"api","kind":"hang","skip":1,"every":3,"count":2},{"on":"push","kind":"drop","skip":2}]}`)
	var kinds []string
	for range 10 {
		kinds = append(kinds, e.API("demo", send).Kind)
	}
	require.Equal(t, []string{"reset", "hang", "", "reset", "hang", "", "reset", "", "", "reset"}, kinds)
	require.Equal(t, []string{"", "", faults.Answered}, []string{e.Push("demo", "text", 1).Drop, e.Push("demo", "text", 1).Drop, e.Push("demo", "text", 1).Drop})
	for _, broken := range []string{"skip", "every"} {
		_, err := faults.Parse([]byte(`{"rules":[{"on":"api","kind":"hang","` + broken + `":-1}]}`))
		require.ErrorContains(t, err, "rules[0]."+broken)
	}
}

func TestRulesHoldForTheirAccountAndTime(t *testing.T) {
	e, c := engine(t, `{"rules":[{"on":"api","account":"demo","kind":"http","status":503,"from":"10s","to":"20s"}]}`)
	require.Zero(t, e.API("demo", send), "too early")
	c.Advance(10 * time.Second)
	require.Zero(t, e.API("other", send))
	require.Equal(t, 503, e.API("demo", send).Status)
	c.Advance(10 * time.Second)
	require.Zero(t, e.API("demo", send), "too late")
}

func TestDelaysAddUpAndTheFirstFaultWins(t *testing.T) {
	e, _ := engine(t, `{"rules":[{"on":"api","kind":"delay","delay":"1s"},{"on":"api","kind":"truncate"},{"on":"api","kind":"delay","delay":"2s"},{"on":"api","kind":"hang"}]}`)
	hit := e.API("demo", send)
	require.Equal(t, 3*time.Second, hit.Delay)
	require.Equal(t, faults.Truncate, hit.Kind)
	require.Equal(t, faults.After, hit.When, "a truncated answer means the call was carried out")
}

func TestARateStrikesItsShareAndIsRepeatable(t *testing.T) {
	const script = `{"rules":[{"on":"push","kind":"drop","rate":0.2}]}`
	count := func() (n int) {
		e, _ := engine(t, script)
		for range 1000 {
			if e.Push("demo", "text", 1).Drop != "" {
				n++
			}
		}
		return n
	}
	first := count()
	require.InDelta(t, 200, first, 50)
	require.Equal(t, first, count())
}

func TestPushRulesMatchTypeAndAttempt(t *testing.T) {
	e, _ := engine(t, `{"rules":[{"on":"push","type":"click","attempts":[1,2],"kind":"drop","when":"sent"},{"on":"push","kind":"duplicate","copies":3},{"on":"push","kind":"retry_answered"},{"on":"push","kind":"slow","delay":"1s"}]}`)
	require.Equal(t, faults.Push{Drop: faults.Sent, Copies: 3, RetryAnswered: true, Slow: time.Second}, e.Push("demo", "CLICK", 2))
	require.Empty(t, e.Push("demo", "CLICK", 3).Drop)
	require.Empty(t, e.Push("demo", "text", 1).Drop)
}

func TestBrokenScriptsNameEveryProblem(t *testing.T) {
	_, err := faults.Parse([]byte(`{"rules":[{"on":"api","kind":"drop"},{"on":"push","kind":"delay","rate":2},{"on":"sea"},{"on":"api","kind":"errcode","type":"text"},{"on":"api","kind":"http","status":200,"when":"sent"},{"on":"api","kind":"hang","path":"["}]}`))
	for _, text := range []string{`rules[0].kind: "drop"`, "rules[1].delay", "rules[1].rate", "rules[2].on", "rules[3].errcode", "rules[3].type", "rules[4].status", "rules[4].when", "rules[5].path"} {
		require.ErrorContains(t, err, text)
	}
	_, err = faults.Parse([]byte(`{"rules":[{"on":"api","kind":"delay","delay":5}]}`))
	require.ErrorContains(t, err, "1.5s")
	_, err = faults.Parse([]byte(`{"rule":[]}`))
	require.ErrorContains(t, err, "rule")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"rules":[{"on":"api","kind":"delay","delay":"1s"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := faults.Parse(data)
		if err == nil {
			require.NoError(t, s.Validate())
		}
	})
}
