package domain

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// week is Monday to Friday from nine to noon and from one to six, in Shanghai, with one holiday and one Saturday in exchange.
var week = func() Hours {
	h := Hours{Days: []HolidayHours{{Date: "2026-11-24"}, {Date: "2026-11-28", Spans: []WeekSpan{{From: 600, To: 660}}}}}
	for day := range 5 {
		h.Week = append(h.Week, WeekSpan{day + 1, 13 * 60, 18 * 60}, WeekSpan{day + 1, 9 * 60, 12 * 60})
	}
	return h
}()

func shanghai(s string) time.Time {
	at, err := time.ParseInLocation("2006-01-02 15:04", s, LocationOf(Zone))
	if err != nil {
		panic(err)
	}
	return at.UTC()
}

func TestTheClockStandsStillOutsideOfTheHours(t *testing.T) {
	for _, tt := range []struct {
		from string
		span time.Duration
		want string
	}{
		{"2026-11-20 11:30", 20 * time.Minute, "2026-11-20 11:50"},
		{"2026-11-20 11:30", 30 * time.Minute, "2026-11-20 12:00"}, // not 13:00: it is over when the hours are
		{"2026-11-20 11:30", 40 * time.Minute, "2026-11-20 13:10"},
		{"2026-11-20 17:30", time.Hour, "2026-11-23 09:30"},   // over the weekend
		{"2026-11-23 17:30", time.Hour, "2026-11-25 09:30"},   // over the holiday
		{"2026-11-27 17:30", time.Hour, "2026-11-28 10:30"},   // into the Saturday in exchange
		{"2026-11-21 03:00", time.Minute, "2026-11-23 09:01"}, // asked while closed
	} {
		require.Equal(t, shanghai(tt.want), week.After(shanghai(tt.from), tt.span), "%s + %s", tt.from, tt.span)
		require.Equal(t, tt.span, week.Between(shanghai(tt.from), shanghai(tt.want)))
	}
	require.Equal(t, start.Add(time.Hour), Hours{}.After(start, time.Hour), "who is always open has a plain clock")
	require.True(t, Hours{Days: []HolidayHours{{Date: "2026-11-20"}}, Week: []WeekSpan{{1, 0, 1}}}.After(start, 1000*time.Hour).IsZero(), "never within two years")
	require.Zero(t, week.Between(start, start.Add(-time.Hour)))
	require.Zero(t, Hours{}.Between(start, start.Add(-time.Hour)))
}

func drawHours(t *rapid.T) Hours {
	h := Hours{Zone: rapid.SampledFrom([]string{"", "Europe/Berlin", "America/New_York"}).Draw(t, "zone")}
	// From four o'clock on: before that, a minute may come twice or never on the day when clocks change.
	spans := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) WeekSpan {
		from := rapid.IntRange(4*60, 23*60).Draw(t, "from")
		return WeekSpan{rapid.IntRange(1, 7).Draw(t, "weekday"), from, rapid.IntRange(from+1, 24*60).Draw(t, "to")}
	}), 0, 8)
	h.Week = spans.Draw(t, "week")
	for day := range rapid.IntRange(0, 3).Draw(t, "holidays") {
		h.Days = append(h.Days, HolidayHours{Date: start.AddDate(0, 0, day).Format(time.DateOnly), Spans: spans.Draw(t, "spans")})
	}
	return h
}

// The arithmetic agrees with asking every minute whether it is within the hours.
func TestWorkingTimeIsWhatTheMinutesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHours(t)
		from := start.Add(time.Duration(rapid.IntRange(0, 10_000).Draw(t, "from")) * time.Minute)
		want, at := 0, from
		for range rapid.IntRange(0, 3000).Draw(t, "minutes") {
			if h.Open(at) {
				want++
			}
			at = at.Add(time.Minute)
		}
		span := time.Duration(want) * time.Minute
		require.Equal(t, span, h.Between(from, at))
		if want > 0 {
			over := h.After(from, span)
			require.False(t, over.After(at))
			require.Equal(t, span, h.Between(from, over))
		}
	})
}

func TestMoreSpanIsNeverDueEarlier(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHours(t)
		span := time.Duration(rapid.IntRange(1, 10_000).Draw(t, "span")) * time.Second
		due, more := h.After(start, span), h.After(start, span+time.Duration(rapid.IntRange(0, 10_000).Draw(t, "more"))*time.Second)
		later := h.After(start.Add(time.Duration(rapid.IntRange(0, 10_000).Draw(t, "later"))*time.Second), span)
		if !more.IsZero() {
			require.False(t, more.Before(due))
		}
		if !later.IsZero() {
			require.False(t, later.Before(due), "who asks later is due later")
		}
	})
}

