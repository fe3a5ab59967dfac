package topology_test

import (
	"hash/fnv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/topology"
)

const message = eventv1.EventKind_EVENT_KIND_MESSAGE

func must(t *testing.T) func(string, error) string {
	return func(s string, err error) string {
		t.Helper()
		require.NoError(t, err)
		return s
	}
}

func TestSubjects(t *testing.T) {
	ok := must(t)
	require.Equal(t, "wx.in.shop.3.message.oAbc_-1", ok(topology.SubjectInbound("shop", 3, message, "oAbc_-1")))
	require.Equal(t, "wx.spill.shop.3.click.oAbc", ok(topology.SubjectSpill("shop", 3, eventv1.EventKind_EVENT_KIND_CLICK, "oAbc")))
	require.Equal(t, "wx.decision.shop.31.0af", ok(topology.SubjectDecision("shop", 31, "0af")))
	require.Equal(t, "wx.out.campaign.shop.0.oAbc", ok(topology.SubjectOutbound(senderv1.Lane_LANE_CAMPAIGN, "shop", 0, "oAbc")))
	require.Equal(t, "wx.delivery.shop.0.oAbc", ok(topology.SubjectDelivery("shop", 0, "oAbc")))
	require.Equal(t, "wx.audience.shop.spring.ab12.7", ok(topology.SubjectAudience("shop", "spring", "ab12", 7)))
	require.Equal(t, "wx.audience.shop.spring.ab12.*", ok(topology.FilterAudience("shop", "spring", "ab12")))
	require.Equal(t, "wx.campaign.shop.spring.7", ok(topology.SubjectLedger("shop", "spring", 7)))
	require.Equal(t, "wx.campaign.shop.spring.replay-ab12", ok(topology.SubjectReplay("shop", "spring", "ab12")))
	require.Equal(t, "wx.delivery.shop.>", ok(topology.FilterDeliveries("shop")))
	require.Equal(t, "wx.in.shop.>", ok(topology.FilterInbound("shop")))
	require.Equal(t, "wx.conv.shop.c1", ok(topology.SubjectConversation("shop", "c1")))
	require.Equal(t, "wx.dlq.rule.INBOUND", ok(topology.SubjectDeadLetter("rule", "INBOUND")))
	require.Equal(t, "wxgw.offer.gw-1", ok(topology.SubjectOffer("gw-1")))
}

func TestStrangersCannotChooseTokens(t *testing.T) {
	for _, bad := range []string{"", "a.b", "a*", ">", "a b", "a/b", `a\b`, "a\r\nPUB x", "店", "$JS", strings.Repeat("a", 129)} {
		_, err := topology.SubjectInbound(bad, 0, message, "o")
		require.Equal(t, fault.Invalid, fault.KindOf(err), "account %q", bad)
		_, err = topology.SubjectDecision("shop", 0, bad)
		require.Error(t, err, "id %q", bad)
		_, err = topology.SubjectConversation("shop", bad)
		require.Error(t, err, "conversation %q", bad)
		_, err = topology.SubjectAudience("shop", bad, "ab12", 0)
		require.Error(t, err, "campaign %q", bad)
		_, err = topology.FilterAudience("shop", "spring", bad)
		require.Error(t, err, "revision %q", bad)
		_, err = topology.SubjectLedger("shop", bad, 0)
		require.Error(t, err, "campaign %q", bad)
		_, err = topology.SubjectReplay(bad, "spring", "ab12")
		require.Error(t, err, "account %q", bad)
		_, err = topology.FilterInbound(bad)
		require.Equal(t, fault.Invalid, fault.KindOf(err), bad)
		_, err = topology.SubjectReplay("shop", "spring", bad)
		require.Error(t, err, "selection %q", bad)
		_, err = topology.FilterDeliveries(bad)
		require.Error(t, err, "account %q", bad)
		_, err = topology.SubjectDeadLetter(bad, "INBOUND")
		require.Error(t, err, "service %q", bad)
		_, err = topology.SubjectOffer(bad)
		require.Error(t, err, "instance %q", bad)
	}
	_, err := topology.SubjectInbound("shop", 0, eventv1.EventKind_EVENT_KIND_UNSPECIFIED, "o")
	require.Error(t, err)
	_, err = topology.SubjectInbound("shop", 0, 99, "o")
	require.Error(t, err)
	_, err = topology.SubjectOutbound(senderv1.Lane_LANE_UNSPECIFIED, "shop", 0, "o")
	require.Error(t, err)
}

