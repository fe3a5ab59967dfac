package soak

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/stack"
)

// The accounts: most traffic is answered passively; one account answers by the customer-service API
// only, so that its faults are met often.
var accounts = []string{"one", "two", "three", "ack"}

// system is a running system and the way to its simulator and its NATS.
type system struct {
	*stack.Stack
	js jetstream.JetStream
}

func start(t *testing.T) *system {
	t.Helper()
	s := &system{Stack: stack.Start(t, stack.Options{Mode: stack.Mode(*mode), Config: configuration(), Rules: "rules: []\n"})}
	nc, err := nats.Connect(strings.Join(s.NATS, ","), nats.Timeout(5*time.Second))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	s.js, err = jetstream.New(nc)
	require.NoError(t, err)
	return s
}

// configuration has WeChat's own times. Shorter are only the pauses of the sender: after a hanging call,
// a full minute and an open breaker.
func configuration() map[string]any {
	var list []map[string]any
	for i, name := range accounts {
		reply := "passive"
		if name == "ack" {
			reply = "ack"
		}
		list = append(list, map[string]any{
			"name": name, "appid": fmt.Sprintf("wx%016x", 0x50a0+i), "original_id": "gh_" + name, "kind": "service",
			"format": []string{"xml", "json"}[i%2], "mode": "secure", "token": "token" + name,
			"encoding_aes_key": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "app_secret": "secret-of-" + name, "reply": reply,
		})
	}
	return map[string]any{
		"accounts":  list,
		"simulator": map[string]any{"demo_fans": 0},
		// Processes fail here, not the power: one disk of a laptop cannot sync 500 pushes/s and all that follows them.
		"nats": map[string]any{"sync_always": false},
		"sender": map[string]any{
			"call_timeout": "2s", "rate_pause": "1s", "busy_pauses": []string{"300ms", "1s"},
			"pace": map[string]any{"rate": 500, "burst": 500, "in_flight": 64, "breaker_open": "1s"},
		},
	}
}

func line(b *strings.Builder, name, format string, a ...any) {
	fmt.Fprintf(b, "  %-44s %s\n", name, fmt.Sprintf(format, a...))
}