var promising = Group{ID: "g", FirstS: 60, NextS: 120, CloseS: 3600}

// served is an active conversation whose first answer reached WeChat.
func served(t *testing.T) Conversation {
	t.Helper()
	c := Open("shop", "fan", "c", promising, "", "rule", start, start)
	require.Len(t, c.Promises, 2)
	c, err := c.Apply(Step{Change: Taken, Agent: "a"}, start.Add(10*time.Second))
	require.NoError(t, err)
	c, kept := c.AgentWrote(start.Add(20*time.Second), "!").Answers(1)
	require.Equal(t, TargetsOf(FirstResponse), kept)
	return c.Stands(1)
}

func TestAPromiseBeginsWithTheMessageThatWaitsAndEndsWithTheAnswer(t *testing.T) {
	c := served(t)
	require.Equal(t, -1, c.promised(NextResponse))
	c = c.FanWrote(start.Add(time.Minute), "?").Waits(promising, start.Add(time.Minute))
	require.Equal(t, start.Add(3*time.Minute), c.Promises[c.promised(NextResponse)].Due)
	again := c.FanWrote(start.Add(2*time.Minute), "??").Waits(promising, start.Add(2*time.Minute))
	require.Equal(t, c.Promises, again.Promises, "more messages move nothing")
	answered, kept := again.AgentWrote(start.Add(150*time.Second), "!").Answers(2)
	require.Equal(t, TargetsOf(NextResponse), kept)
	require.Equal(t, -1, answered.promised(NextResponse))
	failed, back := answered.Fails(2)
	require.Equal(t, TargetsOf(NextResponse), back)
	require.ElementsMatch(t, again.Promises, failed.Promises, "a message that was not sent answers nothing")
	two, kept := answered.Answers(3)
	require.Zero(t, kept, "it was kept once")
	two, back = two.Fails(2)
	require.Zero(t, back)
	require.Equal(t, -1, two.promised(NextResponse), "the second message stands")
	_, back = two.Stands(3).Fails(3)
	require.Zero(t, back, "what WeChat has taken does not fail any more")
}

func TestPromisesGoWithTheConversation(t *testing.T) {
	c := Open("shop", "fan", "c", promising, "", "rule", start, start)
	strict := Group{ID: "strict", FirstS: 1, CloseS: 1}
	moved, err := c.Apply(Step{Change: Forwarded, Group: &strict}, start.Add(30*time.Second))
	require.NoError(t, err)
	require.Equal(t, c.Promises, moved.Promises, "what was promised stays as it was promised")

	none := Open("shop", "fan", "c", Group{ID: "none"}, "", "rule", start, start)
	require.Empty(t, none.Promises)
	require.True(t, none.NextPromise().IsZero())
	moved, err = none.Apply(Step{Change: Forwarded, Group: &promising}, start.Add(30*time.Second))
	require.NoError(t, err)
	require.Equal(t, start.Add(90*time.Second), moved.Promises[moved.promised(FirstResponse)].Due, "the next group promises from when it has the fan")

	held, err := served(t).FanWrote(start.Add(time.Minute), "?").Waits(promising, start.Add(time.Minute)).Apply(Step{Change: Held, Until: start.Add(time.Hour)}, start.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, start.Add(3*time.Minute), held.Promises[held.promised(NextResponse)].Due, "a hold stops no clock")
}

func TestAnEndInTimeIsKeptAndComesBackWithAReopen(t *testing.T) {
	c := served(t)
	closed, err := c.Apply(Step{Change: ClosedNow}, start.Add(time.Minute))
	require.NoError(t, err)
	require.Empty(t, closed.Promises)
	require.Equal(t, TargetsOf(InTime), closed.KeptByEnd(closed.Ended))
	back, err := closed.Apply(Step{Change: Reopened, Agent: "a"}, start.Add(65*time.Second))
	require.NoError(t, err)
	require.Equal(t, c.Promises, back.Promises)
	require.Empty(t, back.Ended)
	lost, err := Open("shop", "fan", "c", promising, "", "rule", start, start).Apply(Step{Change: ClosedNow}, start.Add(time.Minute))
	require.NoError(t, err)
	require.Zero(t, lost.KeptByEnd(lost.Ended), "nobody had it")

	late, _ := c.FanWrote(start.Add(time.Minute), "?").Waits(promising, start.Add(time.Minute)).Answers(2)
	over, err := late.Apply(Step{Change: ClosedNow}, start.Add(2*time.Minute))
	require.NoError(t, err)
	over, again := over.Fails(2)
	require.Equal(t, TargetsOf(NextResponse), again)
	require.Empty(t, over.Promises, "nobody is asked to answer in a conversation that is over")
	require.Len(t, over.Ended, 2)
}

