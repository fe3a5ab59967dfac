// Package vault keeps the accounts that are managed over the API: their sealed records in the bucket
// accounts, and the watch that feeds every process's directory with them. Only the token service writes.
package vault

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
)

// claimPrefix begins the keys that claim an AppID; no name of an account has a dot.
const claimPrefix = "appid."

// ClaimKey returns the key that claims an AppID.
func ClaimKey(appID string) string { return claimPrefix + appID }

// IsClaim reports whether a key of the bucket claims an AppID and is no account.
func IsClaim(key string) bool { return strings.HasPrefix(key, claimPrefix) }

// aad binds a sealed value to its place: a value copied to another key does not open.
func aad(key string) []byte { return []byte("accounts/" + key) }

// Seal returns the value of a key in the bucket accounts.
func Seal(s *secret.Sealer, key string, m proto.Message) ([]byte, error) {
	plain, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode account: %w", err)
	}
	return s.Seal(plain, aad(key)), nil
}

// Open is the inverse of Seal; it reads into m. It fails with Permanent when the value was sealed with another
// master key, for another key, or is damaged.
func Open(s *secret.Sealer, key string, value []byte, m proto.Message) error {
	plain, err := s.Open(value, aad(key))
	if err != nil {
		return fmt.Errorf("open %s in bucket accounts: %w", key, err)
	}
	if err := proto.Unmarshal(plain, m); err != nil {
		return fault.Errorf(fault.Permanent, "decode %s in bucket accounts: %w", key, err)
	}
	return nil
}

// Reseal opens a value of the buckets accounts or tokens with any known master key and seals it with the
// current one. It fails with Permanent when no key opens it.
func Reseal(s *secret.Sealer, bucket, key string, value []byte) ([]byte, error) {
	place := []byte(bucket + "/" + key)
	plain, err := s.Open(value, place)
	if err != nil {
		return nil, fmt.Errorf("open %s in bucket %s: %w", key, bucket, err)
	}
	return s.Seal(plain, place), nil
}

// Account returns the account of a record as the services use it. It checks nothing: see account.Account.Validate.
func Account(rec *tokenv1.AccountRecord, revision uint64) account.Account {
	s, k := rec.GetSettings(), rec.GetSecrets()
	a := account.Account{
		Name: s.GetName(), AppID: s.GetAppid(), OriginalID: s.GetOriginalId(),
		Kind: kinds.word(s.GetKind()), Format: formats.word(s.GetFormat()), Mode: modes.word(s.GetMode()),
		Token: secret.New(k.GetToken()), PreviousToken: secret.New(k.GetPreviousToken()),
		EncodingAESKey: secret.New(k.GetEncodingAesKey()), PreviousEncodingAESKey: secret.New(k.GetPreviousEncodingAesKey()),
		AppSecret: secret.New(k.GetAppSecret()), APIBase: s.GetApiBase(), Reply: replies.word(s.GetReply()),
		Ambiguous: policies.word(s.GetAmbiguous()), TokenAPI: endpoints.word(s.GetTokenEndpoint()),
		StretchAnswerEarly: s.GetStretchAnswerEarly(), AllowInsecure: s.GetAllowInsecure(), CallbackURL: s.GetCallbackUrl(),
		Disabled: rec.GetDisabled(), DisabledReason: rec.GetDisabledReason(), Revision: revision,
	}
	if s != nil {
		a.KfAPI = s.KfApi // a pointer: unset is not false
	}
	if s.GetPassiveDeadline() != nil {
		a.PassiveDeadline = s.GetPassiveDeadline().AsDuration()
	}
	a.SetDefaults()
	return a
}

// Settings returns what of an account is no secret.
func Settings(a account.Account) *tokenv1.AccountSettings {
	s := &tokenv1.AccountSettings{
		Name: a.Name, Appid: a.AppID, OriginalId: a.OriginalID,
		Kind: kinds.number(a.Kind), Format: formats.number(a.Format), Mode: modes.number(a.Mode), Reply: replies.number(a.Reply),
		ApiBase: a.APIBase, KfApi: a.KfAPI, Ambiguous: policies.number(a.Ambiguous), TokenEndpoint: endpoints.number(a.TokenAPI),
		StretchAnswerEarly: a.StretchAnswerEarly, AllowInsecure: a.AllowInsecure, CallbackUrl: a.CallbackURL,
	}
	if a.PassiveDeadline != 0 {
		s.PassiveDeadline = durationpb.New(a.PassiveDeadline)
	}
	return s
}

// PreviousUntil returns when the previous keys of a record end; false when they never do.
func PreviousUntil(rec *tokenv1.AccountRecord) (time.Time, bool) {
	ms := rec.GetPreviousUntilUnixMs()
	return time.UnixMilli(ms), ms != 0
}

// words pairs the values of an enum with the words of the configuration; those of no pair are the
// default, which is empty.
type words[E comparable, W ~string] map[E]W

func (w words[E, W]) word(e E) W { return w[e] }

func (w words[E, W]) number(word W) E {
	for e, text := range w {
		if text == word {
			return e
		}
	}
	var none E
	return none
}

var (
	kinds = words[eventv1.AccountKind, account.Kind]{
		eventv1.AccountKind_ACCOUNT_KIND_SERVICE:      account.KindService,
		eventv1.AccountKind_ACCOUNT_KIND_SUBSCRIPTION: account.KindSubscription,
		eventv1.AccountKind_ACCOUNT_KIND_MINIPROGRAM:  account.KindMiniProgram,
	}
	formats = words[tokenv1.PushFormat, account.Format]{
		tokenv1.PushFormat_PUSH_FORMAT_XML: account.FormatXML, tokenv1.PushFormat_PUSH_FORMAT_JSON: account.FormatJSON,
	}
	modes = words[tokenv1.PushMode, account.Mode]{
		tokenv1.PushMode_PUSH_MODE_SECURE:     account.ModeSecure,
		tokenv1.PushMode_PUSH_MODE_COMPATIBLE: account.ModeCompatible,
		tokenv1.PushMode_PUSH_MODE_PLAINTEXT:  account.ModePlaintext,
	}
	replies = words[eventv1.ReplyMode, account.Reply]{
		eventv1.ReplyMode_REPLY_MODE_ACK:     account.ReplyAck,
		eventv1.ReplyMode_REPLY_MODE_PASSIVE: account.ReplyPassive,
		eventv1.ReplyMode_REPLY_MODE_STRETCH: account.ReplyStretch,
	}
	policies = words[tokenv1.AmbiguousPolicy, account.Ambiguous]{
		tokenv1.AmbiguousPolicy_AMBIGUOUS_POLICY_DROP:   account.AmbiguousDrop,
		tokenv1.AmbiguousPolicy_AMBIGUOUS_POLICY_RESEND: account.AmbiguousResend,
	}
	endpoints = words[tokenv1.TokenEndpoint, account.TokenAPI]{
		tokenv1.TokenEndpoint_TOKEN_ENDPOINT_STABLE: account.TokenAPIStable,
		tokenv1.TokenEndpoint_TOKEN_ENDPOINT_TOKEN:  account.TokenAPIToken,
	}
)
