package api

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
)

// Limit bounds the calls of one API path; 0 means no bound.
type Limit struct {
	Daily  int `yaml:"daily" json:"daily" desc:"calls per day, China time; 0 is unlimited"`
	Minute int `yaml:"minute" json:"minute" desc:"calls per minute; 0 is unlimited"`
}

// defaultLimits are the limits of a verified account (f.5).
func defaultLimits() map[string]Limit {
	return map[string]Limit{
		"/cgi-bin/token":                  {Daily: 2000},
		"/cgi-bin/stable_token":           {Daily: 500_000, Minute: 10_000},
		"/cgi-bin/message/custom/send":    {Daily: 500_000},
		"/cgi-bin/message/custom/typing":  {Daily: 500_000},
		"/cgi-bin/message/template/send":  {Daily: 100_000},
		"/cgi-bin/message/subscribe/send": {Daily: 10_000_000},
		"/cgi-bin/message/mass/sendall":   {Daily: 100, Minute: 60},
		"/cgi-bin/message/mass/send":      {Daily: 100, Minute: 60},
		"/cgi-bin/message/mass/preview":   {Daily: 100},
		"/cgi-bin/menu/create":            {Daily: 1000},
		"/cgi-bin/menu/get":               {Daily: 10_000},
		"/cgi-bin/menu/delete":            {Daily: 1000},
		"/cgi-bin/media/upload":           {Daily: 100_000},
		"/cgi-bin/media/get":              {Daily: 200_000},
		"/cgi-bin/qrcode/create":          {Daily: 100_000},
		"/cgi-bin/user/get":               {Daily: 500},
		"/cgi-bin/user/info":              {Daily: 5_000_000},
		"/cgi-bin/user/info/updateremark": {Daily: 10_000},
		"/cgi-bin/tags/create":            {Daily: 1000},
	}
}

var china = time.FixedZone("UTC+8", 8*3600)

func chinaDay(t time.Time) string { return t.In(china).Format(time.DateOnly) }

// quota counts the calls of one account.
type quota struct {
	limits  map[string]Limit
	day     string
	used    map[string]int
	minutes map[string]minute
	month   string
	clears  int

	pathMonth  string // of openapi/quota/clear
	pathClears int
}

type minute struct {
	start time.Time
	calls int
}

const clearsPerMonth, pathClearsPerMonth = 10, 50

func newQuota(own map[string]Limit) quota {
	limits := defaultLimits()
	maps.Copy(limits, own)
	return quota{limits: limits, used: map[string]int{}, minutes: map[string]minute{}}
}

// take counts a call, or refuses it with 45009 or 45011.
func (q *quota) take(path string, now time.Time) error {
	if day := chinaDay(now); day != q.day {
		q.day = day
		clear(q.used)
	}
	limit := q.limits[path]
	if limit.Daily > 0 && q.used[path] >= limit.Daily {
		return code(45009)
	}
	if limit.Minute > 0 {
		m := q.minutes[path]
		if now.Sub(m.start) >= time.Minute {
			m = minute{start: now}
		}
		if m.calls >= limit.Minute {
			return code(45011)
		}
		m.calls++
		q.minutes[path] = m
	}
	q.used[path]++
	return nil
}

// clearQuota is POST /cgi-bin/clear_quota: ten times a month.
func clearQuota(c *call) (any, error) {
	var b struct {
		AppID string `json:"appid"`
	}
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if b.AppID != c.st.AppID {
		return nil, code(40013)
	}
	q := &c.st.quota
	if month := c.now.In(china).Format("2006-01"); month != q.month {
		q.month, q.clears = month, 0
	}
	if q.clears >= clearsPerMonth {
		return nil, code(48006)
	}
	q.clears++
	clear(q.used)
	return done, nil
}

// quotaGet is POST /cgi-bin/openapi/quota/get.
func quotaGet(c *call) (any, error) {
	var b struct {
		Path string `json:"cgi_path"`
	}
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if _, ok := c.routes[b.Path]; !ok {
		return nil, code(76021)
	}
	if slices.Contains(c.st.opts.Denied, b.Path) {
		return nil, code(76022)
	}
	q := &c.st.quota
	limit, used := q.limits[b.Path], q.used[b.Path]
	left := limit.Daily - used
	if limit.Daily == 0 {
		left = 0
	}
	return object{"errcode": 0, "errmsg": "ok", "quota": object{"daily_limit": limit.Daily, "used": used, "remain": left},
		"rate_limit": object{"call_count": limit.Minute, "refresh_second": 60}}, nil
}

// quotaClear is POST /cgi-bin/openapi/quota/clear: one path, fifty times a month.
func quotaClear(c *call) (any, error) {
	var b struct {
		Path string `json:"cgi_path"`
	}
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if _, ok := c.routes[b.Path]; !ok {
		return nil, code(76021)
	}
	q := &c.st.quota
	if month := c.now.In(china).Format("2006-01"); month != q.pathMonth {
		q.pathMonth, q.pathClears = month, 0
	}
	if q.pathClears >= pathClearsPerMonth {
		return nil, code(48006)
	}
	q.pathClears++
	delete(q.used, b.Path)
	return done, nil
}

// SetLimit changes the limit of one path, for tests of quotas. It reports whether account and path exist.
func (s *Server) SetLimit(name, path string, l Limit) bool {
	st := s.byName[name]
	if _, ok := s.routes[path]; st == nil || !ok {
		return false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.quota.limits[path] = l
	return true
}

func quotaRoutes(m map[string]endpoint) {
	m["/cgi-bin/clear_quota"] = endpoint{method: http.MethodPost, run: clearQuota}
	m["/cgi-bin/openapi/quota/get"] = endpoint{method: http.MethodPost, run: quotaGet}
	m["/cgi-bin/openapi/quota/clear"] = endpoint{method: http.MethodPost, run: quotaClear}
	m["/cgi-bin/openapi/rid/get"] = endpoint{method: http.MethodPost, run: func(*call) (any, error) { return nil, &codec.RefusedError{Code: 76001, Detail: "rid not found"} }}
}
