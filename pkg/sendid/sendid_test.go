package sendid_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/sendid"
)

func TestTheIDOfASendStays(t *testing.T) {
	require.Equal(t, "ca055ee3307cbf5e53f3866853ebddae", sendid.Of("shop", sendid.ReplyKey("event", 1)), "records and facts that are stored have it")
	require.NotEqual(t, sendid.Of("a", "bc"), sendid.Of("ab", "c"))
	require.Equal(t, "event:0", sendid.ReplyKey("event", 0))
}
