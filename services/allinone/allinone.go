// Package allinone runs every service in one process, with an embedded NATS when none is configured.
//
// It composes the root packages of all services through pkg/process, the same way as the binary of
// each service, so both shapes start from the same constructors and the same file.
package allinone

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"

	"github.com/wxbus/wxbus/pkg/bus/natsembed"
	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/process"
)

// Embed makes the NATS server of a process that has no nats.urls. Its store is below data.
func Embed(_ context.Context, shared config.Shared, log *slog.Logger) (process.Embedded, error) {
	host, port, err := shared.NATS.ListenAddress()
	if err != nil {
		return nil, fmt.Errorf("nats.listen: %w", err)
	}
	listen := ""
	if port != 0 {
		listen = net.JoinHostPort(host, strconv.Itoa(port))
	}
	return natsembed.New(natsembed.Options{
		Listen:     listen,
		StoreDir:   filepath.Join(shared.Data, "nats"),
		SyncAlways: shared.NATS.SyncAlways == nil || *shared.NATS.SyncAlways,
		MaxStore:   int64(shared.NATS.MaxStore),
		User:       shared.NATS.User,
		Password:   shared.NATS.Password.Reveal(),
		Log:        log,
	}), nil
}