func TestOddOpenIDsGetATokenOfTheirOwn(t *testing.T) {
	require.Equal(t, "oAbc-_9", topology.OpenIDToken("oAbc-_9"))
	odd := []string{"", "a.b", "a b", "粉丝", ">", strings.Repeat("o", 65)}
	seen := make(map[string]bool)
	for _, openid := range odd {
		token := topology.OpenIDToken(openid)
		require.Regexp(t, `^x-[0-9a-f]{32}$`, token)
		require.False(t, seen[token])
		seen[token] = true
		require.Equal(t, token, topology.OpenIDToken(token), "a token stays what it is")
	}
}

func TestParseUndoesBuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		account := rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,62}`).Draw(t, "account")
		openid := rapid.String().Draw(t, "openid")
		partition := rapid.Uint32Range(0, topology.MaxPartitions-1).Draw(t, "partition")
		kind := eventv1.EventKind(rapid.IntRange(1, 9).Draw(t, "kind"))
		spilled := rapid.Bool().Draw(t, "spilled")
		build := topology.SubjectInbound
		if spilled {
			build = topology.SubjectSpill
		}
		subject, err := build(account, partition, kind, openid)
		require.NoError(t, err)
		got, err := topology.ParseInbound(subject)
		require.NoError(t, err)
		require.Equal(t, topology.InboundSubject{Account: account, Partition: partition, Kind: kind,
			Fan: topology.OpenIDToken(openid), Spilled: spilled}, got)
		require.Equal(t, account+"."+topology.OpenIDToken(openid), topology.LaneKey(subject))
		if spilled {
			home, err := topology.HomeOfSpill(subject)
			require.NoError(t, err)
			direct, err := topology.SubjectInbound(account, partition, kind, openid)
			require.NoError(t, err)
			require.Equal(t, direct, home)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("wx.in.shop.3.message.oAbc")
	f.Add("wx.out.agent.shop.3.oAbc")
	f.Add("wx.decision.shop.3.id")
	f.Add("wx.in....")
	f.Fuzz(func(t *testing.T, subject string) {
		if in, err := topology.ParseInbound(subject); err == nil {
			build := topology.SubjectInbound
			if in.Spilled {
				build = topology.SubjectSpill
			}
			// Subjects from elsewhere may hold tokens that we never build, but what we accept and can build
			// again means the same.
			if again, err := build(in.Account, in.Partition, in.Kind, in.Fan); err == nil {
				twice, err := topology.ParseInbound(again)
				require.NoError(t, err)
				require.Equal(t, in.Account, twice.Account)
				require.Equal(t, in.Partition, twice.Partition)
			}
		}
		_, _ = topology.ParseOutbound(subject)
		_, _ = topology.ParseDecision(subject)
		_, _ = topology.HomeOfSpill(subject)
		require.NotPanics(t, func() { topology.LaneKey(subject); topology.Template(subject) })
	})
}

func TestParseOthers(t *testing.T) {
	out, err := topology.ParseOutbound("wx.out.rule.shop.12.oAbc")
	require.NoError(t, err)
	require.Equal(t, topology.OutboundSubject{Lane: senderv1.Lane_LANE_RULE, Account: "shop", Partition: 12, Fan: "oAbc"}, out)
	decision, err := topology.ParseDecision("wx.decision.shop.2.0af")
	require.NoError(t, err)
	require.Equal(t, topology.DecisionSubject{Account: "shop", Partition: 2, ID: "0af"}, decision)
	service, stream, ok := topology.ParseDeadLetter("wx.dlq.rule.INBOUND")
	require.True(t, ok)
	require.Equal(t, []string{"rule", "INBOUND"}, []string{service, stream})
	for _, bad := range []string{"", "wx.in.shop.x.message.o", "wx.in.shop.1.nothing.o", "wx.in.shop.1.message", "wx.in.shop.1.message.o.p", "wx.in.shop.100.message.o", "wx.inn.shop.1.message.o"} {
		_, err := topology.ParseInbound(bad)
		require.Equal(t, fault.Invalid, fault.KindOf(err), bad)
	}
	_, err = topology.HomeOfSpill("wx.in.shop.1.message.o")
	require.Error(t, err)
}

func TestTemplatesNameNoFan(t *testing.T) {
	for _, subject := range []string{"wx.in.shop.1.message.oSecret", "wx.out.rule.shop.1.oSecret", "wx.delivery.shop.1.oSecret", "strange.oSecret"} {
		require.NotContains(t, topology.Template(subject), "oSecret")
	}
	require.Equal(t, "wx.in.{account}.{partition}.{kind}.{openid}", topology.Template("wx.in.shop.1.message.o"))
	require.Equal(t, "INBOUND", topology.StreamOf("wx.in.shop.1.message.o"))
	require.Empty(t, topology.StreamOf("wxgw.offer.a"))
	require.Equal(t, "shop.c1", topology.LaneKey("wx.conv.shop.c1"))
	require.Equal(t, "shop.o", topology.LaneKey("wx.out.rule.shop.1.o"))
}

func TestPartitionIsFNV1a(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		account, openid := rapid.String().Draw(t, "account"), rapid.String().Draw(t, "openid")
		n := rapid.IntRange(1, topology.MaxPartitions).Draw(t, "n")
		h := fnv.New32a()
		_, _ = h.Write([]byte(account + "\x00" + openid))
		require.Equal(t, h.Sum32()%uint32(n), topology.PartitionOf(account, openid, n))
	})
}

func TestPartitionsAreEven(t *testing.T) {
	const n, fans = 32, 32_000
	var counts [n]int
	for i := range fans {
		counts[topology.PartitionOf("shop", "oABCD"+string(rune('a'+i%26))+strings.Repeat("x", i%7)+string(rune(0x4e00+i)), n)]++
	}
	for p, c := range counts {
		require.InDelta(t, fans/n, c, fans/n/4, "partition %d", p)
	}
}

func TestTokensOfKindsAndLanes(t *testing.T) {
	for i := range eventv1.EventKind_name {
		kind := eventv1.EventKind(i)
		if kind == eventv1.EventKind_EVENT_KIND_UNSPECIFIED {
			require.Empty(t, topology.KindToken(kind))
			continue
		}
		require.NotEmpty(t, topology.KindToken(kind), kind)
		require.Equal(t, kind, topology.ParseKindToken(topology.KindToken(kind)))
	}
	for i := range senderv1.Lane_name {
		lane := senderv1.Lane(i)
		require.Equal(t, lane, topology.ParseLaneToken(topology.LaneToken(lane)))
		require.Equal(t, lane == senderv1.Lane_LANE_UNSPECIFIED, topology.LaneToken(lane) == "")
	}
	require.Equal(t, eventv1.EventKind_EVENT_KIND_UNSPECIFIED, topology.ParseKindToken(""))
}

func TestInboundSubjectCostsOneAllocation(t *testing.T) {
	allocs := testing.AllocsPerRun(100, func() {
		_, _ = topology.SubjectInbound("shop", 31, message, "oABCDEFGHIJKLMNOPQRSTUVWXYZ12")
	})
	require.LessOrEqual(t, allocs, 1.0)
}

func BenchmarkSubjectInbound(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = topology.SubjectInbound("shop", 31, message, "oABCDEFGHIJKLMNOPQRSTUVWXYZ12")
	}
}
