package api

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

// agent is an account of WeChat's own customer service (e.3).
type agent struct {
	name   string
	nick   string
	id     int
	online bool
}

const maxAgents = 100

func newAgents(a codec.Account, names []string) []agent {
	if a.IsMiniProgram() {
		return nil
	}
	if names == nil {
		names = []string{"kf2001@" + a.OriginalID, "kf2002@" + a.OriginalID}
	}
	var out []agent
	for i, n := range names {
		out = append(out, agent{name: n, nick: "客服" + strconv.Itoa(i+1), id: 1001 + i, online: true})
	}
	return out
}

func (st *account) agent(name string) *agent {
	at := slices.IndexFunc(st.agents, func(a agent) bool { return a.name == name })
	if at < 0 {
		return nil
	}
	return &st.agents[at]
}

type kfBody struct {
	KfAccount string `json:"kf_account"`
	Nickname  string `json:"nickname"`
	OpenID    string `json:"openid"`
}

var kfName = regexp.MustCompile(`^[A-Za-z0-9_]{1,10}@[A-Za-z0-9_-]{1,30}$`)

// kfAdd is POST /customservice/kfaccount/add.
func kfAdd(c *call) (any, error) {
	var b kfBody
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	switch {
	case !kfName.MatchString(b.KfAccount):
		return nil, code(65404)
	case c.st.agent(b.KfAccount) != nil:
		return nil, code(65406)
	case b.Nickname == "" || utf8.RuneCountInString(b.Nickname) > 16:
		return nil, code(65403)
	case len(c.st.agents) >= maxAgents:
		return nil, code(65405)
	}
	c.st.agents = append(c.st.agents, agent{name: b.KfAccount, nick: b.Nickname, id: 1001 + len(c.st.agents)})
	return done, nil
}

func kfUpdate(c *call) (any, error) {
	var b kfBody
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	a := c.st.agent(b.KfAccount)
	if a == nil {
		return nil, code(65401)
	}
	a.nick = b.Nickname
	return done, nil
}

func kfDelete(c *call) (any, error) {
	name := c.query.Get("kf_account")
	if c.st.agent(name) == nil {
		return nil, code(65401)
	}
	c.st.agents = slices.DeleteFunc(c.st.agents, func(a agent) bool { return a.name == name })
	return done, nil
}

func kfList(c *call) (any, error) {
	list := []object{}
	for _, a := range c.st.agents {
		list = append(list, object{"kf_account": a.name, "kf_nick": a.nick, "kf_id": strconv.Itoa(a.id), "kf_headimgurl": "", "kf_wx": a.nick})
	}
	return object{"kf_list": list}, nil
}

func kfOnline(c *call) (any, error) {
	busy := map[string]int{}
	for _, s := range c.deps.Ledger.Sessions(c.st.Name, ledger.SessionActive) {
		busy[s.Session.KfAccount]++
	}
	list := []object{}
	for _, a := range c.st.agents {
		if a.online {
			list = append(list, object{"kf_account": a.name, "status": 1, "kf_id": strconv.Itoa(a.id), "accepted_case": busy[a.name]})
		}
	}
	return object{"kf_online_list": list}, nil
}

// sessionCreate is POST /customservice/kfsession/create (e.4).
func sessionCreate(c *call) (any, error) {
	var b kfBody
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if err := code(c.openSession(b.OpenID, b.KfAccount)); err != nil {
		return nil, err
	}
	return done, nil
}

func (c *call) openSession(openID, kf string) int { return c.Server.openSession(c.st, openID, kf) }

func (s *Server) openSession(st *account, openID, kf string) int {
	a := st.agent(kf)
	switch {
	case a == nil:
		return 65401
	case !a.online:
		return 65415
	}
	if n := s.deps.Ledger.OpenSession(st.Name, openID, kf); n != 0 {
		return n
	}
	s.deps.Later(0, st.Name, openID, "kf_create_session", map[string]any{"KfAccount": kf})
	return 0
}

