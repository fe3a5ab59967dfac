package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/testkit"

	"github.com/wxbus/wxbus/services/simulator"
	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/gatewaytest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const fan = "oFan1"

var shop = account.Account{Name: "shop", AppID: "wx0000000000000001", OriginalID: "gh_shop", Kind: account.KindService, Format: account.FormatXML,
	Mode: account.ModeSecure, Token: secret.New("shoptoken"), EncodingAESKey: secret.New("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"), AppSecret: secret.New("shop-secret")}

var wireShop = codec.Account{Name: "shop", AppID: shop.AppID, OriginalID: "gh_shop", Kind: codec.KindService, Format: codec.FormatXML,
	Mode: codec.ModeSecure, Token: "shoptoken", EncodingAESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"}

type world struct {
	*simulator.Service
	t       *testing.T
	gateway *gatewaytest.Gateway
	url     string
	client  *http.Client
}

func newWorld(t *testing.T, change ...func(*simulator.Config)) *world {
	t.Helper()
	w := &world{t: t, gateway: gatewaytest.New(wireShop), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	var targets []string
	for range 3 {
		server := httptest.NewServer(w.gateway)
		t.Cleanup(server.Close)
		targets = append(targets, server.URL)
	}
	cfg := simulator.DefaultConfig()
	cfg.Targets, cfg.JobDelay = targets, 0
	for _, f := range change {
		f(&cfg)
	}
	service, err := simulator.New(cfg, simulator.Deps{Accounts: []account.Account{shop}})
	require.NoError(t, err)
	w.Service = service
	require.NoError(t, service.Start(t.Context()))
	server := httptest.NewServer(service.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		require.NoError(t, service.Stop(context.Background()))
		require.NoError(t, service.Stop(context.Background()), "stopping twice is allowed")
	})
	w.url = server.URL
	return w
}

// do makes a call and decodes its JSON answer.
func (w *world) do(method, path string, body any) (int, map[string]any) {
	w.t.Helper()
	data, err := json.Marshal(body)
	require.NoError(w.t, err)
	status, text, _ := w.raw(method, path, data)
	var out map[string]any
	if !strings.HasPrefix(text, "[") {
		require.NoError(w.t, json.Unmarshal([]byte(text), &out), text)
	}
	return status, out
}

func (w *world) raw(method, path string, body []byte) (int, string, http.Header) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, bytes.NewReader(body))
	require.NoError(w.t, err)
	resp, err := w.client.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return resp.StatusCode, string(text), resp.Header
}

// kf sends a kf message as the sender would.
func (w *world) kf(to, text string) int {
	w.t.Helper()
	_, token := w.do(http.MethodPost, "/cgi-bin/stable_token", map[string]any{"grant_type": "client_credential", "appid": shop.AppID, "secret": "shop-secret"})
	_, answer := w.do(http.MethodPost, "/cgi-bin/message/custom/send?access_token="+token["access_token"].(string),
		map[string]any{"touser": to, "msgtype": "text", "text": map[string]string{"content": text}})
	return int(answer["errcode"].(float64))
}

func (w *world) read(context.Context) (simulator.StoredSet, error) { return w.gateway.Stored(), nil }

var plan = simulator.Plan{Rate: 1000, Count: 120, Fans: 10}

func TestARightGatewayPasses(t *testing.T) {
	w := newWorld(t)
	r, err := w.Load(t.Context(), plan, nil, w.read)
	require.NoError(t, err)
	require.True(t, r.Clean(), r.Text())
	require.EqualValues(t, 120, r.Acked)
	require.EqualValues(t, 120, r.Answered)
	require.EqualValues(t, 120, r.Passive)
	require.Len(t, r.Replicas, 3, "every replica was used")
}

