package wire

import (
	"fmt"
	"strconv"
	"strings"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// Group returns a group as clients see it.
func Group(g domain.Group) *agentroutingv1.Group {
	out := &agentroutingv1.Group{
		Id: g.ID, Name: g.Name, Skills: g.Skills, Languages: g.Languages, Hours: hours(g.Hours), Method: agentroutingv1.RoutingMethod(g.Method),
		OfferTimeoutS: int32(g.OfferS), QueueTimeoutS: int32(g.QueueS), QueueAction: agentroutingv1.QueueAction(g.QueueAction), ForwardGroup: g.ForwardGroup,
		IdleTimeoutS: int32(g.IdleS), IdleWarningS: int32(g.WarnS), Capacity: int32(g.Capacity), Survey: g.Survey, SurveyMax: int32(g.SurveyMax),
		OfflineAction: agentroutingv1.OfflineAction(g.OfflineAction), Revision: g.Revision, Texts: Texts(g.Texts),
		FirstResponseS: int32(g.FirstS), NextResponseS: int32(g.NextS), CloseS: int32(g.CloseS),
	}
	return out
}

// Texts returns automatic texts.
func Texts(in []domain.Text) []*agentroutingv1.AutoText {
	out := make([]*agentroutingv1.AutoText, 0, len(in))
	for _, t := range in {
		out = append(out, &agentroutingv1.AutoText{Kind: agentroutingv1.AutoTextKind(t.Kind), Enabled: t.Enabled, Zh: t.Zh, En: t.En})
	}
	return out
}

// GroupOf is the inverse of Group; what the service sets itself is left out. Check it before it is stored.
func GroupOf(in *agentroutingv1.Group) (domain.Group, error) {
	g := domain.Group{
		ID: in.GetId(), Name: in.GetName(), Skills: in.GetSkills(), Languages: in.GetLanguages(), Method: domain.Method(in.GetMethod()),
		OfferS: int(in.GetOfferTimeoutS()), QueueS: int(in.GetQueueTimeoutS()), QueueAction: domain.QueueAction(in.GetQueueAction()), ForwardGroup: in.GetForwardGroup(),
		IdleS: int(in.GetIdleTimeoutS()), WarnS: int(in.GetIdleWarningS()), Capacity: int(in.GetCapacity()), Survey: in.GetSurvey(), SurveyMax: int(in.GetSurveyMax()),
		OfflineAction: domain.OfflineAction(in.GetOfflineAction()), Revision: in.GetRevision(),
		FirstS: int(in.GetFirstResponseS()), NextS: int(in.GetNextResponseS()), CloseS: int(in.GetCloseS()),
	}
	for _, t := range in.GetTexts() {
		g.Texts = append(g.Texts, domain.Text{Kind: domain.TextKind(t.GetKind()), Enabled: t.GetEnabled(), Zh: t.GetZh(), En: t.GetEn()})
	}
	var err error
	g.Hours, err = hoursOf(in.GetHours())
	return g, err
}

func hours(h domain.Hours) *agentroutingv1.WorkingHours {
	if h.Zone == "" && len(h.Week) == 0 && len(h.Days) == 0 {
		return nil
	}
	out := &agentroutingv1.WorkingHours{TimeZone: h.Zone}
	for _, s := range h.Week {
		out.Week = append(out.Week, span(s))
	}
	for _, d := range h.Days {
		day := &agentroutingv1.Holiday{Date: d.Date, Name: d.Name}
		for _, s := range d.Spans {
			day.Intervals = append(day.Intervals, span(s))
		}
		out.Holidays = append(out.Holidays, day)
	}
	return out
}

func span(s domain.WeekSpan) *agentroutingv1.WeekInterval {
	return &agentroutingv1.WeekInterval{Weekday: int32(s.Weekday), From: clock(s.From), To: clock(s.To)}
}

func clock(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

func hoursOf(in *agentroutingv1.WorkingHours) (domain.Hours, error) {
	h := domain.Hours{Zone: in.GetTimeZone()}
	for i, w := range in.GetWeek() {
		s, err := spanOf(w)
		if err != nil {
			return h, fmt.Errorf("hours.week[%d].%w", i, err)
		}
		h.Week = append(h.Week, s)
	}
	for i, d := range in.GetHolidays() {
		day := domain.HolidayHours{Date: d.GetDate(), Name: d.GetName()}
		for j, w := range d.GetIntervals() {
			s, err := spanOf(w)
			if err != nil {
				return h, fmt.Errorf("hours.holidays[%d].intervals[%d].%w", i, j, err)
			}
			day.Spans = append(day.Spans, s)
		}
		h.Days = append(h.Days, day)
	}
	return h, nil
}

func spanOf(in *agentroutingv1.WeekInterval) (domain.WeekSpan, error) {
	from, ok1 := minute(in.GetFrom())
	to, ok2 := minute(in.GetTo())
	switch {
	case !ok1:
		return domain.WeekSpan{}, fmt.Errorf("from: must be a time of day such as 09:00")
	case !ok2:
		return domain.WeekSpan{}, fmt.Errorf("to: must be a time of day such as 18:00")
	default:
		return domain.WeekSpan{Weekday: int(in.GetWeekday()), From: from, To: to}, nil
	}
}

func minute(s string) (int, bool) {
	h, m, ok := strings.Cut(s, ":")
	hour, err1 := strconv.Atoi(h)
	min, err2 := strconv.Atoi(m)
	if !ok || len(h) != 2 || len(m) != 2 || err1 != nil || err2 != nil || hour < 0 || min < 0 || min > 59 {
		return 0, false
	}
	total := hour*60 + min
	return total, total <= 24*60
}
