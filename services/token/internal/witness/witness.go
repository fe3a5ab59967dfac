// Package witness asks the gateways what they saw of an account.
package witness

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/gateway/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	// quiet ends the collection when no further gateway answers for so long; total is the end in any case.
	quiet = 250 * time.Millisecond
	total = 2 * time.Second
	// maxAnswers bounds what is read.
	maxAnswers = 256
)

// Witness is safe for concurrent use.
type Witness struct {
	bus *bus.Conn
	log *slog.Logger
}

// New returns a witness that asks over the bus.
func New(conn *bus.Conn, log *slog.Logger) *Witness { return &Witness{bus: conn, log: log} }

// Ask returns what the gateways that answer in time saw, ordered by instance. Nobody may answer.
func (w *Witness) Ask(ctx context.Context, account string) []*gatewayv1.CollectEvidenceResponse {
	out, err := w.ask(ctx, account)
	if err != nil {
		w.log.WarnContext(ctx, "gateways not asked", logkey.Account, account, logkey.Error, err)
	}
	slices.SortFunc(out, func(a, b *gatewayv1.CollectEvidenceResponse) int {
		return strings.Compare(a.GetInstance(), b.GetInstance())
	})
	return out
}

func (w *Witness) ask(ctx context.Context, account string) ([]*gatewayv1.CollectEvidenceResponse, error) {
	data, err := proto.Marshal(&gatewayv1.CollectEvidenceRequest{Account: account})
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	nc := w.bus.NC()
	inbox := nc.NewInbox() // below the prefix that this service may listen to
	answers := make(chan *nats.Msg, maxAnswers)
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, fmt.Errorf("take answers: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection is gone then, and the subscription with it
	if err := nc.PublishRequest(topology.SubjectEvidence(), inbox, data); err != nil {
		return nil, fmt.Errorf("ask gateways: %w", err)
	}
	return collect(ctx, answers), nil
}

func collect(ctx context.Context, answers <-chan *nats.Msg) []*gatewayv1.CollectEvidenceResponse {
	ctx, cancel := context.WithTimeout(ctx, total)
	defer cancel()
	var out []*gatewayv1.CollectEvidenceResponse
	for len(out) < maxAnswers {
		select {
		case m := <-answers:
			if isNoResponders(m) {
				return out
			}
			one := &gatewayv1.CollectEvidenceResponse{}
			if proto.Unmarshal(m.Data, one) == nil && one.GetInstance() != "" {
				out = append(out, one)
			}
		case <-time.After(quiet):
			return out
		case <-ctx.Done():
			return out
		}
	}
	return out
}

// isNoResponders recognises the server's word that nobody listens.
func isNoResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}
