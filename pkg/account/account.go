// Package account describes the WeChat accounts that a deployment serves: what they are to
// WeChat, how pushes are secured, and how they are answered. The wire rules behind the fields are
// sections a.1 to a.3 of the protocol notes.
package account

import (
	"time"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/pkg/secret"
)

// Kind is what the account is to WeChat.
type Kind string

// The kinds of account.
const (
	KindService      Kind = "service"      // service account (服务号)
	KindSubscription Kind = "subscription" // subscription account (订阅号)
	KindMiniProgram  Kind = "miniprogram"  // Mini Program (小程序)
)

// Format is the data format of pushes, a switch in WeChat's console.
type Format string

// The formats.
const (
	FormatXML  Format = "xml"
	FormatJSON Format = "json"
)

// Mode is how pushes are secured, a switch in WeChat's console.
type Mode string

// The modes.
const (
	ModeSecure     Mode = "secure"     // 安全: encrypted only
	ModeCompatible Mode = "compatible" // 兼容: plain and encrypted; only the encrypted part counts here
	ModePlaintext  Mode = "plaintext"  // 明文: the body is not authenticated
)

// Reply is how the gateway answers a push.
type Reply string

// The reply modes.
const (
	ReplyAck     Reply = "ack"     // success at once; replies go by the customer-service API
	ReplyPassive Reply = "passive" // the connection is kept until the passive deadline
	ReplyStretch Reply = "stretch" // attempts 1 and 2 time out, attempt 3 is answered
)

// Ambiguous is what happens to a reply of which nobody knows whether the fan got it.
type Ambiguous string

// The policies for ambiguous replies.
const (
	AmbiguousDrop   Ambiguous = "drop"
	AmbiguousResend Ambiguous = "resend"
)

// TokenAPI is the endpoint that access tokens come from.
type TokenAPI string

// The token endpoints.
const (
	TokenAPIStable TokenAPI = "stable" // /cgi-bin/stable_token
	TokenAPIToken  TokenAPI = "token"  // /cgi-bin/token
)

// DefaultAPIBase is WeChat's API server.
const DefaultAPIBase = "https://api.weixin.qq.com"

// Account is one Official Account or Mini Program. It is a plain value; copies are independent
// except for KfAPI, which nobody changes after loading. Who keeps something that was made from an
// account uses Derived, because accounts change while the process runs.
type Account struct {
	Name                   string        `yaml:"name" desc:"Short name, used in URLs, subjects and keys: a-z, 0-9, _ and -, at most 63."`
	AppID                  string        `yaml:"appid" desc:"AppID from WeChat's console."`
	OriginalID             string        `yaml:"original_id" desc:"Original id (gh_…), the ToUserName of pushes; empty accepts any."`
	Kind                   Kind          `yaml:"kind" enum:"service,subscription,miniprogram" desc:"What the account is to WeChat."`
	Format                 Format        `yaml:"format" enum:"xml,json" desc:"Data format of pushes, as set in WeChat's console."`
	Mode                   Mode          `yaml:"mode" enum:"secure,compatible,plaintext" desc:"Message encryption, as set in WeChat's console."`
	Token                  secret.Value  `yaml:"token" desc:"Token from WeChat's console, 3 to 32 letters and digits."`
	PreviousToken          secret.Value  `yaml:"previous_token" desc:"Token before the last change; still accepted."`
	EncodingAESKey         secret.Value  `yaml:"encoding_aes_key" desc:"EncodingAESKey, 43 letters and digits; needed unless mode is plaintext."`
	PreviousEncodingAESKey secret.Value  `yaml:"previous_encoding_aes_key" desc:"EncodingAESKey before the last change; still accepted."`
	AppSecret              secret.Value  `yaml:"app_secret" desc:"AppSecret, for access tokens; empty when the account only receives."`
	APIBase                string        `yaml:"api_base" desc:"Base URL of WeChat's API, http or https, without a path at the end."`
	Reply                  Reply         `yaml:"reply" enum:"ack,passive,stretch" desc:"How pushes are answered: at once, within the deadline, or on the third attempt."`
	KfAPI                  *bool         `yaml:"kf_api" desc:"Whether the customer-service API may be used; default: true unless reply is stretch."`
	Ambiguous              Ambiguous     `yaml:"ambiguous" enum:"drop,resend" desc:"What to do with a reply whose delivery nobody can know."`
	TokenAPI               TokenAPI      `yaml:"token_api" enum:"stable,token" desc:"Endpoint for access tokens."`
	PassiveDeadline        time.Duration `yaml:"passive_deadline" desc:"How long a connection is kept for a passive reply; 0 is the gateway's default."`
	StretchAnswerEarly     bool          `yaml:"stretch_answer_early" desc:"In stretch mode, answer attempts 1 and 2 too when the reply is there."`
	AllowInsecure          bool          `yaml:"allow_insecure" desc:"Accept mode plaintext or compatible for this account."`
	CallbackURL            string        `yaml:"callback_url" desc:"URL that WeChat pushes to, as the internet sees it; wxbus doctor tries it. Empty: not tried."`
	Disabled               bool          `yaml:"disabled" desc:"Refuse the account's pushes, send nothing and fetch no tokens."`

	// DisabledReason is what was said when the account was disabled over the API.
	DisabledReason string `yaml:"-"`
	// Revision grows with every change over the API; 0 for an account of the configuration file.
	Revision uint64 `yaml:"-"`
}

