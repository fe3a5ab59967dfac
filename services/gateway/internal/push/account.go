// Package push turns the body of a request into an event: verify, decrypt, parse, check that it is
// for us, map. It knows WeChat's protocol and our proto, and neither HTTP nor NATS.
package push

import (
	"fmt"
	"io"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
)

// Options are the same for all accounts.
type Options struct {
	// AllowInsecure accepts the modes plaintext and compatible for every account.
	AllowInsecure bool
	// Limits bounds what a body may cost.
	Limits wechat.Limits
	// Rand is the source of salts; nil means crypto/rand.
	Rand io.Reader
}

// Account is one account with its credentials ready for use. It is immutable.
type Account struct {
	account.Account
	limits wechat.Limits
	// sealed opens encrypted pushes, plain those in the clear. One of them may be nil.
	sealed, plain *wechat.Keyring
}

// NewAccount checks the credentials of an account. It refuses a mode in which the body is not
// authenticated unless that is allowed for this account or for all of them. Errors start with the
// name of the account and are fault.Invalid.
func NewAccount(a account.Account, o Options) (*Account, error) {
	if a.Mode != account.ModeSecure && !a.AllowInsecure && !o.AllowInsecure {
		return nil, fault.Errorf(fault.Invalid,
			"account %s: mode %s: the signature does not protect the body, so anybody who saw one push can forge others: "+
				"use mode secure, or set allow_insecure for the account or gateway.allow_insecure_modes", a.Name, a.Mode)
	}
	out := &Account{Account: a, limits: o.Limits}
	keys := wechat.KeyringConfig{
		AppID: a.AppID, Token: a.Token.Reveal(), PreviousToken: a.PreviousToken.Reveal(), Rand: o.Rand,
	}
	var err error
	if a.Mode == account.ModePlaintext {
		// The console asks for a key in every mode, so a key does not say that pushes are encrypted.
		if out.plain, err = wechat.NewKeyring(keys); err != nil {
			return nil, fmt.Errorf("account %s: %w", a.Name, err)
		}
	}
	if !a.EncodingAESKey.IsZero() {
		keys.EncodingAESKey, keys.PreviousEncodingAESKey = a.EncodingAESKey.Reveal(), a.PreviousEncodingAESKey.Reveal()
		if out.sealed, err = wechat.NewKeyring(keys); err != nil {
			return nil, fmt.Errorf("account %s: %w", a.Name, err)
		}
	}
	if out.sealed == nil && out.plain == nil {
		return nil, fault.Errorf(fault.Invalid, "account %s: encoding_aes_key: required in mode %s", a.Name, a.Mode)
	}
	return out, nil
}

// Encrypts reports whether the account accepts encrypted pushes only.
func (a *Account) Encrypts() bool { return a.plain == nil }

// MiniProgram reports whether the account is a Mini Program, which shows no passive content.
func (a *Account) MiniProgram() bool { return a.Kind == account.KindMiniProgram }

// VerifyURL reports whether a URL verification is genuine (protocol a.1).
func (a *Account) VerifyURL(q wechat.Query) bool {
	if a.sealed != nil {
		return a.sealed.VerifyURL(q)
	}
	return a.plain.VerifyURL(q)
}

// keyring returns the keyring that decides about a push. In the modes secure and compatible that is
// always the one with the key, whatever the request says about itself. In mode plaintext an encrypted
// push proves more than is asked, and comes when the console was switched first.
func (a *Account) keyring(q wechat.Query) *wechat.Keyring {
	if a.plain == nil || q.EncryptType == "aes" && a.sealed != nil {
		return a.sealed
	}
	return a.plain
}
