package decide

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/wxbus/wxbus/pkg/account"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	rulev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/rule/v1"
	"github.com/wxbus/wxbus/services/rule/internal/chat"
	"github.com/wxbus/wxbus/services/rule/internal/match"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
	"github.com/wxbus/wxbus/services/rule/internal/webhook"
)

// Imagined is an event that did not happen.
type Imagined struct {
	Event   *eventv1.InboundEvent
	Input   match.Input
	Account account.Account
	// Found is the rule that wins; the zero Found for none.
	Found ruleset.Found
	// Fan is what is known about the fan; nil for nothing.
	Fan *rulev1.FanRecord
}

// Previewed is what would be done.
type Previewed struct {
	// Record that would be made when nobody is in a hurry. Replies of those who were not asked are left out; variables
	// that come from them have their name as a sample.
	Record *rulev1.DecisionMade
	// Asks says who would be asked, in order.
	Asks []string
}

// Preview returns what a rule would do. Nothing is called and nothing is changed.
func Preview(i Imagined) (Previewed, error) {
	p := &previewer{}
	e := &evaluation{
		Decider: &Decider{Options: Options{Fans: nobodys{}, Log: slog.New(slog.DiscardHandler)}}, outside: p,
		ev: i.Event, in: i.Input, now: time.UnixMilli(i.Event.GetReceivedUnixMs()), fan: i.Fan, preview: true,
	}
	if e.fan == nil {
		e.fan = &rulev1.FanRecord{}
	}
	if i.Found.Rule != nil {
		e.win(i.Found)
		if err := e.do(context.Background(), i.Found.Rule.Actions); err != nil {
			return Previewed{}, err
		}
		if form := i.Found.Rule.Form(); form != nil {
			p.asks = append(p.asks, fmt.Sprintf("the fan, %d questions", len(form.Questions)))
		}
	}
	imagined := len(p.asks) > 0 && len(e.v.replies) == 0
	if imagined { // whoever is asked will say something: the route is that of a text
		e.v.replies = []*eventv1.Content{{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{}}}}
	}
	rec := plan(i.Event, i.Account, e.v, e.now, Options{AttemptTimeout: time.Second})
	if imagined {
		rec.Replies = nil
	}
	return Previewed{Record: rec, Asks: p.asks}, nil
}

// previewer notes who would be asked.
type previewer struct{ asks []string }

func (p *previewer) webhook(_ context.Context, q webhook.Question) (webhook.Answer, error) {
	p.asks = append(p.asks, "webhook "+withoutSecrets(q.Hook.URL))
	return webhook.Answer{}, nil
}

func (p *previewer) model(_ context.Context, q chat.Question) (string, error) {
	name := q.Model
	if name == "" {
		name = "of the provider"
	}
	p.asks = append(p.asks, "chat model "+name)
	return "", nil
}

// nobodys is the store of fans of a preview: everything is given.
type nobodys struct{ Fans }

// History returns nothing: a model is not asked.
func (nobodys) History(context.Context, string, string, string, time.Time, int) ([]*rulev1.ChatTurn, error) {
	return nil, nil
}

// withoutSecrets drops the query of an address: it may hold a key.
func withoutSecrets(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	u.RawQuery, u.Fragment = "", ""
	return u.String()
}