// WhyDisabled says in words that the account is disabled, and why; "" when it is not.
func (a Account) WhyDisabled() string {
	switch {
	case !a.Disabled:
		return ""
	case a.DisabledReason == "":
		return "the account is disabled"
	default:
		return "the account is disabled: " + a.DisabledReason
	}
}

// FromFile reports whether the configuration file manages the account, and not the API.
func (a Account) FromFile() bool { return a.Revision == 0 }

// SetDefaults fills the fields that are empty and have a default. It can be called twice.
func (a *Account) SetDefaults() {
	setDefault(&a.Kind, KindService)
	setDefault(&a.Format, FormatXML)
	setDefault(&a.Mode, ModeSecure)
	setDefault(&a.APIBase, DefaultAPIBase)
	setDefault(&a.Reply, ReplyAck)
	setDefault(&a.Ambiguous, AmbiguousDrop)
	setDefault(&a.TokenAPI, TokenAPIStable)
}

func setDefault[T ~string](field *T, value T) {
	if *field == "" {
		*field = value
	}
}

// AllowsKf reports whether the customer-service API may be used for the account.
func (a Account) AllowsKf() bool {
	if a.KfAPI != nil {
		return *a.KfAPI
	}
	return a.Reply != ReplyStretch
}

// ProtoKind returns the kind as it stands in events.
func (a Account) ProtoKind() eventv1.AccountKind {
	switch a.Kind {
	case KindService:
		return eventv1.AccountKind_ACCOUNT_KIND_SERVICE
	case KindSubscription:
		return eventv1.AccountKind_ACCOUNT_KIND_SUBSCRIPTION
	case KindMiniProgram:
		return eventv1.AccountKind_ACCOUNT_KIND_MINIPROGRAM
	default:
		return eventv1.AccountKind_ACCOUNT_KIND_UNSPECIFIED
	}
}

// ProtoReply returns the reply mode as it stands in events.
func (a Account) ProtoReply() eventv1.ReplyMode {
	switch a.Reply {
	case ReplyAck:
		return eventv1.ReplyMode_REPLY_MODE_ACK
	case ReplyPassive:
		return eventv1.ReplyMode_REPLY_MODE_PASSIVE
	case ReplyStretch:
		return eventv1.ReplyMode_REPLY_MODE_STRETCH
	default:
		return eventv1.ReplyMode_REPLY_MODE_UNSPECIFIED
	}
}
