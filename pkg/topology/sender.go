package topology

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// The streams and buckets of the sender.
const (
	StreamOutbound = "OUTBOUND"
	StreamDelivery = "DELIVERY"
	StreamLater    = "LATER"
	StreamAudience = "CAMPAIGN_AUDIENCE"
	// StreamCampaignLedger holds what became of every recipient of every campaign.
	StreamCampaignLedger = "CAMPAIGN_LEDGER"
	BucketSends          = "sends"
	BucketGrants         = "grants"
	BucketCampaigns      = "campaigns"
	BucketJobs           = "jobs"
	BucketBudgets        = "budgets"
	BucketMedia          = "media"
	StoreMedia           = "media_files"
)

// campaignAge is how long a campaign is kept after its last change.
const campaignAge = 90 * day

func senderStreams() []streamSpec {
	return []streamSpec{
		{
			writer: ServiceSender, readers: "sender", types: "wxbus.sender.v1.OutboundMessage", key: "`id` of the send", share: 54,
			note: "Private work: a message is gone when it is acknowledged. The bucket sends makes a repeated id harmless.",
			config: jetstream.StreamConfig{
				Name: StreamOutbound, Description: "messages that wait to be sent",
				Subjects:  []string{prefixOutbound + ">"},
				Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
				MaxAge: 3 * day, Duplicates: repeats, MaxMsgSize: maxMsgSize,
			},
		},
		{
			writer: ServiceSender, readers: "agent-routing, console",
			types: "wxbus.sender.v1.DeliveryAttempted, wxbus.sender.v1.DeliverySettled",
			key:   "`<id>:<attempt>:attempted`, `<id>:settled`", share: 80,
			config: jetstream.StreamConfig{
				Name: StreamDelivery, Description: "what became of every send",
				Subjects:  []string{prefixDelivery + ">"},
				Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
				MaxAge: 30 * day, Duplicates: repeats, MaxMsgSize: maxMsgSize,
			},
		},
		{
			writer: ServiceSender, readers: "sender", types: "wxbus.sender.v1.OutboundMessage", key: "the subject: one schedule for each", share: 25,
			note: "The server moves a message from at to due when its time has come. It refuses nothing when it is full, so the sender does.",
			config: jetstream.StreamConfig{
				Name: StreamLater, Description: "messages that are parked or wait for their own time, and results that may become overdue",
				Subjects:  []string{prefixLater + ">"},
				Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardOld, AllowMsgSchedules: true, AllowRollup: true,
				MaxAge: 4 * day, Duplicates: duplicates, MaxMsgSize: maxMsgSize,
			},
		},
		{
			writer: ServiceSender, readers: "sender", types: "wxbus.sender.v1.AudienceChunk",
			key: "the subject; every write expects it to be empty", share: 16,
			note: "Written once: an audience is frozen. Another one gets another revision.",
			config: jetstream.StreamConfig{
				Name: StreamAudience, Description: "recipients of campaigns",
				Subjects:  []string{prefixAudience + ">"},
				Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 1,
				MaxAge: campaignAge, Duplicates: duplicates, MaxMsgSize: maxMsgSize,
			},
		},
		{
			writer: ServiceSender, readers: "sender", types: "wxbus.sender.v1.LedgerChunk, wxbus.sender.v1.ReplaySelection",
			key: "the subject; every write expects its last sequence", share: 8, leaderReads: true,
			note: "One message for each subject: the recipients as they are now.",
			config: jetstream.StreamConfig{
				Name: StreamCampaignLedger, Description: "what became of the recipients of campaigns",
				Subjects:  []string{prefixCampaign + ">"},
				Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 1,
				MaxAge: campaignAge, Duplicates: duplicates, MaxMsgSize: maxMsgSize,
			},
		},
	}
}

