package observability

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/wxbus/wxbus/tests/stack"
)

// Canaries: whatever happens, none of them may leave a process by a log, a span, a metric or a crash dump.
const (
	canaryFan      = "oCanaryFan7c1f0e55"
	canaryQuestion = "canary-question-7c1f0e55"
	canaryReply    = "canary-reply-7c1f0e55"
	canarySecond   = "canary-second-7c1f0e55"
	canaryPerson   = "canary-to-a-person-7c1f0e55"
	canaryUnsent   = "canary-unsent-7c1f0e55"
	canaryToken    = "canarytoken7c1f0e55"
	canaryAESKey   = "canarykey0canarykey1canarykey2canarykey7c1f"
	canarySecret   = "canary-app-secret-7c1f0e55"
	canaryPassword = "canary password 7c1f0e55"
	canaryWrong    = "canary wrong password 7c1f0e55"
	canaryAPIKey   = "canary-api-key-7c1f0e55-0123456789abcdef"
)

func canaries() map[string]string {
	return map[string]string{
		"openid": canaryFan, "text of a push": canaryQuestion, "passive reply": canaryReply, "reply by API": canarySecond,
		"text for a person": canaryPerson, "text that WeChat refuses": canaryUnsent, "Token": canaryToken, "EncodingAESKey": canaryAESKey,
		"AppSecret": canarySecret, "password": canaryPassword, "wrong password": canaryWrong, "API key": canaryAPIKey,
	}
}

// TestNothingSecretLeavesAProcess lets real processes go through what is healthy and what is not, then ends every one of
// them with a dump of its goroutines, and reads all that came out.
func TestNothingSecretLeavesAProcess(t *testing.T) {
	r := startReceiver(t)
	account := accountOf(1, desk, "passive")
	account["token"], account["encoding_aes_key"], account["app_secret"] = canaryToken, canaryAESKey, canarySecret
	s := stack.Start(t, stack.Options{Mode: stack.Split, Gateways: 1, Replicas: map[string]int{"rule": 1}, Config: map[string]any{
		"telemetry": map[string]any{"otlp_endpoint": r.endpoint, "sample_ratio": 1},
		"accounts":  []map[string]any{account},
		"console": map[string]any{
			"first_admin": map[string]any{"name": "admin", "password": canaryPassword},
			"api_keys":    []map[string]any{{"name": "shop", "key": canaryAPIKey, "accounts": []string{desk}}},
		},
	}, Rules: fmt.Sprintf(`
rules:
  - {name: two, match: {exact: [%s]}, do: [{reply: {text: %s}}, {reply: {text: %s}}]}
  - {name: people, match: {exact: [%s]}, do: [{transfer: {queue: desk}}]}
`, canaryQuestion, canaryReply, canarySecond, canaryPerson)})

	say := func(text string) {
		t.Helper()
		require.NoError(t, push(t.Context(), s.Simulator, desk, canaryFan, text))
	}
	say(canaryQuestion)
	say(canaryPerson)
	healthy(t, s)
	refused(t, s)
	broken(t, s, say)

	processes := running(s)
	var out strings.Builder
	for name, p := range processes {
		fmt.Fprintf(&out, "metrics of %s\n%s\n", name, strings.Join(scrape(t, "http://"+p.Admin), "\n"))
	}
	crash(t, s, processes, &out)
	for _, spans := range r.all() {
		for _, sp := range spans {
			fmt.Fprintf(&out, "span of %s %s\n", sp.service, prototext.Format(sp.Span))
		}
	}
	text := out.String()
	for what, canary := range canaries() {
		if i := strings.Index(text, canary); i >= 0 {
			t.Errorf("the %s came out:\n%s", what, text[max(0, i-600):min(len(text), i+300)])
		}
	}
	// The access token is made by the simulator. In a URL it would follow its name.
	require.NotRegexp(t, regexp.MustCompile(`access_token=[^*&\s"]{4}|secret=[^*&\s"]{4}`), text)
}

// call sends JSON to the console, as a browser or as a business system with a key, and returns the status.
func call(t *testing.T, s *stack.Stack, path string, header map[string]string, body any) int {
	t.Helper()
	b, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Console+path, strings.NewReader(string(b)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := stack.HTTP.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	return resp.StatusCode
}

const sends = "/api/v1/accounts/" + desk + "/messages"

func message(text string) map[string]any {
	return map[string]any{"touser": canaryFan, "msgtype": "text", "text": map[string]any{"content": text}}
}

func withKey(key, idempotency string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + key, "Idempotency-Key": idempotency}
}

