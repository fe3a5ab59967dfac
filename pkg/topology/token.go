package topology

import "github.com/nats-io/nats.go/jetstream"

// The buckets of the token service.
const (
	BucketTokens      = "tokens"
	BucketAccounts    = "accounts"
	BucketCallbackIPs = "callback_ips"
)

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
