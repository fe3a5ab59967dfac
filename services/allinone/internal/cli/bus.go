package cli

import (
	"context"
	"strings"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/process"
)

// withBus connects to the servers of the configuration, or to the embedded one of a running wxbus up, for a command.
func (a *app) withBus(ctx context.Context, name string, run func(context.Context, config.Shared, *bus.Conn) error) error {
	shared, err := a.loadShared(ctx)
	if err != nil {
		return err
	}
	if len(shared.NATS.URLs) == 0 {
		if shared.NATS.Listen == "" || strings.HasSuffix(shared.NATS.Listen, ":-1") {
			return usagef("nats.listen %q: the embedded NATS cannot be reached from outside; give it a port, or pass --nats", shared.NATS.Listen)
		}
		shared.NATS.URLs = []string{"nats://" + shared.NATS.Listen}
	}
	conn, err := process.ConnectBus(ctx, shared, name)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // whatever a command writes is confirmed by then
	return run(ctx, shared, conn)
}
