package api

import (
	"context"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
)

// status shows a caller with a list of accounts only those, and counts only their fans.
func (a *api) status(ctx context.Context, c *call) (any, error) {
	all := a.Status.Get(ctx)
	if c.caller.All() {
		return message{all}, nil
	}
	own := proto.CloneOf(all)
	own.Accounts, own.Waiting = nil, 0
	for _, acc := range all.GetAccounts() {
		if !c.caller.May(acc.GetName()) {
			continue
		}
		own.Accounts = append(own.Accounts, acc)
		n, err := a.Conversations.ListWaiting(ctx, &agentroutingv1.ListWaitingRequest{Account: acc.GetName(), Limit: 1})
		if err != nil {
			return nil, err
		}
		own.Waiting += n.GetTotal()
	}
	return message{own}, nil
}
