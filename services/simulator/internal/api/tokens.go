package api

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Numbers of f.1.
const (
	tokenLife     = 7200 * time.Second
	tokenOverlap  = 5 * time.Minute // how long the token before a renewal stays valid
	forcePerDay   = 20
	forceInterval = 30 * time.Second
	keepTokens    = 64
)

// tokens are the access tokens of one account: two families that do not touch each other.
type tokens struct {
	known   map[string]*token
	order   []string
	minted  uint64
	legacy  string // newest of /cgi-bin/token
	stable  string // newest of /cgi-bin/stable_token
	forced  time.Time
	forces  int
	forceAt string // day of forces
}

type token struct {
	expires time.Time
	dead    int // errcode since the token was replaced; 0 while it is only bounded by time
	deadAt  time.Time
}

func newTokens() tokens { return tokens{known: map[string]*token{}} }

var tokenText = regexp.MustCompile(`^[0-9]+_[A-Za-z0-9_-]{20,510}$`)

func looksLikeToken(s string) bool { return tokenText.MatchString(s) }

// check returns the errcode of a token (f.2).
func (t *tokens) check(text string, now time.Time) error {
	k := t.known[text]
	switch {
	case !looksLikeToken(text):
		return code(40014)
	case k == nil:
		return code(40001)
	case k.dead != 0 && !now.Before(k.deadAt):
		return code(k.dead)
	case !now.Before(k.expires):
		return code(42001)
	}
	return nil
}

// end makes a token invalid from a time on.
func (t *tokens) end(text string, at time.Time, errCode int) {
	if k := t.known[text]; k != nil && (k.dead == 0 || at.Before(k.deadAt)) {
		k.dead, k.deadAt = errCode, at
	}
}

func (c *call) mint() string { return c.st.mint(c.Server, c.now) }

func (st *account) mint(s *Server, now time.Time) string {
	t := &st.tokens
	t.minted++
	text := strconv.Itoa(st.index) + "_" + s.deps.Dice.Text(134, "token", uint64(st.index), t.minted, uint64(now.UnixMilli()))
	t.known[text] = &token{expires: now.Add(tokenLife)}
	t.order = append(t.order, text)
	if len(t.order) > keepTokens {
		delete(t.known, t.order[0])
		t.order = slices.Delete(t.order, 0, 1)
	}
	return text
}

// getToken is GET /cgi-bin/token: a new token each time, the one before lives on for five minutes.
func getToken(c *call) (any, error) {
	q := c.query
	if err := c.credentials(q.Get("grant_type"), q.Get("appid"), q.Get("secret")); err != nil {
		return nil, err
	}
	t := &c.st.tokens
	t.end(t.legacy, c.now.Add(tokenOverlap), 40001)
	t.legacy = c.mint()
	return object{"access_token": t.legacy, "expires_in": int(tokenLife.Seconds())}, nil
}

// stableToken is POST /cgi-bin/stable_token.
func stableToken(c *call) (any, error) {
	var b struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if err := c.credentials(b.GrantType, b.AppID, b.Secret); err != nil {
		return nil, err
	}
	t := &c.st.tokens
	if b.ForceRefresh {
		if err := t.force(c.now); err != nil {
			return nil, err
		}
		t.end(t.stable, c.now, 40001)
		t.stable = c.mint()
	}
	left := t.left(t.stable, c.now)
	if left <= tokenOverlap {
		t.stable = c.mint() // the one before stays valid until its own end
		left = tokenLife
	}
	return object{"access_token": t.stable, "expires_in": int(left.Seconds())}, nil
}

// left is how long a token is still valid.
func (t *tokens) left(text string, now time.Time) time.Duration {
	k := t.known[text]
	if k == nil || t.check(text, now) != nil {
		return 0
	}
	return k.expires.Sub(now)
}

// force takes one of the forced refreshes of the day.
func (t *tokens) force(now time.Time) error {
	if day := chinaDay(now); day != t.forceAt {
		t.forceAt, t.forces = day, 0
	}
	switch {
	case t.forces >= forcePerDay:
		return code(45009)
	case !t.forced.IsZero() && now.Sub(t.forced) < forceInterval:
		return code(45011)
	}
	t.forces++
	t.forced = now
	return nil
}

// credentials checks what a token call must carry, takes its quota and finds the account.
func (c *call) credentials(grant, appID, secret string) error {
	switch {
	case appID == "":
		return code(41002)
	case secret == "":
		return code(41004)
	case grant != "client_credential":
		return code(40002)
	case c.byAppID[appID] == nil || c.st == nil || c.st.AppID != appID:
		return code(40013)
	case c.st.AppSecret != secret:
		return code(40125)
	}
	if err := c.allowAddress(); err != nil {
		return err
	}
	return c.st.quota.take(c.path, c.now)
}

// Invalidate plays another system that refreshes the account's tokens: every token we gave out dies at once with errCode
// (40001, 40014 or 42001), and stable_token answers with one that nobody here has seen. It reports whether the account exists.
func (s *Server) Invalidate(name string, errCode int) bool {
	st := s.byName[name]
	if st == nil {
		return false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	now := s.deps.Clock.Now()
	for _, text := range slices.Sorted(maps.Keys(st.tokens.known)) {
		st.tokens.end(text, now, errCode)
	}
	if st.tokens.stable != "" {
		st.tokens.stable = st.mint(s, now)
	}
	st.tokens.legacy = ""
	return true
}

// TokenState is what the simulator knows about an account's tokens.
type TokenState struct {
	Minted uint64 `json:"minted"`
	Forced int    `json:"forced_today"`
}

// Tokens returns the state of an account's tokens.
func (s *Server) Tokens(name string) TokenState {
	st := s.byName[name]
	if st == nil {
		return TokenState{}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return TokenState{Minted: st.tokens.minted, Forced: st.tokens.forces}
}

type ticket struct {
	text    string
	expires time.Time
}

// getTicket is GET /cgi-bin/ticket/getticket (f.3): the same ticket until it expires.
func getTicket(c *call) (any, error) {
	typ := c.query.Get("type")
	if typ != "jsapi" && typ != "wx_card" {
		return nil, code(40097)
	}
	t := c.st.tickets[typ]
	if !c.now.Before(t.expires) {
		t = ticket{text: c.deps.Dice.Text(86, "ticket "+typ, uint64(c.st.index), uint64(c.now.UnixMilli())), expires: c.now.Add(tokenLife)}
		c.st.tickets[typ] = t
	}
	return object{"errcode": 0, "errmsg": "ok", "ticket": t.text, "expires_in": int(t.expires.Sub(c.now).Seconds())}, nil
}

func tokenRoutes(m map[string]endpoint) {
	m["/cgi-bin/token"] = endpoint{method: http.MethodGet, open: true, run: getToken}
	m["/cgi-bin/stable_token"] = endpoint{method: http.MethodPost, open: true, run: stableToken}
	m["/cgi-bin/ticket/getticket"] = endpoint{method: http.MethodGet, run: getTicket}
}