// healthy logs in and sends.
func healthy(t *testing.T, s *stack.Stack) {
	t.Helper()
	require.Eventually(t, func() bool { // the first administrator is made beside the start
		return call(t, s, "/api/wxbus.console.v1.SessionService/LogIn", nil, map[string]any{"name": "admin", "password": canaryPassword}) == http.StatusOK
	}, patience, 500*time.Millisecond, "nobody can log in")
	n := 0
	require.Eventually(t, func() bool { // refused until the sender knows what the fan wrote
		n++
		return call(t, s, sends, withKey(canaryAPIKey, fmt.Sprintf("canary-healthy-%d", n)), message(canarySecond)) < 300
	}, patience, 500*time.Millisecond, "nothing can be sent")
}

// refused does what must be refused.
func refused(t *testing.T, s *stack.Stack) {
	t.Helper()
	status := call(t, s, "/api/wxbus.console.v1.SessionService/LogIn", nil, map[string]any{"name": "admin", "password": canaryWrong})
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, http.StatusUnauthorized, call(t, s, sends, withKey("x"+canaryAPIKey, "canary-2"), message(canaryUnsent)))
	require.GreaterOrEqual(t, call(t, s, sends, withKey(canaryAPIKey, "canary-3"), map[string]any{"touser": canaryFan + " " + canaryUnsent, "msgtype": "text"}), 400)
	for _, path := range []string{
		"/wx/" + desk + "?signature=" + canaryToken + "&timestamp=1&nonce=1&openid=" + canaryFan,
		"/wx/" + canaryFan + "?signature=x",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Gateways[0].URL+path, strings.NewReader("<xml>"+canaryQuestion+"</xml>"))
		require.NoError(t, err)
		resp, err := stack.HTTP.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
	}
}

// broken lets WeChat's API fail in every way while something is sent and while a token is fetched.
func broken(t *testing.T, s *stack.Stack, say func(string)) {
	t.Helper()
	for i, fault := range []map[string]any{
		{"on": "api", "kind": "errcode", "errcode": 40001, "count": 1},
		{"on": "api", "kind": "http", "count": 1},
		{"on": "api", "kind": "nonjson", "count": 1},
		{"on": "api", "kind": "truncate", "count": 1},
		{"on": "api", "kind": "reset", "count": 1},
	} {
		s.Sim(t, http.MethodPut, "/sim/v1/faults", map[string]any{"rules": []map[string]any{fault}}, nil)
		deadline := time.Now().Add(patience)
		for n := 0; !met(t, s); n++ {
			require.False(t, time.Now().After(deadline), "nothing meets the fault %v", fault)
			say("天气") // opens the window of the fan again
			require.Less(t, call(t, s, sends, withKey(canaryAPIKey, fmt.Sprintf("canary-fault-%d-%d", i, n)), message(canaryUnsent)), 500)
		}
	}
	s.Sim(t, http.MethodDelete, "/sim/v1/faults", nil, nil)
	say(canaryQuestion)
}

// met tells whether a call has met the only fault of the script, or will not within seconds.
func met(t *testing.T, s *stack.Stack) bool {
	t.Helper()
	var script struct{ Rules []struct{ Hits int } }
	for range 25 {
		s.Sim(t, http.MethodGet, "/sim/v1/faults", nil, &script)
		if len(script.Rules) == 1 && script.Rules[0].Hits > 0 {
			return true
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-t.Context().Done():
			return false
		}
	}
	return false
}

// running returns the processes of ours, by a name.
func running(s *stack.Stack) map[string]*stack.Process {
	out := map[string]*stack.Process{"gateway-0": s.Gateways[0].Process}
	for service, ps := range s.Services {
		if service != "simulator" { // it plays WeChat, who knows all of it
			for i, p := range ps {
				out[fmt.Sprintf("%s-%d", service, i)] = p
			}
		}
	}
	return out
}

// crash ends every process with a dump and adds their logs, which end with it.
func crash(t *testing.T, s *stack.Stack, processes map[string]*stack.Process, out *strings.Builder) {
	t.Helper()
	for name, p := range processes {
		require.NoError(t, p.Signal(syscall.SIGQUIT))
		file := filepath.Join(s.Dir, name+".log")
		var log []byte
		require.Eventually(t, func() bool {
			var err error
			log, err = os.ReadFile(file)
			return err == nil && p.Ended() && strings.Contains(string(log), "SIGQUIT: quit")
		}, patience, 100*time.Millisecond, "%s does not end with a dump", name)
		require.Contains(t, string(log), "goroutine ", name)
		fmt.Fprintf(out, "log of %s\n%s\n", name, log)
	}
}
