package chaos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/tests/chaos/record"
)

const noteNotInOrder = "processes that did not stop in order"

// roll replaces every process, one at a time, as an upgrade does: it is told to stop, ends in order, starts again
// and is ready before the next one's turn.
func roll(x *trial) {
	var bad []string
	stop := func(name string, terminate func(time.Duration) error) {
		x.broke("SIGTERM %s", name)
		if err := terminate(patience); err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", name, err))
		}
	}
	x.at(0.05)
	for i := range x.Servers {
		stop(fmt.Sprintf("nats-%d", i), x.Servers[i].Terminate)
		x.serverBack(i)
		x.complete(i)
	}
	for i := range x.Gateways {
		stop(fmt.Sprintf("gateway-%d", i), x.Gateways[i].Terminate)
		x.RestartGateway(x.t, i)
		x.healed("gateway-%d is back", i)
	}
	for _, service := range []string{"token", "sender", "rule", "agent-routing", "console"} {
		for i := range replicas {
			stop(fmt.Sprintf("%s-%d", service, i), x.Services[service][i].Terminate)
			x.Restart(x.t, service, i)
			x.healed("%s-%d is back", service, i)
		}
	}
	x.notes[noteNotInOrder] = bad
	x.at(1)
}

func rollChecks(x *trial) []record.Check {
	bad := x.notes[noteNotInOrder].([]string)
	last := time.Duration(x.record.Marks[len(x.record.Marks)-1].At)
	return []record.Check{
		count("processes that do not stop in order", "0", len(bad) == 0, "%v", bad),
		timing("everything is replaced while pushes come", "yes", last <= x.span, "after %s of %s", last.Round(time.Second), x.span),
		x.acknowledged(), x.slowestAnswer(time.Second), x.inOrder(),
	}
}

// scrape returns the metrics of a process.
func (x *trial) scrape(admin string) string {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	require.NoError(x.t, err)
	resp, err := http.DefaultClient.Do(req) //nolint:forbidigo // bounded by ctx
	require.NoError(x.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(x.t, err)
	return string(text)
}
