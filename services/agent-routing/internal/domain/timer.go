package domain

import "time"

// Limits hold for every group.
type Limits struct {
	// Waiting ends a conversation that nobody took, whatever the group says; zero for never.
	Waiting time.Duration
	// Serving is the idle time of groups that set none; zero for never.
	Serving time.Duration
	// KeptForEnd is how many messages of a fan's window agents leave for the end of the conversation.
	KeptForEnd int
}

// Due returns the next step that time alone brings about, and when. A zero time means none. Every replica computes the
// same; the step is judged again under the lock of the conversation, so it happens once.
func (c Conversation) Due(g Group, l Limits) (Step, time.Time) {
	switch c.State {
	case Waiting:
		return c.dueWaiting(l)
	case Offered:
		return Step{Change: OfferExpired, Reason: "no answer to the offer"}, c.OfferUntil
	case Active:
		return c.dueActive(g, l)
	case OnHold:
		return Step{Change: Resumed, Reason: "hold is over"}, c.HoldUntil
	case LeftMessage:
		if !c.RejoinAt.IsZero() {
			return Step{Change: Joined, Reason: "working hours began"}, c.RejoinAt
		}
		if l.Waiting > 0 {
			return Step{Change: ClosedNow, Reason: "nobody answered in time"}, c.LastFan.Add(l.Waiting)
		}
	case Closed:
		if !c.ClosingSaid {
			// Only when the close can no longer be undone; what time closed, nobody undoes.
			return Step{Change: SaidGoodbye}, c.ClosedAt.Add(ReopenFor)
		}
	}
	return Step{}, time.Time{}
}

// tellAfter is how long a fan may wait before they are told: somebody else may be asked in that moment.
const tellAfter = 2 * time.Second

// QueueOver is the reason when the queue time of a group is over; what happens then is the group's action.
const QueueOver = "queue time is over"

func (c Conversation) dueWaiting(l Limits) (Step, time.Time) {
	if !c.ToldWaiting {
		return Step{Change: ToldOfWaiting}, c.StateSince.Add(tellAfter)
	}
	end := time.Time{}
	if l.Waiting > 0 {
		end = c.WaitingSince.Add(l.Waiting)
	}
	if !c.QueueUntil.IsZero() && (end.IsZero() || c.QueueUntil.Before(end)) {
		return Step{Change: MessageLeft, Reason: QueueOver}, c.QueueUntil
	}
	return Step{Change: ClosedNow, Reason: "nobody answered in time"}, end
}

func (c Conversation) dueActive(g Group, l Limits) (Step, time.Time) {
	idle := g.IdleTimeout(l)
	if idle <= 0 {
		return Step{}, time.Time{}
	}
	end := c.IdleFrom.Add(idle)
	if warn := g.IdleWarning(); warn > 0 && warn < idle && !c.IdleWarned {
		return Step{Change: IdleWarned, Reason: "silent"}, end.Add(-warn)
	}
	return Step{Change: ClosedNow, Reason: "conversation is silent"}, end
}