func sessionClose(c *call) (any, error) {
	var b kfBody
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if err := code(c.closeSession(c.st.Name, b.OpenID, b.KfAccount)); err != nil {
		return nil, err
	}
	return done, nil
}

func (s *Server) closeSession(name, openID, kf string) int {
	closed, n := s.deps.Ledger.CloseSession(name, openID, kf)
	if n == 0 {
		s.deps.Later(0, name, openID, "kf_close_session", map[string]any{"KfAccount": closed.KfAccount})
	}
	return n
}

func sessionGet(c *call) (any, error) {
	f, ok := c.deps.Ledger.Fan(c.st.Name, c.query.Get("openid"))
	if !ok {
		return nil, code(40003)
	}
	if f.Session.State != ledger.SessionActive {
		return object{"errcode": 0, "errmsg": "ok", "kf_account": "", "createtime": 0}, nil
	}
	return object{"errcode": 0, "errmsg": "ok", "kf_account": f.Session.KfAccount, "createtime": f.Session.Since.Unix()}, nil
}

func sessionList(c *call) (any, error) {
	list := []object{}
	for _, s := range c.deps.Ledger.Sessions(c.st.Name, ledger.SessionActive) {
		if s.Session.KfAccount == c.query.Get("kf_account") {
			list = append(list, object{"createtime": s.Session.Since.Unix(), "openid": s.OpenID})
		}
	}
	return object{"sessionlist": list}, nil
}

func waitCase(c *call) (any, error) {
	waiting := c.deps.Ledger.Sessions(c.st.Name, ledger.SessionWaiting)
	list := []object{}
	for _, s := range waiting[:min(len(waiting), 100)] {
		list = append(list, object{"latest_time": s.Session.Last.Unix(), "openid": s.OpenID})
	}
	return object{"count": len(waiting), "waitcaselist": list}, nil
}

// AcceptSession plays a native agent who takes a fan; CloseSession one who ends the session. Both push the event
// that WeChat pushes, and return the errcode of the API.
func (s *Server) AcceptSession(name, openID, kf string) int {
	st := s.byName[name]
	if st == nil {
		return 40013
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if kf == "" && len(st.agents) > 0 {
		kf = st.agents[0].name
	}
	return s.openSession(st, openID, kf)
}

// CloseSession ends a native session; an empty kf means whoever serves the fan.
func (s *Server) CloseSession(name, openID, kf string) int {
	if s.byName[name] == nil {
		return 40013
	}
	return s.closeSession(name, openID, kf)
}

// SetOnline changes whether a native agent is there. It reports whether the agent exists.
func (s *Server) SetOnline(name, kf string, online bool) bool {
	st := s.byName[name]
	if st == nil {
		return false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	a := st.agent(kf)
	if a != nil {
		a.online = online
	}
	return a != nil
}

func kfRoutes(m map[string]endpoint) {
	m["/customservice/kfaccount/add"] = endpoint{method: http.MethodPost, run: kfAdd}
	m["/customservice/kfaccount/update"] = endpoint{method: http.MethodPost, run: kfUpdate}
	m["/customservice/kfaccount/del"] = endpoint{run: kfDelete}
	m["/cgi-bin/customservice/getkflist"] = endpoint{method: http.MethodGet, run: kfList}
	m["/cgi-bin/customservice/getonlinekflist"] = endpoint{method: http.MethodGet, run: kfOnline}
	m["/customservice/kfsession/create"] = endpoint{method: http.MethodPost, run: sessionCreate}
	m["/customservice/kfsession/close"] = endpoint{method: http.MethodPost, run: sessionClose}
	m["/customservice/kfsession/getsession"] = endpoint{method: http.MethodGet, run: sessionGet}
	m["/customservice/kfsession/getsessionlist"] = endpoint{method: http.MethodGet, run: sessionList}
	m["/customservice/kfsession/getwaitcase"] = endpoint{method: http.MethodGet, run: waitCase}
}
