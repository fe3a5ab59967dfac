package grpcapi

import (
	"context"
	"crypto/rand"
	"errors"
	"regexp"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

const (
	maxItems    = 100 // skills, languages, groups, spans of a day
	maxHolidays = 400
	maxAutoText = 600
	maxCanned   = 500
	maxBlocks   = 5
)

var (
	groupID  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	shortcut = regexp.MustCompile(`^[\p{L}\p{N}_-]{1,32}$`)
)

// Agents implements AgentService.
type Agents struct {
	agentroutingv1.UnimplementedAgentServiceServer

	desk  *app.Desk
	check checker
}

// NewAgents returns a server.
func NewAgents(desk *app.Desk, accounts *account.Directory) *Agents {
	return &Agents{desk: desk, check: checker{accounts}}
}

// ListGroups returns every group with what goes on in its queue.
func (s *Agents) ListGroups(ctx context.Context, _ *agentroutingv1.ListGroupsRequest) (*agentroutingv1.ListGroupsResponse, error) {
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	groups, err := q.Groups(ctx)
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.ListGroupsResponse{}
	for _, g := range groups {
		now, err := s.group(ctx, q, g)
		if err != nil {
			return nil, err
		}
		out.Groups = append(out.Groups, now)
	}
	return out, nil
}

func (s *Agents) group(ctx context.Context, q store.Q, g domain.Group) (*agentroutingv1.Group, error) {
	out := wire.Group(g)
	now := s.desk.Now()
	out.OpenNow = g.Hours.Open(now)
	queues, err := q.Queues(ctx)
	if err != nil {
		return nil, err
	}
	if n, ok := queues[g.ID]; ok {
		out.Waiting, out.OldestWaitUnixMs = int32(n.Waiting), wire.Millis(n.Oldest)
	}
	members, err := q.Members(ctx, g.ID)
	for _, m := range members {
		if m.Presence == domain.Online && m.Works(now) {
			out.AgentsOnline++
		}
	}
	return out, err
}

// PutGroup creates or replaces a group.
func (s *Agents) PutGroup(ctx context.Context, in *agentroutingv1.PutGroupRequest) (*agentroutingv1.PutGroupResponse, error) {
	g, err := wire.GroupOf(in.GetGroup())
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "group.%w", err)
	}
	if err := checkGroup(g); err != nil {
		return nil, err
	}
	if g, err = s.desk.PutGroup(ctx, g); err != nil {
		return nil, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	out, err := s.group(ctx, q, g)
	return &agentroutingv1.PutGroupResponse{Group: out}, err
}

// invalid returns an Invalid fault when a condition does not hold.
func invalid(ok bool, text string) error {
	if ok {
		return nil
	}
	return fault.New(fault.Invalid, text)
}

func checkGroup(g domain.Group) error {
	forwards := g.QueueAction == domain.QueueForward || g.OfflineAction == domain.OfflineForward
	errs := []error{
		invalid(groupID.MatchString(g.ID), "group.id: must be 1 to 64 letters, digits, - and _"),
		checkText("group.name", strings.TrimSpace(g.Name), 1, maxName),
		checkList("group.skills", g.Skills), checkList("group.languages", g.Languages),
		invalid(g.Method <= domain.Manual, "group.method: is unknown"),
		invalid(g.QueueAction <= domain.QueueForward, "group.queue_action: is unknown"),
		invalid(g.OfflineAction <= domain.OfflineKeep, "group.offline_action: is unknown"),
		invalid(!forwards || (groupID.MatchString(g.ForwardGroup) && g.ForwardGroup != g.ID), "group.forward_group: must name another group"),
		invalid(g.OfferS == 0 || (g.OfferS >= 5 && g.OfferS <= 600), "group.offer_timeout_s: must be 0 or 5 to 600"),
		invalid(g.QueueS >= -1 && g.QueueS <= 48*60*60, "group.queue_timeout_s: must be -1 to 172800"),
		invalid(g.IdleS >= -1 && g.IdleS <= 48*60*60, "group.idle_timeout_s: must be -1 to 172800"),
		invalid(g.WarnS >= -1 && g.WarnS <= 48*60*60, "group.idle_warning_s: must be -1 to 172800"),
		invalid(g.FirstS >= 0 && g.Target(domain.FirstResponse) <= domain.MaxResponse, "group.first_response_s: must be 0 to 172800"),
		invalid(g.NextS >= 0 && g.Target(domain.NextResponse) <= domain.MaxResponse, "group.next_response_s: must be 0 to 172800"),
		invalid(g.CloseS >= 0 && g.Target(domain.InTime) <= domain.MaxInTime, "group.close_s: must be 0 to 2592000"),
		invalid(g.Capacity >= 0 && g.Capacity <= 1000, "group.capacity: must be 0 to 1000"),
		invalid(g.SurveyMax == 0 || (g.SurveyMax >= 2 && g.SurveyMax <= 5), "group.survey_max: must be 0 or 2 to 5"),
	}
	seen := map[domain.TextKind]bool{}
	for _, t := range g.Texts {
		errs = append(errs, invalid(t.Kind >= domain.TextWelcome && t.Kind <= domain.TextSurveyThanks && !seen[t.Kind], "group.texts: a kind is unknown or comes twice"),
			checkText("group.texts.zh", t.Zh, 0, maxAutoText), checkText("group.texts.en", t.En, 0, maxAutoText))
		seen[t.Kind] = true
	}
	return errors.Join(append(errs, checkHours(g.Hours))...)
}

