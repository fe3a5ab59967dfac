package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

// States of a mass job.
const (
	massSending = "SENDING"
	massDone    = "SEND_SUCCESS"
	massDeleted = "DELETE"
)

type massJob struct {
	status  string
	to      []string
	filter  int
	sent    int
	content codec.Content
}

type massBody struct {
	ToUser json.RawMessage `json:"touser"`
	Filter struct {
		IsToAll bool `json:"is_to_all"`
		TagID   int  `json:"tag_id"`
	} `json:"filter"`
	MsgType     string `json:"msgtype"`
	ClientMsgID string `json:"clientmsgid"`
	Text        struct {
		Content string `json:"content"`
	} `json:"text"`
	MpNews  massMedia `json:"mpnews"`
	Voice   massMedia `json:"voice"`
	MpVideo massMedia `json:"mpvideo"`
	Images  struct {
		MediaIDs  []string `json:"media_ids"`
		Recommend string   `json:"recommend"`
	} `json:"images"`
	WxCard struct {
		CardID string `json:"card_id"`
	} `json:"wxcard"`
}

type massMedia struct {
	MediaID     string `json:"media_id"`
	Title       string `json:"title"`
	Description string `json:"description"`
}

func (c *call) massContent(b massBody) (codec.Content, error) {
	out := codec.Content{Type: b.MsgType}
	switch b.MsgType {
	case codec.TypeText:
		out.Text = b.Text.Content
		if out.Text == "" {
			return out, code(44004)
		}
		return out, nil
	case "wxcard":
		out.Title = b.WxCard.CardID
		return out, nil
	case "image":
		if len(b.Images.MediaIDs) == 0 {
			return out, code(40007)
		}
		out.MediaID, out.Text = b.Images.MediaIDs[0], b.Images.Recommend
	case "mpnews":
		out.MediaID = b.MpNews.MediaID
	case "voice":
		out.MediaID = b.Voice.MediaID
	case "mpvideo":
		out.MediaID, out.Title, out.Description = b.MpVideo.MediaID, b.MpVideo.Title, b.MpVideo.Description
	default:
		return out, code(40008)
	}
	// Articles are permanent material, which the simulator does not keep; their ids are taken as they are.
	if b.MsgType != "mpnews" && c.st.media.get(out.MediaID, c.now) == nil {
		return out, code(40007)
	}
	return out, nil
}

// massByFilter is POST /cgi-bin/message/mass/sendall.
func massByFilter(c *call) (any, error) {
	var b massBody
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	var to []string
	for _, f := range c.deps.Ledger.Fans(c.st.Name) {
		if f.Following && (b.Filter.IsToAll || slices.Contains(f.Tags, b.Filter.TagID)) {
			to = append(to, f.OpenID)
		}
	}
	return c.massSend(b, to)
}

// massByList is POST /cgi-bin/message/mass/send.
func massByList(c *call) (any, error) {
	var b massBody
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	var to []string
	if json.Unmarshal(b.ToUser, &to) != nil {
		return nil, code(40032)
	}
	switch {
	case len(to) < 2:
		return nil, code(40130)
	case len(to) > 10_000:
		return nil, code(40032)
	}
	return c.massSend(b, to)
}

func (c *call) massSend(b massBody, to []string) (any, error) {
	if c.st.IsMiniProgram() {
		return nil, code(48001)
	}
	if len(b.ClientMsgID) > 64 {
		return nil, code(45067)
	}
	j := &c.st.jobs
	if s, ok := j.clients["mass "+b.ClientMsgID]; ok && b.ClientMsgID != "" && c.now.Sub(s.at) < clientJobLife {
		return withCode{45065, object{"errcode": 45065, "errmsg": errorText(45065) + " rid: " + c.rid(), "msg_id": s.id, "msg_data_id": s.id + 1000}}, nil
	}
	content, err := c.massContent(b)
	if err != nil {
		return nil, err
	}
	if err := c.massQuota(); err != nil {
		return nil, err
	}
	id := j.id()
	job := &massJob{status: massSending, to: to, content: content}
	if !c.deps.After(c.cfg.JobDelay, func() { c.finishMass(c.st, id) }) {
		return nil, code(-1)
	}
	j.mass[id] = job
	delete(j.mass, id-keepJobs)
	if b.ClientMsgID != "" {
		j.remember("mass "+b.ClientMsgID, sentJob{id: id, at: c.now})
	}
	return object{"errcode": 0, "errmsg": "send job submission success", "msg_id": id, "msg_data_id": id + 1000}, nil
}

