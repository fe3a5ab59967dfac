package clock

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// answerTimeout bounds the wait for one server. Half of the way there and back is what a measurement may be wrong by,
	// so that is less than tolerance.
	answerTimeout = 2 * time.Second
	// lookTimeout bounds them all: a process starts also while streams are without leaders.
	lookTimeout = 4 * time.Second
)

// Servers is a Source that asks the servers that lead these streams; own is the clock that is compared. Of a NATS
// without replicas there is one, whose name is empty.
func Servers(js jetstream.JetStream, own func() time.Time, streams []string, servers int) Source {
	return func(ctx context.Context) map[string]time.Duration {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		found := map[string]time.Duration{}
		for _, name := range streams {
			if len(found) >= servers || ctx.Err() != nil {
				break
			}
			if server, ahead, ok := measure(ctx, js, own, name); ok {
				found[server] = ahead
			}
		}
		return found
	}
}

// measure compares the own clock with the time at which the leader of a stream wrote its answer.
func measure(ctx context.Context, js jetstream.JetStream, own func() time.Time, stream string) (server string, ahead time.Duration, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	asked, began := own(), time.Now()
	s, err := js.Stream(ctx, stream)
	took := time.Since(began)
	if err != nil || took > answerTimeout {
		return "", 0, false
	}
	info := s.CachedInfo()
	if info.TimeStamp.IsZero() {
		return "", 0, false
	}
	if info.Cluster != nil {
		server = info.Cluster.Leader
	}
	return server, asked.Add(took / 2).Sub(info.TimeStamp), true
}
