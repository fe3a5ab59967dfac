package console

import (
	"time"

	"github.com/wxbus/wxbus/services/console/internal/password"
)

// ForTests makes log-ins cheap and the feed lively.
func ForTests(d Deps) Deps {
	d.passwords = password.Params{MemoryKiB: 64, Passes: 1, Threads: 1}
	d.heartbeat = 200 * time.Millisecond
	d.poll = 10 * time.Millisecond
	return d
}