func TestARightGatewayPassesUnderFaults(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.SetFaults(simulator.FaultScript{Rules: []simulator.FaultRule{
		{On: "push", Kind: "drop", Rate: 0.2}, {On: "push", Kind: "duplicate", Copies: 3, Rate: 0.2}, {On: "push", Kind: "retry_answered", Rate: 0.2}}}))
	r, err := w.Load(t.Context(), plan, nil, w.read)
	require.NoError(t, err)
	require.Empty(t, r.Violations, r.Text())
	require.Greater(t, r.Outcomes["dropped"], uint64(0))
	require.EqualValues(t, r.Answered+r.Prompts, 120, "a push lost three times shows the prompt")
}

// later answers with "success" and sends the reply as a kf message in the background.
type later struct {
	w  *world
	wg sync.WaitGroup
}

func (l *later) send(m gatewaytest.Message, text string) {
	l.wg.Go(func() { l.w.kf(m.FromUserName, text) })
}

func TestWrongGatewaysAreCaught(t *testing.T) {
	number := func(m gatewaytest.Message) bool { return m.Content == "k0003" } // the last text of each fan
	tests := []struct {
		name  string
		class string
		wrong func(w *world, l *later)
	}{
		{"answers passively and by kf too", simulator.ReplySeenTwice, func(w *world, l *later) {
			w.gateway.Answer = func(m gatewaytest.Message) []byte {
				if number(m) {
					l.send(m, "re:"+m.Content)
				}
				return gatewaytest.Echo(m)
			}
		}},
		{"acknowledges without storing", simulator.AckedNotStored, func(w *world, _ *later) { w.gateway.Forget = number }},
		{"answers JSON in an XML account", simulator.Malformed, func(w *world, _ *later) {
			w.gateway.Raw = func(rw http.ResponseWriter, _ *http.Request, m gatewaytest.Message) bool {
				if number(m) {
					_, _ = io.WriteString(rw, `{"errcode":0}`)
				}
				return number(m)
			}
		}},
		{"does not encrypt", simulator.Malformed, func(w *world, _ *later) {
			w.gateway.Raw = func(rw http.ResponseWriter, _ *http.Request, m gatewaytest.Message) bool {
				_, _ = rw.Write(gatewaytest.Echo(m))
				return true
			}
		}},
		{"mixes up fans", simulator.WrongRecipient, func(w *world, _ *later) {
			w.gateway.Answer = func(m gatewaytest.Message) []byte {
				if number(m) {
					m.FromUserName = "oLoad999999"
				}
				return gatewaytest.Echo(m)
			}
		}},
		{"sends more than the window allows", simulator.KfOverCount, func(w *world, l *later) {
			w.gateway.Answer = func(m gatewaytest.Message) []byte {
				if number(m) {
					for range 6 {
						l.send(m, "advertisement")
					}
				}
				return gatewaytest.Echo(m)
			}
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			l := &later{w: w}
			tc.wrong(w, l)
			wrong := plan
			wrong.Fans, wrong.Settle = 40, simulator.Duration(100*time.Millisecond)
			_, err := w.Load(t.Context(), wrong, nil, w.read)
			require.NoError(t, err)
			l.wg.Wait()
			r := w.Report(t.Context(), w.read)
			require.NotZero(t, r.Count(tc.class), r.Text())
			require.False(t, r.Clean())
		})
	}
}

func TestAGatewayThatInvertsTheOrderIsCaught(t *testing.T) {
	w := newWorld(t)
	w.gateway.Answer = func(gatewaytest.Message) []byte { return nil }
	for _, k := range []string{"k0001", "k0002"} {
		_, err := w.Push(t.Context(), simulator.Push{Account: "shop", OpenID: fan, Type: "text", Fields: map[string]any{"Content": k}})
		require.NoError(t, err)
	}
	require.Zero(t, w.kf(fan, "re:k0002"))
	require.Zero(t, w.kf(fan, "re:k0001"))
	require.EqualValues(t, 1, w.Report(t.Context(), w.read).Count(simulator.OutOfOrder))
}

func TestALoadRunWithoutAReaderIsNotClean(t *testing.T) {
	w := newWorld(t)
	r, err := w.Load(t.Context(), plan, nil, nil)
	require.NoError(t, err)
	require.Empty(t, r.Violations)
	require.False(t, r.Clean())
	require.Contains(t, r.Text(), "CHECKER INCOMPLETE")
}

