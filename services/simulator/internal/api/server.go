// Package api is the simulated api.weixin.qq.com: tokens, quotas, messages, media, menus, users and customer service
// (protocol facts sheet e, f, g). Like the real one it answers HTTP 200 to nearly everything; errcode tells.
package api

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/faults"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

// Config tunes the API.
type Config struct {
	PublicURL string             // base of the URLs of media
	JobDelay  time.Duration      // from a template or mass send to its result event
	Accounts  map[string]Options // by account name; missing accounts have the defaults
}

// Options are the settings of one account that WeChat's console has.
type Options struct {
	IPWhitelist []string         `yaml:"ip_whitelist" desc:"addresses that may call the API; empty means any"`
	KfAccounts  []string         `yaml:"kf_accounts" desc:"agents of WeChat's own customer service, all online; default: two"`
	Templates   []string         `yaml:"templates" desc:"known template ids; empty means any"`
	Limits      map[string]Limit `yaml:"limits" desc:"call limits by API path, replacing the usual ones"`
	Denied      []string         `yaml:"denied" desc:"API paths that the account has no permission for; they answer 48001"`
	CallbackIPs []string         `yaml:"callback_ips" desc:"what getcallbackip answers; default: loopback addresses"`
	NoCallback  bool             `yaml:"no_callback" desc:"WeChat's console has no server address: callback/check answers 40201"`
	NoMenu      bool             `yaml:"no_menu" desc:"start without the demo menu"`
}

// Deps are what a Server works with.
type Deps struct {
	Clock    *clock.Clock
	Dice     clock.Dice
	Ledger   *ledger.Ledger
	Faults   *faults.Engine
	Accounts []codec.Account
	// Later pushes an event of WeChat's own accord after a delay. It reports false when that is not possible.
	Later func(delay time.Duration, account, openID, event string, fields map[string]any) bool
	// After runs a job after a delay. It reports false when that is not possible.
	After func(delay time.Duration, job func()) bool
}

// Server is the http.Handler of the API. It is safe for concurrent use.
type Server struct {
	cfg      Config
	deps     Deps
	accounts []*account
	byName   map[string]*account
	byAppID  map[string]*account
	routes   map[string]endpoint
	closing  chan struct{}
	close    sync.Once
}

// account is the state of one account. mu guards everything below it.
type account struct {
	codec.Account
	index int
	opts  Options

	mu      sync.Mutex
	tokens  tokens
	quota   quota
	tickets map[string]ticket
	media   mediaStore
	menu    json.RawMessage
	jobs    jobs
	tags    []tag
	nextTag int
	agents  []agent
	codes   map[string]time.Time // sns codes used
	calls   uint64               // for rid
}

// New returns the API of the accounts.
func New(cfg Config, deps Deps) *Server {
	s := &Server{cfg: cfg, deps: deps, byName: map[string]*account{}, byAppID: map[string]*account{}, closing: make(chan struct{})}
	for i, a := range deps.Accounts {
		st := &account{Account: a, index: i + 1, opts: cfg.Accounts[a.Name]}
		s.accounts = append(s.accounts, st)
		s.byName[a.Name], s.byAppID[a.AppID] = st, st
	}
	s.routes = routes()
	s.Reset()
	return s
}

// Reset forgets tokens, media, menus, jobs and counts of every account.
func (s *Server) Reset() {
	for _, st := range s.accounts {
		st.mu.Lock()
		st.tokens, st.quota, st.tickets = newTokens(), newQuota(st.opts.Limits), map[string]ticket{}
		st.media, st.jobs = newMediaStore(), newJobs()
		st.menu = nil
		if !st.opts.NoMenu && !st.IsMiniProgram() {
			st.menu = json.RawMessage(demoMenu)
		}
		st.tags, st.nextTag = []tag{{ID: 2, Name: "星标组"}}, 100
		st.agents = newAgents(st.Account, st.opts.KfAccounts)
		st.codes = map[string]time.Time{}
		st.mu.Unlock()
	}
}

// Close ends the calls that hang by the fault script. It may be called twice.
func (s *Server) Close() { s.close.Do(func() { close(s.closing) }) }

// endpoint is one API path.
type endpoint struct {
	method string // "" means any
	open   bool   // needs no access_token
	run    func(*call) (any, error)
}

// call is one API call under way. st is locked while it runs.
type call struct {
	*Server
	st    *account // nil for open endpoints until they know it
	r     *http.Request
	path  string
	query url.Values
	body  []byte
	now   time.Time
}

