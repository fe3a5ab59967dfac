package bus

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
)

// A server that does not answer is asked again, one that knows of no such stream is not.
func TestALookUpAtAStartWaitsForAnAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		answers []error
		kind    fault.Kind
		asked   int
	}{
		"an answer after two silences": {[]error{context.DeadlineExceeded, errors.New("no leader"), nil}, 0, 3},
		"a stream that is missing":     {[]error{jetstream.ErrStreamNotFound}, fault.Permanent, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				found, err := lookUp(t.Context(), &Consumer{}, "stream IN", func(context.Context) (string, error) {
					asked++
					return "found", tc.answers[asked-1]
				})
				require.Equal(t, tc.asked, asked)
				if tc.kind != 0 {
					require.Equal(t, tc.kind, fault.KindOf(err))
					return
				}
				require.NoError(t, err)
				require.Equal(t, "found", found)
			})
		})
	}
}

func TestALookUpAtAStartEndsWithItsPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := lookUp(t.Context(), &Consumer{}, "stream IN", func(ctx context.Context) (int, error) {
			<-ctx.Done() // a server that hangs
			return 0, ctx.Err()
		})
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Equal(t, lookUpPatience, time.Since(began))
	})
}
