package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

const (
	clientMsgLife = 10 * time.Minute // of client_msg_id of template messages
	clientJobLife = 24 * time.Hour   // of clientmsgid of mass sends
	keepJobs      = 10_000
)

// jobs are the sends of an account that have an id.
type jobs struct {
	next    int64
	clients map[string]sentJob // by fan and client_msg_id, or by clientmsgid
	order   []string
	mass    map[int64]*massJob
	period  string         // month, or day for subscription accounts, of monthly
	monthly map[string]int // mass messages in the period by fan; "" counts all
	speed   int
}

type sentJob struct {
	id int64
	at time.Time
}

func newJobs() jobs {
	return jobs{next: 3_147_483_647, clients: map[string]sentJob{}, mass: map[int64]*massJob{}, monthly: map[string]int{}}
}

func (j *jobs) id() int64 {
	j.next++
	return j.next
}

// in starts the counts of mass messages anew with a new period.
func (j *jobs) in(period string) map[string]int {
	if j.period != period {
		j.period = period
		clear(j.monthly)
	}
	return j.monthly
}

// remember keeps the id of a client's own key, bounded.
func (j *jobs) remember(key string, s sentJob) {
	j.clients[key] = s
	j.order = append(j.order, key)
	if len(j.order) > keepJobs {
		delete(j.clients, j.order[0])
		j.order = slices.Delete(j.order, 0, 1)
	}
}

type templateBody struct {
	ToUser      string `json:"touser"`
	TemplateID  string `json:"template_id"`
	URL         string `json:"url"`
	Page        string `json:"page"`
	ClientMsgID string `json:"client_msg_id"`
	MiniProgram struct {
		AppID    string `json:"appid"`
		PagePath string `json:"pagepath"`
	} `json:"miniprogram"`
	Data map[string]struct {
		Value json.RawMessage `json:"value"`
	} `json:"data"`
}

func (b templateBody) content(typ string) codec.Content {
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(b.Data)) {
		lines = append(lines, k+": "+strings.Trim(string(b.Data[k].Value), `"`))
	}
	return codec.Content{Type: typ, Title: b.TemplateID, Text: strings.Join(lines, "\n"), URL: b.URL, AppID: b.MiniProgram.AppID, PagePath: b.MiniProgram.PagePath + b.Page}
}

func (c *call) template(b templateBody) error {
	switch {
	case b.TemplateID == "" || (len(c.st.opts.Templates) > 0 && !slices.Contains(c.st.opts.Templates, b.TemplateID)):
		return code(40037)
	case len(b.Data) == 0:
		return code(47003)
	}
	return nil
}

// sendTemplate is POST /cgi-bin/message/template/send (g.1).
func sendTemplate(c *call) (any, error) {
	var b templateBody
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if c.st.Kind != codec.KindService {
		return nil, code(48001)
	}
	if err := c.template(b); err != nil {
		return nil, err
	}
	key := b.ToUser + " " + b.ClientMsgID
	if s, ok := c.st.jobs.clients[key]; ok && b.ClientMsgID != "" && c.now.Sub(s.at) < clientMsgLife {
		return object{"errcode": 0, "errmsg": "ok", "msgid": s.id}, nil
	}
	if err := code(c.deps.Ledger.CanReceive(c.st.Name, b.ToUser, c.path)); err != nil {
		return nil, err
	}
	id := c.st.jobs.id()
	if b.ClientMsgID != "" {
		c.st.jobs.remember(key, sentJob{id: id, at: c.now})
	}
	name, later, delay := c.st.Name, c.deps.Later, c.cfg.JobDelay
	scheduled := c.deps.After(0, func() {
		status := "failed:user block"
		if c.deps.Ledger.Show(name, b.ToUser, ledger.WayTemplate, b.content("template")) {
			status = "success"
		}
		later(delay, name, b.ToUser, "TEMPLATESENDJOBFINISH", map[string]any{"MsgID": strconv.FormatInt(id, 10), "Status": status})
	})
	if !scheduled {
		return nil, code(-1)
	}
	return object{"errcode": 0, "errmsg": "ok", "msgid": id}, nil
}