func checkHours(h domain.Hours) error {
	errs := []error{
		invalid(len(h.Week) <= maxItems, "group.hours.week: too many spans"), invalid(len(h.Days) <= maxHolidays, "group.hours.holidays: too many days"),
	}
	if h.Zone != "" {
		_, err := time.LoadLocation(h.Zone)
		errs = append(errs, invalid(err == nil, "group.hours.time_zone: is unknown"))
	}
	for _, s := range h.Week {
		errs = append(errs, invalid(s.Weekday >= 1 && s.Weekday <= 7, "group.hours.week.weekday: must be 1 to 7"), invalid(s.From < s.To, "group.hours.week.to: must be after from"))
	}
	for _, d := range h.Days {
		_, err := time.Parse(time.DateOnly, d.Date)
		errs = append(errs, invalid(err == nil, "group.hours.holidays.date: must be a date such as 2026-10-01"))
		for _, s := range d.Spans {
			errs = append(errs, invalid(s.From < s.To, "group.hours.holidays.intervals.to: must be after from"))
		}
	}
	return errors.Join(errs...)
}

func checkList(field string, items []string) error {
	if len(items) > maxItems {
		return fault.Errorf(fault.Invalid, "%s: at most %d", field, maxItems)
	}
	for _, it := range items {
		if err := checkText(field, strings.TrimSpace(it), 1, maxName); err != nil {
			return err
		}
	}
	return nil
}

// DeleteGroup removes a group.
func (s *Agents) DeleteGroup(ctx context.Context, in *agentroutingv1.DeleteGroupRequest) (*agentroutingv1.DeleteGroupResponse, error) {
	if !groupID.MatchString(in.GetId()) {
		return nil, fault.New(fault.Invalid, "id: is not the id of a group")
	}
	return &agentroutingv1.DeleteGroupResponse{}, s.desk.DeleteGroup(ctx, in.GetId())
}

// GetDefaultTexts returns the texts that a group has unless it sets its own.
func (s *Agents) GetDefaultTexts(context.Context, *agentroutingv1.GetDefaultTextsRequest) (*agentroutingv1.GetDefaultTextsResponse, error) {
	return &agentroutingv1.GetDefaultTextsResponse{Texts: wire.Texts(domain.DefaultTexts())}, nil
}

// ListAgents returns agents with presence and load.
func (s *Agents) ListAgents(ctx context.Context, in *agentroutingv1.ListAgentsRequest) (*agentroutingv1.ListAgentsResponse, error) {
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	members, err := q.Members(ctx, in.GetGroup())
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.ListAgentsResponse{}
	for _, m := range members {
		out.Agents = append(out.Agents, wire.Agent(m, s.desk.Now()))
	}
	return out, nil
}

