// Package logkey lists the keys of log lines, so that a search works across all services. Keys
// are snake_case. An openid, message content or a secret is never a value.
package logkey

// Keys of every line.
const (
	Service  = "service"  // name of the process or component group
	Instance = "instance" // replica
	TraceID  = "trace_id" // added from the context
	SpanID   = "span_id"  // added from the context
)

// Keys of what happened.
const (
	Error     = "error"     // text of the error
	ErrorID   = "error_id"  // id that the caller saw instead of the text
	ErrorKind = "kind"      // fault kind
	Component = "component" // lifecycle component
	Took      = "took"      // seconds
	Attempt   = "attempt"   // number of the try, from 1
	Outcome   = "outcome"   // result of a unit of work
	Reason    = "reason"
	Stack     = "stack"
	Version   = "version"
	Address   = "address" // local or remote address
	Method    = "method"  // RPC or HTTP method
	Route     = "route"   // HTTP pattern, never the path
	Code      = "code"    // gRPC code or HTTP status
)

// Keys of the bus and the business.
const (
	Account      = "account"
	EventID      = "event_id"
	EventKind    = "event_kind"
	Subject      = "subject_template" // template, never the subject: that has the openid
	Stream       = "stream"
	Consumer     = "consumer"
	Partition    = "partition"
	Sequence     = "seq"
	Deliveries   = "deliveries"
	ReplyRoute   = "reply_route" // route of a decision
	Rule         = "rule"
	RuleVersion  = "rule_version"
	Generation   = "generation" // of an access token
	Errcode      = "errcode"    // of WeChat's API
	Endpoint     = "endpoint"   // of WeChat's API, template
	Lane         = "lane"
	Campaign     = "campaign"
	Conversation = "conversation"
	Agent        = "agent"
	Group        = "group"
	Epoch        = "epoch"
)