// sendSubscribe is POST /cgi-bin/message/subscribe/send of Mini Programs and bizsend of Official Accounts (g.2).
func sendSubscribe(c *call) (any, error) {
	var b templateBody
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if mini := strings.HasSuffix(c.path, "/subscribe/send"); mini != c.st.IsMiniProgram() {
		return nil, code(48001)
	}
	if err := c.template(b); err != nil {
		return nil, err
	}
	if err := code(c.deps.Ledger.UseConsent(c.st.Name, b.ToUser, b.TemplateID)); err != nil {
		return nil, err
	}
	id := strconv.FormatInt(c.st.jobs.id(), 10)
	c.deps.Ledger.Show(c.st.Name, b.ToUser, ledger.WaySubscribe, b.content("subscribe"))
	c.deps.Later(c.cfg.JobDelay, c.st.Name, b.ToUser, "subscribe_msg_sent_event",
		map[string]any{"TemplateId": b.TemplateID, "MsgID": id, "ErrorCode": "0", "ErrorStatus": "success"})
	return object{"errcode": 0, "errmsg": "ok", "msgid": id}, nil
}

// sendOneTime is POST /cgi-bin/message/template/subscribe: one message for one consent, without an id (g.2).
func sendOneTime(c *call) (any, error) {
	var b struct {
		templateBody
		Scene string `json:"scene"`
		Title string `json:"title"`
	}
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if c.st.IsMiniProgram() {
		return nil, code(48001)
	}
	if err := c.template(b.templateBody); err != nil {
		return nil, err
	}
	if _, err := strconv.ParseUint(b.Scene, 10, 16); err != nil || b.Title == "" || len([]rune(b.Title)) > 15 {
		return nil, code(47003)
	}
	if err := code(c.deps.Ledger.UseConsent(c.st.Name, b.ToUser, b.TemplateID)); err != nil {
		return nil, err
	}
	c.deps.Ledger.Show(c.st.Name, b.ToUser, ledger.WaySubscribe, b.content("one_time"))
	return done, nil
}

// known returns the templates of an account: those of its options, or one for demonstrations.
func (c *call) known() []string {
	if len(c.st.opts.Templates) > 0 {
		return c.st.opts.Templates
	}
	return []string{"DEMO-TEMPLATE"}
}

const templateText = "事项：{{thing1.DATA}}\n时间：{{time2.DATA}}"

// listTemplates is GET /cgi-bin/template/get_all_private_template.
func listTemplates(c *call) (any, error) {
	if c.st.Kind != codec.KindService {
		return nil, code(48001)
	}
	list := []object{}
	for _, id := range c.known() {
		list = append(list, object{"template_id": id, "title": "通知 " + id, "primary_industry": "IT科技", "deputy_industry": "互联网", "content": templateText, "example": "事项：发货"})
	}
	return object{"template_list": list}, nil
}

// listSubscribeTemplates is GET /wxaapi/newtmpl/gettemplate.
func listSubscribeTemplates(c *call) (any, error) {
	list := []object{}
	for _, id := range c.known() {
		list = append(list, object{"priTmplId": id, "title": "通知 " + id, "content": templateText, "example": "事项：发货", "type": 2})
	}
	return object{"errcode": 0, "errmsg": "ok", "data": list}, nil
}

func templateRoutes(m map[string]endpoint) {
	m["/cgi-bin/message/template/send"] = endpoint{method: http.MethodPost, run: sendTemplate}
	m["/cgi-bin/message/subscribe/send"] = endpoint{method: http.MethodPost, run: sendSubscribe}
	m["/cgi-bin/message/template/subscribe"] = endpoint{method: http.MethodPost, run: sendOneTime}
	m["/cgi-bin/template/get_all_private_template"] = endpoint{run: listTemplates}
	m["/wxaapi/newtmpl/gettemplate"] = endpoint{run: listSubscribeTemplates}
	m["/cgi-bin/message/subscribe/bizsend"] = endpoint{method: http.MethodPost, run: sendSubscribe}
}
