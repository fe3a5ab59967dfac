module github.com/wxbus/wxbus/services/sender

go 1.26.0

require (
	github.com/wxbus/wxbus/pkg v0.0.0
	github.com/wxbus/wxbus/proto v0.0.0
)

require github.com/sony/gobreaker/v2 v2.4.0 // indirect

replace github.com/wxbus/wxbus/pkg => ../../pkg

replace github.com/wxbus/wxbus/proto => ../../proto
