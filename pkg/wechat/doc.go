// Package wechat speaks the wire protocol between WeChat and a server: it verifies, decrypts and
// parses pushes, encodes and encrypts passive replies, and calls WeChat's API.
//
// # A push, from bytes to reply
//
//	query, err := wechat.ParseQuery(r.URL.RawQuery)
//	opened, err := keyring.Open(query, body, limits)   // verify, then decrypt
//	push, err := wechat.Parse(opened.Plain, limits)    // tolerant in content, strict in form
//	id := push.DedupeKey(account)                      // the same for every retry of WeChat
//	reply, err := wechat.EncodeReply(push.Format, wechat.Reply{...})
//	answer, err := keyring.Seal(opened, reply, now, nonce)
//
// Verification always comes before decryption and parsing, compares in constant time, and every
// failure of decryption is the same error, so a caller learns nothing from it.
//
// # Tolerance
//
// WeChat sends fields in any order, ids in three spellings, blanks around values and events that no
// page documents. Parse accepts all of it: what it does not know it keeps in the [Tree] of the push,
// and Push.Known tells whether the type of the push has a place in this package. It is strict where
// tolerance would be a hole: document types, entities beyond the five of XML, a second root, and
// anything over its [Limits] are refused.
//
// # Calls
//
// [Client] calls WeChat's API. Errors carry the class of the protocol's table ([Class]) and the
// outcome of the call ([Outcome]): whether WeChat cannot have seen it, refused it, or may have done
// it. No error holds a token or a secret.
//
// The package does no I/O except in Client, holds no state between calls, and is safe for concurrent
// use unless a comment says otherwise.
package wechat
