//go:build bench

package bench

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
	"github.com/wxbus/wxbus/tests/stack"
)

var (
	scaleDir  = flag.String("scale-dir", "", "`folder` for the JSON and the plot of this run, and where the last one is")
	scaleRate = flag.Float64("scale-rate", 400, "pushes per second of each cell")
	scaleTime = flag.Duration("scale-time", 8*time.Second, "how long each cell is measured")
	fansRate  = flag.Float64("fans-rate", 4000, "pushes per second of the cells with one push for each fan")
	fansCount = flag.Int("fans", 1_000_000, "fans, and so pushes, of the largest of these cells")
)

// TestScale measures how the cost of a push changes with gateways, accounts, fans and the size of the body, in an open
// loop, beside three baselines in the same run.
func TestScale(t *testing.T) {
	run := Scale{Rate: *scaleRate, Seconds: scaleTime.Seconds(), Go: runtime.Version(), Cores: runtime.NumCPU(), At: time.Now().UTC().Truncate(time.Second)}
	s := stack.StartGateways(t, scaleConfig(1), 3)
	nats := s.Servers[0]
	usual := load{accounts: 1, fans: 1000, body: 1 << 10}.lasting(*scaleTime, *scaleRate)
	// The NATS of the publishing baseline is that of the gateways.
	for _, b := range []struct {
		name string
		args []string
		more []*stack.Process
	}{
		{"bare net/http", nil, nil},
		{"synchronous publish", []string{"-publish", s.NATS[0]}, []*stack.Process{nats}},
		{"reply in process", []string{"-reply"}, nil},
	} {
		p := stack.StartBare(t, s, b.args...)
		run.Cells = append(run.Cells, usual.measure(t, b.name, []string{p.URL}, append([]*stack.Process{p.Process}, b.more...)))
	}
	gateways := func(n int) (urls []string, ps []*stack.Process) {
		for _, g := range s.Gateways[:n] {
			urls, ps = append(urls, g.URL), append(ps, g.Process)
		}
		return urls, append(ps, nats)
	}
	for _, n := range []int{1, 2, 3} {
		urls, ps := gateways(n)
		run.Cells = append(run.Cells, usual.measure(t, fmt.Sprintf("%d gateways", n), urls, ps))
	}
	urls, ps := gateways(1)
	for _, kb := range []int{4, 16, 64} {
		l := usual
		l.body = kb << 10
		run.Cells = append(run.Cells, l.measure(t, fmt.Sprintf("body %d KB", kb), urls, ps))
	}
	for _, n := range []int{100, 1000} {
		many := stack.StartGateways(t, scaleConfig(n), 1)
		l := usual
		l.accounts = n
		run.Cells = append(run.Cells, l.measure(t, fmt.Sprintf("%d accounts", n), []string{many.Gateways[0].URL}, []*stack.Process{many.Gateways[0].Process, many.Servers[0]}))
	}
	run.Cells = append(run.Cells, fanCells(t, s)...)
	t.Logf("\n%s", run.Table())
	keep(t, run)
}

// fanCells measures a gateway and its NATS while ever more fans write: at a rate of its own, with a bare handler at that
// rate, because a million fans need a million pushes.
func fanCells(t *testing.T, s *stack.Stack) []Cell {
	g := s.Gateways[0]
	few := load{accounts: 1, fans: 1000, body: 1 << 10}.lasting(*scaleTime, *fansRate)
	bare := stack.StartBare(t, s)
	name := func(what string) string { return fmt.Sprintf("%s, %g/s", what, *fansRate) }
	cells := []Cell{few.measure(t, name("bare net/http"), []string{bare.URL}, []*stack.Process{bare.Process})}
	ps := []*stack.Process{g.Process, s.Servers[0]}
	cells = append(cells, few.measure(t, name("1 000 fans"), []string{g.URL}, ps))
	many := few
	many.fans, many.count = *fansCount, *fansCount
	cells = append(cells, many.measure(t, name(fmt.Sprintf("%d fans, a push each", *fansCount)), []string{g.URL}, ps))
	for i := range cells {
		cells[i].Rate = *fansRate
	}
	return cells
}

// keep compares with the last run of the folder and takes its place.
func keep(t *testing.T, run Scale) {
	t.Helper()
	if *scaleDir == "" {
		return
	}
	file := filepath.Join(*scaleDir, "scale.json")
	if b, err := os.ReadFile(file); err == nil {
		var last Scale
		require.NoError(t, json.Unmarshal(b, &last))
		for _, worse := range run.Worse(last) {
			t.Logf("worse than on %s: %s", last.At.Format(time.DateOnly), worse)
		}
	}
	b, err := json.MarshalIndent(run, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, append(b, '\n'), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(*scaleDir, "scale.svg"), []byte(run.SVG()), 0o644))
}

func scaleAppID(i int) string { return fmt.Sprintf("wx%016x", 0x5ca1e000+i) }

