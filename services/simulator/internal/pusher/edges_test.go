package pusher_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/gatewaytest"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
	"github.com/wxbus/wxbus/services/simulator/internal/pusher"
)

func TestFaultsOfPushes(t *testing.T) {
	tests := []struct {
		name     string
		script   string
		outcomes []string
		detail   string
	}{
		{"answer lost on its way", `{"on":"push","kind":"drop","attempts":[1]}`, []string{"dropped", "reply"}, "on its way"},
		{"cut after the request", `{"on":"push","kind":"drop","when":"sent","attempts":[1]}`, []string{"dropped", "reply"}, "after the request"},
		{"twice at once", `{"on":"push","kind":"duplicate"}`, []string{"reply", "reply"}, ""},
		{"again although answered", `{"on":"push","kind":"retry_answered"}`, []string{"reply", "reply"}, ""},
		{"slow client", `{"on":"push","kind":"slow","delay":"30ms"}`, []string{"reply"}, ""},
		{"late", `{"on":"push","kind":"delay","delay":"5ms"}`, []string{"reply"}, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, 2, []codec.Account{account("demo", "xml", "secure")})
			script, err := faults.Parse([]byte(`{"rules":[` + tc.script + `]}`))
			require.NoError(t, err)
			require.NoError(t, w.faults.Set(script))
			p := w.push(t, text("k0001"))
			require.Equal(t, tc.outcomes, outcomes(p))
			require.Contains(t, p.Attempts[0].Detail, tc.detail)
			require.Len(t, w.screen(t), 1, "the fan sees one reply")
			require.Empty(t, w.ledger.Totals().Violations)
		})
	}
}

func TestURLVerification(t *testing.T) {
	w := newWorld(t, 2, []codec.Account{account("demo", "xml", "secure")})
	require.NoError(t, w.Verify(t.Context(), "demo"))

	wrong := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, r.URL.Query().Get("echostr")+"\n")
	}))
	defer wrong.Close()
	require.NoError(t, w.SetTargets([]string{wrong.URL}))
	require.ErrorContains(t, w.Verify(t.Context(), "demo"), "not the echostr")
}

func TestOnlyThisMachineIsPushedTo(t *testing.T) {
	for _, target := range []string{"http://example.com", "http://10.0.0.1:80", "ftp://127.0.0.1"} {
		_, err := pusher.New(pusher.Config{Targets: []string{target}}, pusher.Deps{})
		require.ErrorContains(t, err, "targets[0]", target)
	}
	_, err := pusher.New(pusher.Config{Targets: []string{"http://gateway:8080"}, AllowRemote: []string{"gateway"}}, pusher.Deps{})
	require.NoError(t, err)
	w := newWorld(t, 1, []codec.Account{account("demo", "xml", "secure")})
	require.ErrorContains(t, w.SetTargets([]string{"http://192.0.2.1"}), "allow_remote")
	require.Error(t, w.SetTargets(nil))
}

func TestPreviousKeysSealAPush(t *testing.T) {
	old := account("demo", "xml", "secure")
	now := old
	now.PreviousToken, now.PreviousEncodingAESKey = old.Token, old.EncodingAESKey
	now.Token, now.EncodingAESKey = "another", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	w := newWorld(t, 1, []codec.Account{now})
	gateway := httptest.NewServer(gatewaytest.New(old)) // knows the old keys only
	defer gateway.Close()
	require.NoError(t, w.SetTargets([]string{gateway.URL}))
	require.Equal(t, ledger.OutcomeStatus, w.push(t, text("a")).Attempts[0].Outcome)
	p := text("b")
	p.PreviousKeys = true
	require.Equal(t, ledger.OutcomeReply, w.push(t, p).Attempts[0].Outcome)
}

func TestWhoDoesNotFollowCannotWrite(t *testing.T) {
	w := newWorld(t, 1, []codec.Account{account("demo", "xml", "secure")})
	w.push(t, pusher.Push{Type: "subscribe"})
	w.push(t, pusher.Push{Type: "unsubscribe"})
	_, err := w.Push(t.Context(), pusher.Push{Account: "demo", OpenID: fan, Type: "text"})
	require.ErrorIs(t, err, ledger.ErrNotFollowing)
}

func TestBrokenPushesAreRefused(t *testing.T) {
	w := newWorld(t, 1, []codec.Account{account("demo", "xml", "secure")})
	for _, p := range []pusher.Push{
		{Account: "nobody", OpenID: fan, Type: "text"}, {Account: "demo", OpenID: "", Type: "text"}, {Account: "demo", OpenID: "a b", Type: "text"},
		{Account: "demo", OpenID: fan, Type: "<x>"}, {Account: "demo", OpenID: fan, Type: "text", Fields: map[string]any{"a><b": "1"}},
		{Account: "demo", OpenID: fan, Type: "text", Fields: map[string]any{"A": map[string]any{"b c": 1}}},
	} {
		_, err := w.Push(t.Context(), p)
		require.Error(t, err, p)
	}
	_, err := w.PushConcurrently(t.Context(), pusher.Push{Account: "demo", OpenID: fan, Type: "text"}, 0)
	require.Error(t, err)
}

func TestCloseEndsBackgroundPushes(t *testing.T) {
	w := newWorld(t, 1, []codec.Account{account("demo", "xml", "secure")})
	require.True(t, w.Later(time.Hour, text("never")))
	require.NoError(t, w.Close(t.Context()))
	require.False(t, w.Later(0, text("closed")))
	require.Empty(t, w.gateway.Log())
}

func TestStoppingEndsAnAttemptWithoutAPrompt(t *testing.T) {
	w := newWorld(t, 1, []codec.Account{account("demo", "xml", "secure")})
	hang(w, 0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan pusher.Result, 1)
	go func() {
		result, _ := w.Push(ctx, pusher.Push{Account: "demo", OpenID: fan, Type: "text"})
		done <- result
	}()
	require.Eventually(t, func() bool { return len(w.gateway.Log()) == 1 }, 30*time.Second, time.Millisecond)
	cancel()
	p := (<-done).Push
	require.Equal(t, []string{ledger.OutcomeStopped}, outcomes(p))
	require.Empty(t, w.screen(t))
}
