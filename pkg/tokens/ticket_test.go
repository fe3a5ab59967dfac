package tokens_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/tokens"
)

// ticketService counts how often it is asked; it answers with one generation more than was bad.
type ticketService struct {
	tokenv1.AccountServiceClient
	asked atomic.Int32
}

func (s *ticketService) GetTicket(_ context.Context, req *tokenv1.GetTicketRequest, _ ...grpc.CallOption) (*tokenv1.GetTicketResponse, error) {
	s.asked.Add(1)
	if req.GetKind() == tokenv1.TicketKind_TICKET_KIND_UNSPECIFIED {
		return nil, fault.Status(fault.New(fault.Invalid, "kind: must be jsapi or wx_card"))
	}
	return &tokenv1.GetTicketResponse{
		Ticket: req.GetKind().String(), Generation: req.GetBadGeneration() + 1, ValidForMs: time.Hour.Milliseconds(),
	}, nil
}

func TestTicketsComeFromMemoryAndFromTheBucket(t *testing.T) {
	f := setUp(t)
	s := &ticketService{}
	c := tokens.New(tokens.Options{KV: f.kv, Sealer: f.sealer, Token: f.service, Tickets: s, Now: f.clock.Now})
	bustest.Run(t, c)
	var done sync.WaitGroup
	for range 1000 {
		done.Go(func() {
			got, err := c.Ticket(t.Context(), "shop", tokens.JSAPI)
			if err != nil || got.Generation != 1 || got.Value.Reveal() != "TICKET_KIND_JSAPI" {
				t.Errorf("generation %d, %v", got.Generation, err)
			}
		})
	}
	done.Wait()
	require.EqualValues(t, 1, s.asked.Load())
	got, err := c.Ticket(t.Context(), "shop", tokens.WXCard)
	require.NoError(t, err)
	require.Equal(t, "TICKET_KIND_WX_CARD", got.Value.Reveal(), "tickets of one account are apart")

	// Another process got a newer one: the watch brings it, nobody is asked.
	box, err := tokens.SealRecord(f.sealer, "shop.jsapi", &tokenv1.TokenRecord{
		Token: &tokenv1.AccessToken{Value: "newer", Generation: 2, ExpiresUnixMs: f.clock.Now().Add(time.Hour).UnixMilli()},
	})
	require.NoError(t, err)
	_, err = f.kv.Put(t.Context(), "shop.jsapi", box)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got, err := c.Ticket(t.Context(), "shop", tokens.JSAPI)
		return err == nil && got.Generation == 2
	}, 30*time.Second, time.Millisecond)
	got, err = c.BadTicket(t.Context(), "shop", tokens.JSAPI, 1)
	require.NoError(t, err)
	require.Equal(t, "newer", got.Value.Reveal())
	require.EqualValues(t, 2, s.asked.Load())

	got, err = c.BadTicket(t.Context(), "shop", tokens.JSAPI, 2)
	require.NoError(t, err)
	require.EqualValues(t, 3, got.Generation)
	_, err = c.Ticket(t.Context(), "shop", "other")
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	without := tokens.New(tokens.Options{KV: f.kv, Sealer: f.sealer, Token: f.service})
	_, err = without.Ticket(t.Context(), "shop", tokens.JSAPI)
	require.Equal(t, fault.Internal, fault.KindOf(err), "a process without the client")
}
