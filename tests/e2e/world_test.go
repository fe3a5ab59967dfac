package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/stack"
)

// world is one running system, seen from WeChat's side.
type world struct {
	*stack.Stack
	webhook *webhook
	fans    atomic.Int64
	// expected are violations that a scenario makes on purpose, as class and id of the simulator's report.
	expected sync.Map
}

// expectViolation says that the simulator will rightly complain about a fan.
func (w *world) expectViolation(class string, f *fan) {
	w.expected.Store(class+" "+f.account+"/"+f.openid, true)
}

// fan is a follower of one account.
type fan struct {
	w       *world
	account string
	openid  string
}

// screen is one line of a fan's phone.
type line struct {
	Way     string  `json:"way"`
	Attempt int     `json:"attempt"`
	Content content `json:"content"`
}

type content struct {
	Type      string `json:"type"`
	Text      string `json:"text"`
	MediaID   string `json:"media_id"`
	KfAccount string `json:"kf_account"`
	Articles  []struct {
		Title string `json:"title"`
	} `json:"articles"`
}

// attempt is one try of WeChat.
type attempt struct {
	Number  int       `json:"number"`
	Replica string    `json:"replica"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Status  int       `json:"status"`
	Outcome string    `json:"outcome"`
	Detail  string    `json:"detail"`
}

type pushed struct {
	ID       uint64    `json:"id"`
	MsgID    string    `json:"msg_id"`
	Attempts []attempt `json:"attempts"`
	Shown    string    `json:"shown"`
}

func (w *world) newFan(t testing.TB, account string) *fan {
	t.Helper()
	f := &fan{w: w, account: account, openid: fmt.Sprintf("oE2e%s%06d", account, w.fans.Add(1))}
	w.sim(t, http.MethodPost, "/sim/v1/accounts/"+account+"/fans", map[string]any{"openid": f.openid, "following": true}, nil)
	return f
}

// says pushes a text and waits until WeChat is done with the push.
func (f *fan) says(t testing.TB, text string) pushed {
	t.Helper()
	return f.does(t, "text", map[string]any{"Content": text})
}

func (f *fan) does(t testing.TB, kind string, fields map[string]any) pushed {
	t.Helper()
	return f.push(t, map[string]any{"type": kind, "fields": fields})
}

func (f *fan) push(t testing.TB, body map[string]any) pushed {
	t.Helper()
	body["account"], body["openid"] = f.account, f.openid
	var out struct {
		Push *pushed `json:"push"`
	}
	f.w.sim(t, http.MethodPost, "/sim/v1/push", body, &out)
	require.NotNil(t, out.Push, "the fan is with WeChat's own desk: nothing is pushed")
	return *out.Push
}

// saw returns what others said to the fan, in order, as "way:text".
func (f *fan) saw(t testing.TB) []string {
	t.Helper()
	var view struct {
		Timeline []line `json:"timeline"`
	}
	f.w.sim(t, http.MethodGet, "/sim/v1/accounts/"+f.account+"/fans/"+f.openid, nil, &view)
	out := []string{}
	for _, l := range view.Timeline {
		if l.Way == "push" {
			continue
		}
		what := l.Content.Text
		switch {
		case l.Content.Type == "news" && len(l.Content.Articles) > 0:
			what = l.Content.Articles[0].Title
		case what == "" && l.Content.MediaID != "":
			what = l.Content.Type + " " + l.Content.MediaID
		case what == "":
			what = l.Content.Type
		}
		out = append(out, l.Way+":"+what)
	}
	return out
}

// sees waits until the fan has seen exactly this, and then for a moment that nothing else comes.
func (f *fan) sees(t testing.TB, want ...string) {
	t.Helper()
	var got []string
	if !eventually(t, 60*time.Second, func() bool { got = f.saw(t); return len(got) >= len(want) }) {
		require.Equal(t, want, got, "fan %s of %s", f.openid, f.account)
	}
	require.Equal(t, want, got, "fan %s of %s", f.openid, f.account)
}

// stays checks that the fan's screen does not change for a while.
func (f *fan) stays(t testing.TB, d time.Duration, want ...string) {
	t.Helper()
	if len(want) == 0 {
		want = []string{}
	}
	end := time.After(d)
	for {
		require.Equal(t, want, f.saw(t))
		select {
		case <-end:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func eventually(t testing.TB, limit time.Duration, ok func() bool) bool {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		if ok() {
			return true
		}
		select {
		case <-deadline.C:
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// sim calls the simulator's control API.
func (w *world) sim(t testing.TB, method, path string, body, out any) {
	t.Helper()
	status, text := w.call(t, method, w.Simulator+path, nil, body)
	require.Equal(t, http.StatusOK, status, "%s %s: %s", method, path, text)
	if out != nil {
		require.NoError(t, json.Unmarshal(text, out), "%s %s: %s", method, path, text)
	}
}

func (w *world) call(t testing.TB, method, url string, header http.Header, body any) (int, []byte) {
	t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		require.NoError(t, err)
		r = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, r)
	require.NoError(t, err)
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := (&http.Client{}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, text
}

// logOf is the whole log of one API of an account.
func logOf(account, path string) string {
	return "/sim/v1/log?" + url.Values{"account": {account}, "name": {path}, "limit": {"20000"}}.Encode()
}

// calls counts the simulated WeChat's API calls of an account by path.
func (w *world) calls(t testing.TB, account, path string) (n int, codes []int) {
	t.Helper()
	var lines []struct {
		Push    bool   `json:"push"`
		Account string `json:"account"`
		Name    string `json:"name"`
		ErrCode int    `json:"errcode"`
	}
	w.sim(t, http.MethodGet, logOf(account, path), nil, &lines)
	for _, l := range lines {
		if !l.Push {
			n++
			codes = append(codes, l.ErrCode)
		}
	}
	return n, codes
}