func senderBuckets() []bucketSpec {
	return []bucketSpec{
		{
			writer: ServiceSender, readers: "sender", types: "wxbus.sender.v1.SendRecord", key: "`<account>.<id>`", share: 60,
			config: jetstream.KeyValueConfig{Bucket: BucketSends, Description: "state of every send", History: 1,
				TTL: 7 * day, LimitMarkerTTL: time.Minute},
		},
		{
			writer: ServiceSender, readers: "sender", types: "wxbus.sender.v1.GrantRecord", key: "`<account>.<openid>`", share: 30,
			note:   "The longest window is 48 hours.",
			config: jetstream.KeyValueConfig{Bucket: BucketGrants, Description: "what may still be sent to a fan", History: 1, TTL: 50 * time.Hour},
		},
		{
			writer: ServiceSender, readers: "sender", types: "wxbus.sender.v1.JobRecord", key: "`<account>.<family>.<msg_id>`", share: 3,
			note:   "Where a message that WeChat took meets the event with its result, whichever is first.",
			config: jetstream.KeyValueConfig{Bucket: BucketJobs, Description: "messages whose result WeChat tells by an event", History: 1, TTL: 3 * day},
		},
		{
			writer: ServiceSender, readers: "sender", types: "wxbus.sender.v1.BudgetRecord", key: "`<account>.<endpoint>`", share: 1,
			config: jetstream.KeyValueConfig{Bucket: BucketBudgets, Description: "rate and daily count of each API, over all replicas", History: 1, TTL: 7 * day},
		},
		{
			writer: ServiceSender, readers: "sender", types: "wxbus.sender.v1.MediaRecord",
			key: "`<account>.file.<type>.<sha256>`, `<account>.id.<hash of media_id>`", share: 1,
			config: jetstream.KeyValueConfig{Bucket: BucketMedia, Description: "files that were uploaded to WeChat", History: 1, TTL: mediaAge},
		},
		{
			writer: ServiceSender, readers: "sender", types: "wxbus.sender.v1.CampaignRecord, wxbus.sender.v1.CampaignLease",
			key: "`<account>.<id>`, `lease.<account>.<id>`", share: 2,
			note:   "Every replica watches it; the holder of the lease runs the campaign.",
			config: jetstream.KeyValueConfig{Bucket: BucketCampaigns, Description: "campaigns and who runs them", History: 1, TTL: campaignAge},
		},
	}
}

// mediaAge is how long an uploaded file is kept, counted from its last upload.
const mediaAge = 14 * day

func senderObjects() []objectSpec {
	return []objectSpec{{
		writer: ServiceSender, readers: "sender", types: "the bytes of uploaded files", key: "`<account>.<sha256>`", share: 20,
		note:   "For uploading again what WeChat forgot; kept 14 days.",
		config: jetstream.ObjectStoreConfig{Bucket: StoreMedia, Description: "files that were uploaded to WeChat", TTL: mediaAge},
	}}
}

func senderConsumers(t *Topology) []Consumer {
	out := partitioned(t, ServiceSender, StreamInbound, "folds grants and job results", inboundOf)
	out = append(out, partitioned(t, ServiceSender, StreamOutbound, "sends to WeChat", func(p uint32) []string {
		return []string{
			outboundOf(senderv1.Lane_LANE_AGENT, p),
			outboundOf(senderv1.Lane_LANE_RULE, p),
			outboundOf(senderv1.Lane_LANE_NOTIFY, p),
		}
	})...)
	out = append(out, t.consumer(ServiceSender, StreamLater, DurableLater,
		"brings messages whose time has come to OUTBOUND", []string{prefixLater + laterDue + ">"}))
	for p := range uint32(t.opts.Partitions) {
		c := t.consumer(ServiceSender, StreamOutbound, DurableCampaign(p), "sends campaigns to WeChat",
			[]string{outboundOf(senderv1.Lane_LANE_CAMPAIGN, p)})
		c.Partition = p
		out = append(out, c)
	}
	return out
}

func outboundOf(lane senderv1.Lane, partition uint32) string {
	return fmt.Sprintf("%s%s.*.%d.>", prefixOutbound, LaneToken(lane), partition)
}
