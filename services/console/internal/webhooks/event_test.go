package webhooks

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// What the streams hold was written by our services of any version, or by nobody we know.
func FuzzRead(f *testing.F) {
	good, err := proto.Marshal(&eventv1.InboundEvent{Id: "a", Account: "shop", Kind: eventv1.EventKind_EVENT_KIND_SCAN, Raw: []byte("raw")})
	require.NoError(f, err)
	f.Add(topology.StreamInbound, "wx.in.shop.1.scan.fan", "", good)
	f.Add(topology.StreamDelivery, "wx.delivery.shop.1.fan", "wxbus.sender.v1.DeliverySettled", []byte{10, 1, 'a'})
	f.Add(topology.StreamConversations, "wx.conv.shop.c", "wxbus.agentrouting.v1.ConversationEvent", []byte{})
	f.Add(topology.StreamAlarms, "wx.alarm.shop.address", "wxbus.token.v1.AccountAlarmRaised", []byte{10, 1, 'a'})
	f.Add(topology.StreamAlarms, "wx.alarm.shop.address", "wxbus.token.v1.AccountAlarmEnded", []byte{10, 1, 'a'})
	f.Add("OTHER", "x", "y", []byte{0xff})
	f.Fuzz(func(t *testing.T, stream, subject, kind string, data []byte) {
		ev, ok := read(message{stream: stream, seq: 7, subject: subject, kind: kind, data: data})
		if !ok {
			return
		}
		if !IsKind(ev.Kind) {
			t.Fatalf("kind %q cannot be subscribed to", ev.Kind)
		}
		b, err := json.Marshal(ev)
		if err != nil || !json.Valid(b) {
			t.Fatalf("not JSON: %v", err)
		}
	})
}

func TestWaitsGrowAndEnd(t *testing.T) {
	require.Equal(t, "10s 30s 1h0m0s", backoff(1).String()+" "+backoff(2).String()+" "+backoff(50).String())
	require.Equal(t, "30s 1m0s 10m0s", pauseAfter(1).String()+" "+pauseAfter(2).String()+" "+pauseAfter(50).String())
}

func TestAnAlarmAndItsEndAreOfDifferentKinds(t *testing.T) {
	for kind, body := range map[string]proto.Message{
		KindAlarm:     &tokenv1.AccountAlarmRaised{Account: "shop", FirstSeenUnixMs: 7},
		KindAlarmOver: &tokenv1.AccountAlarmEnded{Account: "shop", FirstSeenUnixMs: 7, End: tokenv1.AccountAlarmEnd_ACCOUNT_ALARM_END_REPAIRED},
	} {
		data, err := proto.Marshal(body)
		require.NoError(t, err)
		ev, ok := read(message{stream: topology.StreamAlarms, seq: 1, subject: "wx.alarm.shop.address", kind: string(body.ProtoReflect().Descriptor().FullName()), data: data})
		require.True(t, ok)
		require.Equal(t, kind+" shop", ev.Kind+" "+ev.Account)
		require.Contains(t, string(ev.Data), `"first_seen_unix_ms":"7"`)
	}
}