func TestTwoVirtualRunsAreAlike(t *testing.T) {
	run := func() (string, []simulator.Entry) {
		w := newWorld(t, func(c *simulator.Config) { c.Clock, c.Seed = simulator.ClockVirtual, 42 })
		result, err := w.Push(t.Context(), simulator.Push{Account: "shop", OpenID: fan, Type: "image"})
		require.NoError(t, err)
		w.Advance(time.Hour)
		f, ok := w.Fan("shop", fan)
		require.True(t, ok)
		log := w.gateway.Log()[0]
		return fmt.Sprint(result.Push.MsgID, log.Query, string(log.Raw), w.Fans("shop")[0].OpenID, w.Now()), f.Timeline
	}
	first, screen := run()
	again, screen2 := run()
	require.Equal(t, first, again)
	require.Equal(t, screen, screen2)
}

func TestJobResultsAndSessionsArePushed(t *testing.T) {
	w := newWorld(t)
	_, err := w.Push(t.Context(), simulator.Push{Account: "shop", OpenID: fan, Type: "text"})
	require.NoError(t, err)
	require.Zero(t, w.AcceptNative("shop", fan, ""))
	require.Zero(t, w.CloseNative("shop", fan))
	require.Eventually(t, func() bool {
		var names []string
		for _, m := range w.gateway.Log() {
			names = append(names, m.Event)
		}
		all := strings.Join(names, " ")
		return strings.Contains(all, "kf_create_session") && strings.Contains(all, "kf_close_session")
	}, 30*time.Second, time.Millisecond)
}

func TestSilentSessionsEnd(t *testing.T) {
	w := newWorld(t, func(c *simulator.Config) { c.Clock = simulator.ClockVirtual })
	_, err := w.Push(t.Context(), simulator.Push{Account: "shop", OpenID: fan, Type: "text"})
	require.NoError(t, err)
	require.Zero(t, w.AcceptNative("shop", fan, ""))
	require.Eventually(t, func() bool {
		w.Advance(time.Minute)
		f, _ := w.Fan("shop", fan)
		return f.Session.State == ""
	}, 30*time.Second, time.Millisecond)
}

func TestConfigProblemsAreNamed(t *testing.T) {
	cfg := simulator.DefaultConfig()
	require.NoError(t, cfg.Validate())
	cfg.Listen, cfg.Clock, cfg.Attempts, cfg.AttemptTimeout, cfg.AskPattern, cfg.RetryPause = "x", "sun", 0, 0, "k", -1
	for _, text := range []string{"listen:", "clock:", "attempts:", "attempt_timeout:", "ask_pattern:", "retry_pause:"} {
		require.ErrorContains(t, cfg.Validate(), text)
	}
	_, err := simulator.New(cfg, simulator.Deps{})
	require.Error(t, err)
	cfg = simulator.DefaultConfig()
	cfg.Targets = []string{"http://example.com"}
	_, err = simulator.New(cfg, simulator.Deps{})
	require.ErrorContains(t, err, "simulator.allow_remote")
}

func TestFaultFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "faults.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"rules":[{"on":"push","kind":"drop","attempts":[1]}]}`), 0o600))
	w := newWorld(t, func(c *simulator.Config) { c.FaultFile = file })
	result, err := w.Push(t.Context(), simulator.Push{Account: "shop", OpenID: fan, Type: "text"})
	require.NoError(t, err)
	require.Len(t, result.Push.Attempts, 2)

	cfg := simulator.DefaultConfig()
	cfg.FaultFile = "no-such-file"
	_, err = simulator.New(cfg, simulator.Deps{})
	require.ErrorContains(t, err, "fault_file")
}

func TestWriteRules(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, simulator.DefaultConfig().WriteRules(&b, 2, ""))
	require.Contains(t, b.String(), `do: [{reply: {text: "re:k0002"}}]`)
}
