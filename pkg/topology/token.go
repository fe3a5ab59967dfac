package topology

import "github.com/nats-io/nats.go/jetstream"

// The buckets of the token service.
const (
	BucketTokens   = "tokens"
	BucketAccounts = "accounts"
)

func tokenBuckets() []bucketSpec {
	return []bucketSpec{
		{
			writer: ServiceToken, readers: "sender, rule, agent-routing, console (by the client of the token service)",
			types: "wxbus.token.v1.TokenRecord, sealed", key: "account", share: 1,
			config: jetstream.KeyValueConfig{Bucket: BucketTokens, Description: "access tokens and tickets, sealed", History: 1},
		},
		{
			writer: ServiceToken, readers: "token", types: "credentials of accounts, sealed", key: "account", share: 1,
			config: jetstream.KeyValueConfig{Bucket: BucketAccounts, Description: "credentials of accounts, sealed", History: 1},
		},
	}
}