// Whatever happens in whatever order: each promise is warned of once at most and broken once at most, never both after it was broken;
// more messages of the fan never move a due time later, and nothing moves it at all but a failure, which moves it earlier.
func TestAPromiseIsBrokenOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := start
		g := Group{ID: "g", Hours: drawHours(t)}
		g.FirstS, g.NextS, g.CloseS = rapid.IntRange(0, 600).Draw(t, "first"), rapid.IntRange(0, 600).Draw(t, "next"), rapid.IntRange(0, 6000).Draw(t, "close")
		c := Open("shop", "fan", "c", g, "", "rule", now, now)
		var seq uint64
		var sent []uint64
		kept, broken, warned, made := map[Target]int{}, map[Target]int{}, map[Target]int{}, map[Target]int{}
		count := func(m map[Target]int, s Targets, n int) {
			each(s, func(p Target) { m[p] += n })
		}
		open := func(c Conversation) (s Targets) {
			for _, p := range c.Promises {
				s |= TargetsOf(p.Target)
			}
			return s
		}
		count(made, open(c), 1)
		judge := func() {
			for {
				next, p, what := c.Judge(now)
				if what == "" {
					require.Equal(t, c, next)
					return
				}
				require.True(t, !next.Promises[c.promised(p.Target)].Due.After(now) || what == PromiseWarned)
				count(map[string]map[Target]int{PromiseBroken: broken, PromiseWarned: warned}[what], TargetsOf(p.Target), 1)
				c = next
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 400).Draw(t, "seconds")) * time.Second)
				judge()
				require.False(t, !c.NextPromise().IsZero() && !c.NextPromise().After(now), "nothing is left to tell")
			},
			"fan": func(t *rapid.T) {
				before := c.Promises
				c = c.FanWrote(now, "?").Waits(g, now)
				for _, p := range before {
					require.Contains(t, c.Promises, p, "a message moves nothing")
				}
				if len(c.Promises) > len(before) {
					count(made, TargetsOf(NextResponse), 1)
				}
			},
			"answer": func(t *rapid.T) {
				if c.State != Active {
					return
				}
				judge()
				seq++
				sent = append(sent, seq)
				var k Targets
				c, k = c.AgentWrote(now, "!").Answers(seq)
				count(kept, k, 1)
			},
			"stands": func(t *rapid.T) {
				if len(sent) > 0 {
					i := rapid.IntRange(0, len(sent)-1).Draw(t, "which")
					c, sent = c.Stands(sent[i]), slices.Delete(sent, i, i+1)
				}
			},
			"fails": func(t *rapid.T) {
				if len(sent) == 0 {
					return
				}
				i := rapid.IntRange(0, len(sent)-1).Draw(t, "which")
				before := c.Promises
				both := open(c)
				var again Targets
				c, again = c.Fails(sent[i])
				sent = slices.Delete(sent, i, i+1)
				count(kept, again, -1)
				each(again, func(p Target) {
					if both.Has(p) {
						made[p]-- // two became one
					}
				})
				for _, p := range before {
					require.False(t, c.Promises[c.promised(p.Target)].Due.After(p.Due), "a failure moves nothing later")
				}
			},
			"step": func(t *rapid.T) {
				s := rapid.SampledFrom([]Step{{Change: Taken, Agent: "a"}, {Change: Requeued}, {Change: Held}, {Change: Resumed}, {Change: GivenToGroup, Group: &g}}).Draw(t, "step")
				before := open(c)
				if next, err := c.Apply(s, now); err == nil {
					c = next
					count(made, open(c)&^before, 1)
				}
			},
			"": func(t *rapid.T) {
				for _, p := range AllTargets {
					require.LessOrEqual(t, kept[p]+broken[p], made[p], "%s is kept or broken once", p)
					require.LessOrEqual(t, warned[p], made[p])
				}
				require.LessOrEqual(t, len(c.Promises), len(AllTargets))
			},
		})
	})
}

func TestTargetsHaveNames(t *testing.T) {
	require.Equal(t, []string{"first_response", "next_response", "close", "none"}, []string{FirstResponse.String(), NextResponse.String(), InTime.String(), Target(9).String()})
}
