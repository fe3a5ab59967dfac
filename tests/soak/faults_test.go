package soak

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const sendPath = "/cgi-bin/message/custom/send"

// faultRule is one line of the simulator's fault script, and in answers what it did.
type faultRule struct {
	Name    string  `json:"name"`
	On      string  `json:"on"`
	Path    string  `json:"path,omitempty"`
	Kind    string  `json:"kind"`
	When    string  `json:"when,omitempty"`
	Delay   string  `json:"delay,omitempty"`
	Status  int     `json:"status,omitempty"`
	ErrCode int     `json:"errcode,omitempty"`
	Rate    float64 `json:"rate"`
	Count   int     `json:"count,omitempty"`

	Matched int `json:"matched,omitempty"`
	Hits    int `json:"hits,omitempty"`
}

// share of the calls that each fault strikes.
const share = 0.05

// script has every way in which a push or a call to WeChat goes wrong. Of several faults of one call the
// first one strikes, and every delay.
func script() []faultRule {
	return []faultRule{
		{Name: "answer lost: cut after the push was sent", On: "push", Kind: "drop", When: "sent", Rate: share},
		{Name: "answer lost: cut when it begins to arrive", On: "push", Kind: "drop", When: "answered", Rate: share},
		{Name: "the same push twice at once", On: "push", Kind: "duplicate", Rate: share},
		{Name: "one more attempt after an answer", On: "push", Kind: "retry_answered", Rate: share},
		{Name: "slow client", On: "push", Kind: "slow", Delay: "500ms", Rate: share},
		{Name: "API slow", On: "api", Path: sendPath, Kind: "delay", Delay: "400ms", Rate: share},
		{Name: "API says system busy (-1)", On: "api", Path: sendPath, Kind: "errcode", ErrCode: -1, Rate: share},
		{Name: "API says quota of the minute (45011)", On: "api", Path: sendPath, Kind: "errcode", ErrCode: 45011, Rate: share, Count: 5},
		{Name: "API hangs before the call", On: "api", Path: sendPath, Kind: "hang", When: "before", Rate: share},
		{Name: "API hangs after the call", On: "api", Path: sendPath, Kind: "hang", When: "after", Rate: share},
		{Name: "API resets before the call", On: "api", Path: sendPath, Kind: "reset", When: "before", Rate: share},
		{Name: "API resets after the call", On: "api", Path: sendPath, Kind: "reset", When: "after", Rate: share},
		{Name: "API answers 502", On: "api", Path: sendPath, Kind: "http", Status: 502, Rate: share},
		{Name: "API answer is cut", On: "api", Path: sendPath, Kind: "truncate", Rate: share},
		{Name: "API answers with a page", On: "api", Path: sendPath, Kind: "nonjson", Rate: share},
	}
}

func (s *system) setFaults(t testing.TB) {
	t.Helper()
	s.Sim(t, http.MethodPut, "/sim/v1/faults", map[string]any{"rules": script()}, nil)
}

// struck prints what the faults did and requires that each of them happened.
func (s *system) struck(t testing.TB) {
	t.Helper()
	var status struct {
		Rules []faultRule `json:"rules"`
	}
	s.Sim(t, http.MethodGet, "/sim/v1/faults", nil, &status)
	require.Len(t, status.Rules, len(script()))
	var b strings.Builder
	for _, r := range status.Rules {
		line(&b, r.Name, "%d of %d", r.Hits, r.Matched)
	}
	t.Logf("faults\n%s", b.String())
	for _, r := range status.Rules {
		require.Positive(t, r.Hits, "this fault never happened, so nothing is known about it: %s", r.Name)
	}
}
