package chaos

import (
	"fmt"
	"net/http"
	"time"

	"github.com/wxbus/wxbus/tests/chaos/record"
)

// Rows about WeChat's API and its tokens.
func apiRows() []row {
	return []row{
		{number: 13, name: "tokens go bad: 40001, 40014 and 42001", ci: true, accounts: []string{byAPI}, steps: invalidate, checks: tokenChecks},
	}
}

const noteMinted = "tokens before"

// tokensGoBad are the codes with which WeChat refuses a token.
func tokensGoBad() []int { return []int{40001, 40014, 42001} }

// invalidate plays another system that refreshes the account's tokens.
func invalidate(x *trial) {
	x.notes[noteMinted] = x.minted(x.t, byAPI)
	codes := tokensGoBad()
	for n, code := range codes {
		x.at((float64(n) + 0.5) / float64(len(codes)))
		x.broke("tokens are invalid: %d", code)
		x.Sim(x.t, http.MethodPost, "/sim/v1/accounts/"+byAPI+"/invalidate", map[string]any{"errcode": code}, nil)
	}
	x.at(1)
}

func tokenChecks(x *trial) []record.Check {
	n := len(tokensGoBad())
	calls := 0
	for _, of := range x.facts.Report.Calls[tokenPath] {
		calls += of
	}
	const first = 1 // after the simulator began a new book
	more := 0
	for _, s := range x.facts.Books.Sends {
		more = max(more, s.Attempts-1)
	}
	refused := 0
	for _, code := range tokensGoBad() {
		refused += x.calls(sendPath, code)
	}
	return []record.Check{
		count("refreshes by all replicas", fmt.Sprintf("1 for the start and 1 for each of %d", n), calls == first+n, "%d", calls),
		count("repetitions of a message", "≤ 1 for a bad token", more <= 1, "%d", more),
		timing("calls with a bad token", "some", refused > 0, "%d", refused),
		x.acknowledged(), x.slowestAnswer(250 * time.Millisecond),
	}
}

// calls is how often a path answered with an errcode.
func (x *trial) calls(path string, code int) int {
	return x.facts.Report.Calls[path][fmt.Sprint(code)]
}