// PutAgent creates an agent or replaces the settings.
func (s *Agents) PutAgent(ctx context.Context, in *agentroutingv1.PutAgentRequest) (*agentroutingv1.PutAgentResponse, error) {
	a := in.GetAgent()
	m := domain.Member{
		ID: a.GetId(), Name: strings.TrimSpace(a.GetName()), Groups: a.GetGroups(), Skills: a.GetSkills(), Languages: a.GetLanguages(),
		Capacity: int(a.GetCapacity()), AutoAccept: a.GetAutoAccept(),
	}
	if m.Name == "" {
		m.Name = m.ID
	}
	errs := []error{
		checkAgent("agent.id", m.ID), checkText("agent.name", m.Name, 1, maxName), checkList("agent.skills", m.Skills), checkList("agent.languages", m.Languages),
		invalid(len(m.Groups) <= maxItems, "agent.groups: too many"), invalid(m.Capacity >= 0 && m.Capacity <= 1000, "agent.capacity: must be 0 to 1000"),
	}
	for _, g := range m.Groups {
		errs = append(errs, invalid(groupID.MatchString(g), "agent.groups: has something that is not the id of a group"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m, err := s.desk.PutAgent(ctx, m)
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.PutAgentResponse{Agent: wire.Agent(m, s.desk.Now())}, nil
}

// DeleteAgent removes an agent.
func (s *Agents) DeleteAgent(ctx context.Context, in *agentroutingv1.DeleteAgentRequest) (*agentroutingv1.DeleteAgentResponse, error) {
	if err := checkAgent("id", in.GetId()); err != nil {
		return nil, err
	}
	return &agentroutingv1.DeleteAgentResponse{}, s.desk.DeleteAgent(ctx, in.GetId())
}

// who is the agent of a request: the field, else the caller.
func who(ctx context.Context, field string) (string, error) {
	id := field
	if id == "" {
		id = actorOf(ctx)
	}
	return id, checkAgent("agent", id)
}

// SetPresence says whether an agent works.
func (s *Agents) SetPresence(ctx context.Context, in *agentroutingv1.SetPresenceRequest) (*agentroutingv1.SetPresenceResponse, error) {
	id, err := who(ctx, in.GetAgent())
	if err != nil {
		return nil, err
	}
	p := domain.Presence(in.GetPresence())
	if p < domain.Online || p > domain.Offline {
		return nil, fault.New(fault.Invalid, "presence: must be online, away or offline")
	}
	m, err := s.desk.SetPresence(ctx, id, p)
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.SetPresenceResponse{Agent: wire.Agent(m, s.desk.Now()), HeartbeatS: int32(s.desk.HeartbeatEvery().Seconds())}, nil
}

// Heartbeat renews the lease of an agent.
func (s *Agents) Heartbeat(ctx context.Context, in *agentroutingv1.HeartbeatRequest) (*agentroutingv1.HeartbeatResponse, error) {
	id, err := who(ctx, in.GetAgent())
	if err != nil {
		return nil, err
	}
	m, err := s.desk.Heartbeat(ctx, id)
	if err != nil {
		return nil, err
	}
	return &agentroutingv1.HeartbeatResponse{Agent: wire.Agent(m, s.desk.Now())}, nil
}

// ListCannedReplies returns the canned replies that an agent may use.
func (s *Agents) ListCannedReplies(ctx context.Context, in *agentroutingv1.ListCannedRepliesRequest) (*agentroutingv1.ListCannedRepliesResponse, error) {
	if err := checkText("query", in.GetQuery(), 0, 100); err != nil {
		return nil, err
	}
	f := store.CannedFor{Account: in.GetAccount(), Folded: domain.Fold(in.GetQuery()), Every: in.GetEveryScope(), Limit: maxCanned}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	if !f.Every {
		if f.Agent, err = who(ctx, in.GetAgent()); err != nil {
			return nil, err
		}
		m, _, err := q.Member(ctx, f.Agent)
		if err != nil {
			return nil, err
		}
		f.Groups = m.Groups
	}
	found, err := q.CannedReplies(ctx, f)
	return &agentroutingv1.ListCannedRepliesResponse{Replies: found}, err
}

// PutCannedReply creates or replaces a canned reply.
func (s *Agents) PutCannedReply(ctx context.Context, in *agentroutingv1.PutCannedReplyRequest) (*agentroutingv1.PutCannedReplyResponse, error) {
	if in.GetReply() == nil {
		return nil, fault.New(fault.Invalid, "reply: must not be empty")
	}
	r := proto.CloneOf(in.GetReply())
	if err := s.checkCanned(r); err != nil {
		return nil, err
	}
	if r.GetId() == "" {
		r.Id = rand.Text()
	}
	texts := cannedTexts(r)
	r.Used, r.Variables = 0, domain.Variables(texts...)
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	err = q.SaveCanned(ctx, r, domain.Fold(strings.Join(append([]string{r.GetShortcut(), r.GetTitle()}, texts...), " ")))
	if sqldb.IsUnique(err) {
		return nil, fault.New(fault.Conflict, "reply.shortcut: is taken in this scope")
	}
	return &agentroutingv1.PutCannedReplyResponse{Reply: r}, err
}

func (s *Agents) checkCanned(r *agentroutingv1.CannedReply) error {
	all := r.GetScope() == agentroutingv1.CannedScope_CANNED_SCOPE_ALL
	errs := []error{
		invalid(len(r.GetId()) <= maxKey, "reply.id: too long"), checkText("reply.title", strings.TrimSpace(r.GetTitle()), 1, maxName),
		invalid(shortcut.MatchString(r.GetShortcut()), "reply.shortcut: must be 1 to 32 letters and digits"),
		invalid(r.GetScope() >= agentroutingv1.CannedScope_CANNED_SCOPE_PERSONAL && r.GetScope() <= agentroutingv1.CannedScope_CANNED_SCOPE_ALL, "reply.scope: is unknown"),
		invalid(all == (r.GetScopeId() == "") && len(r.GetScopeId()) <= maxKey, "reply.scope_id: must name the agent or the group, and be empty for all"),
		invalid(len(r.GetBlocks()) >= 1 && len(r.GetBlocks()) <= maxBlocks, "reply.blocks: must be 1 to 5"),
		s.check.anyAccount(r.GetAccount()),
	}
	for _, b := range r.GetBlocks() {
		_, isText := b.GetContent().GetBody().(*eventv1.Content_Text)
		errs = append(errs, invalid(b.GetContent().GetBody() != nil, "reply.blocks.content: must not be empty"),
			invalid(!isText || strings.TrimSpace(b.GetContent().GetText().GetContent()) != "", "reply.blocks.content.text: must not be empty"),
			invalid(proto.Size(b) <= 64<<10, "reply.blocks: one is larger than 64 KiB"))
	}
	return errors.Join(errs...)
}

// cannedTexts returns the texts in which variables stand.
func cannedTexts(r *agentroutingv1.CannedReply) []string {
	var out []string
	for _, b := range r.GetBlocks() {
		eachText(b.GetContent(), func(s string) string {
			out = append(out, s)
			return s
		})
	}
	return out
}

// eachText replaces the texts and titles of a content.
func eachText(c *eventv1.Content, f func(string) string) {
	switch b := c.GetBody().(type) {
	case *eventv1.Content_Text:
		b.Text.Content = f(b.Text.GetContent())
	case *eventv1.Content_MiniProgram:
		b.MiniProgram.Title = f(b.MiniProgram.GetTitle())
	case *eventv1.Content_Link:
		b.Link.Title, b.Link.Description = f(b.Link.GetTitle()), f(b.Link.GetDescription())
	case *eventv1.Content_News:
		for _, a := range b.News.GetArticles() {
			a.Title, a.Description = f(a.GetTitle()), f(a.GetDescription())
		}
	case *eventv1.Content_Menu:
		b.Menu.Head, b.Menu.Tail = f(b.Menu.GetHead()), f(b.Menu.GetTail())
	}
}

// DeleteCannedReply removes a canned reply.
func (s *Agents) DeleteCannedReply(ctx context.Context, in *agentroutingv1.DeleteCannedReplyRequest) (*agentroutingv1.DeleteCannedReplyResponse, error) {
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	there, err := q.DeleteCanned(ctx, in.GetId())
	if err == nil && !there {
		err = fault.New(fault.NotFound, "id: no such canned reply")
	}
	return &agentroutingv1.DeleteCannedReplyResponse{}, err
}

// RenderCannedReply fills in the variables for one fan.
func (s *Agents) RenderCannedReply(ctx context.Context, in *agentroutingv1.RenderCannedReplyRequest) (*agentroutingv1.RenderCannedReplyResponse, error) {
	if err := s.check.fan(in.GetAccount(), in.GetOpenid()); err != nil {
		return nil, err
	}
	agent, err := who(ctx, in.GetAgent())
	if err != nil {
		return nil, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	r, ok, err := q.Canned(ctx, in.GetId())
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fault.New(fault.NotFound, "id: no such canned reply")
	case r.GetAccount() != "" && r.GetAccount() != in.GetAccount():
		return nil, fault.New(fault.Refused, "the canned reply belongs to another account")
	}
	values, err := s.values(ctx, q, in, agent)
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.RenderCannedReplyResponse{}
	for _, v := range r.GetVariables() {
		if _, ok := values[v]; !ok {
			out.Missing = append(out.Missing, v)
		}
	}
	for _, b := range r.GetBlocks() {
		eachText(b.GetContent(), func(t string) string { return domain.Fill(t, values) })
		out.Contents = append(out.Contents, b.GetContent())
	}
	return out, q.UsedCanned(ctx, in.GetId())
}

func (s *Agents) values(ctx context.Context, q store.Q, in *agentroutingv1.RenderCannedReplyRequest, agent string) (map[string]string, error) {
	values := map[string]string{}
	for k, v := range in.GetValues() {
		values[k] = v
	}
	fan, err := s.desk.Fan(ctx, in.GetAccount(), in.GetOpenid())
	if err != nil {
		return nil, err
	}
	m, ok, err := q.Member(ctx, agent)
	if err != nil {
		return nil, err
	}
	if !ok {
		m = domain.Member{ID: agent}
	}
	values["fan.name"], values["agent.name"], values["account"] = fan.Name(), domain.AgentFor(m, fan.Language), in.GetAccount()
	return values, nil
}