// answer is what a call returns to the client.
type answer struct {
	status      int
	contentType string
	disposition string
	body        []byte
	errCode     int
}

// raw is an answer that is not JSON.
type raw struct {
	contentType, disposition string
	body                     []byte
}

const (
	maxBody   = 1 << 20
	maxUpload = 12 << 20
)

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.deps.Clock.Now()
	ep, known := s.routes[r.URL.Path]
	if !known {
		http.NotFound(w, r)
		return
	}
	c := &call{Server: s, r: r, path: r.URL.Path, query: r.URL.Query(), now: start}
	c.st = s.owner(c.query)
	if err := c.read(); err != nil {
		s.write(w, answer{status: http.StatusRequestEntityTooLarge, contentType: "text/plain", body: []byte("body too large")})
		return
	}
	if c.st == nil {
		c.st = s.bodyOwner(c.body)
	}
	hit := s.deps.Faults.API(c.name(), c.path)
	if s.pause(r, hit.Delay) != nil {
		return
	}
	if hit.Kind != "" {
		s.strike(w, c, ep, hit, start)
		return
	}
	a := c.answer(ep)
	s.deps.Ledger.Called(c.name(), c.path, a.errCode, "", s.deps.Clock.Now().Sub(start))
	s.write(w, a)
}

func (c *call) read() error {
	limit := int64(maxBody)
	if strings.HasPrefix(c.r.Header.Get("Content-Type"), "multipart/") {
		limit = maxUpload
	}
	var err error
	c.body, err = io.ReadAll(http.MaxBytesReader(nil, c.r.Body, limit))
	return err
}

func (c *call) name() string {
	if c.st == nil {
		return ""
	}
	return c.st.Name
}

// answer runs the call. It never panics on what a client sent; errors other than a RefusedError do not exist.
func (c *call) answer(ep endpoint) answer {
	if c.st != nil {
		c.st.mu.Lock()
		defer c.st.mu.Unlock()
	}
	v, err := c.run(ep)
	if err != nil {
		return c.refusal(err)
	}
	switch x := v.(type) {
	case raw:
		return answer{status: http.StatusOK, contentType: x.contentType, disposition: x.disposition, body: x.body}
	case withCode:
		return answer{status: http.StatusOK, contentType: jsonType, body: encode(x.fields), errCode: x.code}
	default:
		return answer{status: http.StatusOK, contentType: jsonType, body: encode(v)}
	}
}

func (c *call) run(ep endpoint) (any, error) {
	if ep.method != "" && c.r.Method != ep.method {
		if ep.method == http.MethodGet {
			return nil, code(43001)
		}
		return nil, code(43002)
	}
	if !ep.open {
		if err := c.authorise(); err != nil {
			return nil, err
		}
		if slices.Contains(c.st.opts.Denied, c.path) {
			return nil, code(48001)
		}
		if err := c.st.quota.take(c.path, c.now); err != nil {
			return nil, err
		}
	}
	return ep.run(c)
}

// authorise checks address and token of a call.
func (c *call) authorise() error {
	token := c.query.Get("access_token")
	if token == "" {
		return code(41001)
	}
	if c.st == nil {
		if looksLikeToken(token) {
			return code(40001)
		}
		return code(40014)
	}
	if err := c.allowAddress(); err != nil {
		return err
	}
	return c.st.tokens.check(token, c.now)
}

func (c *call) allowAddress() error {
	if len(c.st.opts.IPWhitelist) == 0 {
		return nil
	}
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		host = c.r.RemoteAddr
	}
	for _, ip := range c.st.opts.IPWhitelist {
		if ip == host {
			return nil
		}
	}
	return &codec.RefusedError{Code: 40164, Detail: "invalid ip " + host + ", not in whitelist"}
}

// owner finds the account of a call by its token, or by its appid; the token need not be valid.
func (s *Server) owner(q url.Values) *account {
	if index, _, ok := strings.Cut(q.Get("access_token"), "_"); ok {
		if i, err := strconv.Atoi(index); err == nil && i >= 1 && i <= len(s.accounts) {
			return s.accounts[i-1]
		}
		return nil
	}
	return s.byAppID[q.Get("appid")]
}

// bodyOwner finds the account of calls that name their appid in the body.
func (s *Server) bodyOwner(body []byte) *account {
	var b struct {
		AppID string `json:"appid"`
	}
	if json.Unmarshal(body, &b) != nil {
		return nil
	}
	return s.byAppID[b.AppID]
}
