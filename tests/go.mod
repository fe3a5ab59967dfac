module github.com/wxbus/wxbus/tests

go 1.26.0

require (
	github.com/nats-io/nats-server/v2 v2.15.2
	github.com/nats-io/nats.go v1.55.0
	github.com/stretchr/testify v1.12.1
	github.com/wxbus/wxbus/pkg v0.0.0
	go.yaml.in/yaml/v3 v3.0.5
)

require (
	github.com/antithesishq/antithesis-sdk-go v0.8.0-default-no-op // indirect
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/nats-io/jwt/v2 v2.8.2 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260928230214-8a89bd6388cc // indirect
	google.golang.org/grpc v1.85.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/wxbus/wxbus/pkg => ../pkg

replace github.com/wxbus/wxbus/proto => ../proto

replace github.com/wxbus/wxbus/services/allinone => ../services/allinone

replace github.com/wxbus/wxbus/services/gateway => ../services/gateway

replace github.com/wxbus/wxbus/services/rule => ../services/rule

replace github.com/wxbus/wxbus/services/token => ../services/token

replace github.com/wxbus/wxbus/services/sender => ../services/sender

replace github.com/wxbus/wxbus/services/agent-routing => ../services/agent-routing

replace github.com/wxbus/wxbus/services/console => ../services/console

replace github.com/wxbus/wxbus/services/simulator => ../services/simulator