func scaleConfig(accounts int) map[string]any {
	list := make([]map[string]any, accounts)
	for i := range list {
		list[i] = map[string]any{
			"name": fmt.Sprintf("a%d", i), "appid": scaleAppID(i), "original_id": fmt.Sprintf("gh_a%d", i), "kind": "service", "format": "xml",
			"mode": "secure", "token": token, "encoding_aes_key": aesKey, "app_secret": "bench-secret", "reply": "ack",
		}
	}
	return map[string]any{"accounts": list, "gateway": map[string]any{"max_body": 128 << 10}}
}

// load is what pushes are like, how many there are, and how many of them a second.
type load struct {
	accounts, fans, body, count int
	rate                        float64
}

func (l load) lasting(d time.Duration, rate float64) load {
	l.rate, l.count = rate, int(rate*d.Seconds())
	return l
}

// made counts pushes, so that those of each cell differ.
var made int

func (l load) pushes(t *testing.T, n int) []push {
	t.Helper()
	first := made
	made += n
	ciphers := make([]*wechat.Cipher, l.accounts)
	for i := range ciphers {
		var err error
		ciphers[i], err = wechat.NewCipher(aesKey, scaleAppID(i), rand.Reader)
		require.NoError(t, err)
	}
	text := strings.Repeat("x", max(l.body*3/4-400, 16)) // base64 makes four bytes of three
	now := time.Now().Unix()
	out := make([]push, n)
	for i := range out {
		id, account := first+i, i%l.accounts
		plain := fmt.Sprintf("<xml><ToUserName><![CDATA[gh_a%d]]></ToUserName><FromUserName><![CDATA[oScale%022d]]></FromUserName>"+
			"<CreateTime>%d</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[%s]]></Content><MsgId>%d</MsgId></xml>",
			account, id%l.fans, now, text, 24_000_000_000_000_000+id)
		encrypted, err := ciphers[account].Encrypt([]byte(plain))
		require.NoError(t, err)
		ts, nonce := fmt.Sprint(now), fmt.Sprint(100_000+i)
		q := url.Values{
			"timestamp": {ts}, "nonce": {nonce}, "openid": {"oScale"}, "encrypt_type": {"aes"},
			"signature": {wechat.Sign(token, ts, nonce)}, "msg_signature": {wechat.Sign(token, ts, nonce, encrypted)},
		}
		out[i] = push{
			path: fmt.Sprintf("/wx/a%d?%s", account, q.Encode()),
			body: fmt.Appendf(nil, "<xml><ToUserName><![CDATA[gh_a%d]]></ToUserName><Encrypt><![CDATA[%s]]></Encrypt></xml>", account, encrypted),
		}
	}
	return out
}

// measure warms up and measures one cell.
func (l load) measure(t *testing.T, name string, urls []string, ps []*stack.Process) Cell {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	defer client.CloseIdleConnections()
	openLoop(t, client, urls, l.pushes(t, int(l.rate)), l.rate)
	pushes := l.pushes(t, l.count)
	before := make([]time.Duration, len(ps))
	for i, p := range ps {
		before[i] = cpuTime(t, p.PID())
	}
	took := openLoop(t, client, urls, pushes, l.rate)
	c := Cell{Name: name, Pushes: len(pushes), Body: len(pushes[0].body), CPU: map[string]float64{}}
	for i, p := range ps {
		c.CPU[strings.TrimRight(p.Name, "-0123456789")] += float64(cpuTime(t, p.PID())-before[i]) / float64(time.Microsecond) / float64(len(pushes))
		if i == 0 {
			c.MemoryMB = memoryOf(t, p.PID())
		}
		if strings.HasPrefix(p.Name, "nats") {
			c.NATSMemoryMB = memoryOf(t, p.PID())
		}
	}
	c.P50, c.P99, c.P999 = quantile(took, .5), quantile(took, .99), quantile(took, .999)
	return c
}

// openLoop sends every push at its time, whether or not the former ones were answered, and returns the times in ms
// from that time to the answer: a server that stalls is not asked less often.
func openLoop(t *testing.T, client *http.Client, urls []string, pushes []push, rate float64) []float64 {
	t.Helper()
	took, failed := make([]float64, len(pushes)), make([]string, len(pushes))
	begin := time.Now()
	var all sync.WaitGroup
	for i, p := range pushes {
		due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			<-time.After(wait)
		}
		all.Go(func() {
			resp, err := client.Post(urls[i%len(urls)]+p.path, "text/xml", bytes.NewReader(p.body))
			if err != nil {
				failed[i] = err.Error()
				return
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				failed[i] = fmt.Sprint(resp.Status, err)
			}
			took[i] = float64(time.Since(due)) / float64(time.Millisecond)
		})
	}
	all.Wait()
	for _, f := range failed {
		require.Empty(t, f)
	}
	return took
}

func memoryOf(t *testing.T, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	require.NoError(t, err)
	return float64(pages*os.Getpagesize()) / 1e6
}
