package password_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"

	"github.com/wxbus/wxbus/services/console/internal/password"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var cheap = password.Params{MemoryKiB: 64, Passes: 1, Threads: 1}

func TestAPasswordHasItsHashAndNoOther(t *testing.T) {
	h := password.New(password.Default, 1)
	first, err := h.Hash(t.Context(), "正确的马电池订书钉啊啊")
	require.NoError(t, err)
	second, err := h.Hash(t.Context(), "正确的马电池订书钉啊啊")
	require.NoError(t, err)
	require.NotEqual(t, first, second, "every hash has a salt of its own")
	require.True(t, strings.HasPrefix(first, "$argon2id$v=19$m=19456,t=2,p=1$"), first)

	cheaper := password.New(cheap, 1) // the stored hash says its own cost
	for text, want := range map[string]bool{"正确的马电池订书钉啊啊": true, "正确的马电池订书钉啊": false, "": false, strings.Repeat("x", 300): false} {
		got, err := cheaper.Verify(t.Context(), first, text)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
	}
}

func TestNobodyHasAnEmptyHash(t *testing.T) {
	ok, err := password.New(cheap, 1).Verify(t.Context(), "", "")
	require.NoError(t, err)
	require.False(t, ok)
}

func TestOnlyTheLengthOfAPasswordCounts(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("啊", 9): "at least 10", strings.Repeat("啊", 10): "", strings.Repeat("a", 256): "", strings.Repeat("a", 257): "at most 256", "aaaaaaaaaa\xff": "UTF-8",
	} {
		err := password.Check(text)
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	}
	require.NoError(t, password.Check(password.Generate()))
	require.NotEqual(t, password.Generate(), password.Generate())
}

func TestDamagedHashesAreDefectsAndCostNothing(t *testing.T) {
	h := password.New(cheap, 1)
	for _, damaged := range []string{"x", "$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$aGFzaA", "$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$aGFzaA",
		"$argon2id$v=19$m=64,t=1,p=1$!$!", "$bcrypt$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaA"} {
		_, err := h.Verify(t.Context(), damaged, "x")
		require.Equal(t, fault.Internal, fault.KindOf(err), damaged)
	}
}

func TestWaitingForASlotEndsWithTheRequest(t *testing.T) {
	h := password.New(cheap, 0) // no slot ever
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.Hash(ctx, "x")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	_, err = h.Verify(ctx, "", "x")
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}