// massQuota allows a subscription account one mass send a day. The four a month of a service account count per fan.
func (c *call) massQuota() error {
	if c.st.Kind != codec.KindSubscription {
		return nil
	}
	today := c.st.jobs.in(chinaDay(c.now))
	if today[""] >= 1 {
		return code(45028)
	}
	today[""]++
	return nil
}

// finishMass delivers a job and pushes its result.
func (s *Server) finishMass(st *account, id int64) {
	st.mu.Lock()
	job := st.jobs.mass[id]
	if job == nil || job.status != massSending {
		st.mu.Unlock()
		return
	}
	job.status = massDone
	to := job.to
	if st.Kind == codec.KindService {
		to = st.jobs.withinMonth(to, s.deps.Clock.Now())
	}
	content := job.content
	job.filter = len(to)
	st.mu.Unlock()

	sent := 0
	for _, fan := range to {
		if s.deps.Ledger.Show(st.Name, fan, ledger.WayMass, content) {
			sent++
		}
	}
	st.mu.Lock()
	job.sent = sent
	st.mu.Unlock()
	s.deps.Later(0, st.Name, "oPlatformMassSend00000000001", "MASSSENDJOBFINISH", map[string]any{
		"MsgID": strconv.FormatInt(id, 10), "Status": "send success", "TotalCount": len(job.to), "FilterCount": len(to), "SentCount": sent, "ErrorCount": len(to) - sent})
}

// withinMonth returns the fans who may receive one more mass message of a service account this month: four each.
func (j *jobs) withinMonth(fans []string, now time.Time) []string {
	month := j.in(now.In(china).Format("2006-01"))
	var out []string
	for _, fan := range fans {
		if month[fan] < 4 {
			month[fan]++
			out = append(out, fan)
		}
	}
	return out
}

// massPreview is POST /cgi-bin/message/mass/preview: one fan, at once, without a result event.
func massPreview(c *call) (any, error) {
	var b massBody
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	var to string
	if json.Unmarshal(b.ToUser, &to) != nil {
		return nil, code(40003)
	}
	content, err := c.massContent(b)
	if err != nil {
		return nil, err
	}
	if err := code(c.deps.Ledger.CanReceive(c.st.Name, to, c.path)); err != nil {
		return nil, err
	}
	c.deps.Ledger.Show(c.st.Name, to, ledger.WayMass, content)
	return object{"errcode": 0, "errmsg": "preview success", "msg_id": c.st.jobs.id()}, nil
}

type massID struct {
	MsgID json.Number `json:"msg_id"`
}

func (c *call) massJob() (*massJob, int64, error) {
	var b massID
	if err := c.decode(&b); err != nil {
		return nil, 0, err
	}
	id, err := b.MsgID.Int64()
	if err != nil || c.st.jobs.mass[id] == nil {
		return nil, 0, code(40097)
	}
	return c.st.jobs.mass[id], id, nil
}

func massGet(c *call) (any, error) {
	job, id, err := c.massJob()
	if err != nil {
		return nil, err
	}
	return object{"msg_id": id, "msg_status": job.status}, nil
}

func massDelete(c *call) (any, error) {
	job, _, err := c.massJob()
	if err != nil {
		return nil, err
	}
	job.status = massDeleted
	return done, nil
}

// perMinute is what a speed of 0 to 4 means, in thousands.
var perMinute = []int{800, 600, 450, 300, 100}

func massSpeedGet(c *call) (any, error) {
	return object{"speed": c.st.jobs.speed, "realspeed": perMinute[c.st.jobs.speed]}, nil
}

func massSpeedSet(c *call) (any, error) {
	var b struct {
		Speed *int `json:"speed"`
	}
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	switch {
	case b.Speed == nil:
		return nil, code(45084)
	case *b.Speed < 0 || *b.Speed >= len(perMinute):
		return nil, code(45083)
	}
	c.st.jobs.speed = *b.Speed
	return done, nil
}

func massRoutes(m map[string]endpoint) {
	m["/cgi-bin/message/mass/sendall"] = endpoint{method: http.MethodPost, run: massByFilter}
	m["/cgi-bin/message/mass/send"] = endpoint{method: http.MethodPost, run: massByList}
	m["/cgi-bin/message/mass/preview"] = endpoint{method: http.MethodPost, run: massPreview}
	m["/cgi-bin/message/mass/get"] = endpoint{method: http.MethodPost, run: massGet}
	m["/cgi-bin/message/mass/delete"] = endpoint{method: http.MethodPost, run: massDelete}
	m["/cgi-bin/message/mass/speed/get"] = endpoint{run: massSpeedGet}
	m["/cgi-bin/message/mass/speed/set"] = endpoint{method: http.MethodPost, run: massSpeedSet}
}
