package topology

import "github.com/nats-io/nats.go/jetstream"

// The stream and buckets of the token service.
const (
	StreamAlarms      = "ALARMS"
	BucketTokens      = "tokens"
	BucketAccounts    = "accounts"
	BucketCallbackIPs = "callback_ips"
)

func tokenStreams() []streamSpec {
	return []streamSpec{{
		writer: ServiceToken, readers: "console", types: "wxbus.token.v1.AccountAlarmRaised, wxbus.token.v1.AccountAlarmEnded",
		key: "`<account>:<kind>:<first seen>:<number>`, or `end` for the number", share: 1,
		note: "The oldest gives way, so that the newest is never refused.",
		config: jetstream.StreamConfig{
			Name: StreamAlarms, Description: "what is wrong with the tokens of an account",
			Subjects:  []string{prefixAlarm + ">"},
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
			MaxAge: 30 * day, Duplicates: duplicates, MaxMsgSize: 64 << 10,
		},
	}}
}

func tokenBuckets() []bucketSpec {
	return []bucketSpec{
		{
			writer: ServiceToken, readers: "sender, rule, agent-routing, console (by the client of the token service)",
			types: "wxbus.token.v1.TokenRecord, sealed", key: "account for its access token, `<account>.jsapi` and `<account>.wx_card` for its tickets", share: 3,
			config: jetstream.KeyValueConfig{Bucket: BucketTokens, Description: "access tokens and tickets, sealed", History: 1},
		},
		{
			writer: ServiceToken, readers: "every service", types: "wxbus.token.v1.AccountRecord, sealed",
			key: "account, or `appid.<appid>` for a claim (wxbus.token.v1.AppIDClaim)", share: 3,
			config: jetstream.KeyValueConfig{Bucket: BucketAccounts, Description: "accounts that are managed over the API, sealed", History: 1},
		},
		{
			writer: ServiceToken, readers: "gateway", types: "wxbus.token.v1.CallbackIPs", key: "account", share: 2,
			config: jetstream.KeyValueConfig{Bucket: BucketCallbackIPs, Description: "where WeChat's pushes come from", History: 1},
		},
	}
}
