package rpc

import (
	"context"

	"connectrpc.com/connect"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"
	"github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1/consolev1connect"

	"github.com/wxbus/wxbus/services/console/internal/access"
	"github.com/wxbus/wxbus/services/console/internal/feed"
	"github.com/wxbus/wxbus/services/console/internal/login"
)

// Feed is the FeedService.
type Feed struct {
	Hub   *feed.Hub
	Login *login.Service
}

var _ consolev1connect.FeedServiceHandler = (*Feed)(nil)

// Watch streams facts. A session that ends ends its feed with the next heartbeat.
func (s *Feed) Watch(ctx context.Context, req *connect.Request[consolev1.WatchRequest], out *connect.ServerStream[consolev1.WatchResponse]) error {
	c, secret := access.From(ctx), login.BrowserOf(ctx).Secret
	w := feed.Watch{After: req.Msg.AfterSeq, Sees: c.May, Send: out.Send, Alive: func(ctx context.Context) error {
		if c.Kind != access.Person {
			return nil
		}
		_, _, err := s.Login.Resolve(ctx, secret, false)
		return err
	}}
	switch name := req.Msg.GetAccount(); {
	case name != "":
		w.Accounts = []string{name}
	case !c.All():
		w.Accounts = c.Accounts()
	}
	return s.Hub.Watch(ctx, w)
}
