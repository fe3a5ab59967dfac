module github.com/wxbus/wxbus/services/allinone

go 1.26.0

require (
	github.com/wxbus/wxbus/pkg v0.0.0
	github.com/wxbus/wxbus/proto v0.0.0
	github.com/wxbus/wxbus/services/agent-routing v0.0.0
	github.com/wxbus/wxbus/services/console v0.0.0
	github.com/wxbus/wxbus/services/gateway v0.0.0
	github.com/wxbus/wxbus/services/rule v0.0.0
	github.com/wxbus/wxbus/services/sender v0.0.0
	github.com/wxbus/wxbus/services/simulator v0.0.0
	github.com/wxbus/wxbus/services/token v0.0.0
)

replace github.com/wxbus/wxbus/pkg => ../../pkg

replace github.com/wxbus/wxbus/proto => ../../proto

replace github.com/wxbus/wxbus/services/gateway => ../../services/gateway

replace github.com/wxbus/wxbus/services/rule => ../../services/rule

replace github.com/wxbus/wxbus/services/token => ../../services/token

replace github.com/wxbus/wxbus/services/sender => ../../services/sender

replace github.com/wxbus/wxbus/services/agent-routing => ../../services/agent-routing

replace github.com/wxbus/wxbus/services/console => ../../services/console

replace github.com/wxbus/wxbus/services/simulator => ../../services/simulator
