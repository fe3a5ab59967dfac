package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// private are the names of fields that a digest leaves out: secrets, and what people say to each other. A digest of
// a short text would give the text away.
var private = map[protoreflect.Name]bool{
	"password": true, "old_password": true, "new_password": true, "secret": true, "secrets": true, "app_secret": true,
	"token": true, "encoding_aes_key": true, "content": true, "text": true, "note": true, "message": true, "remark": true, "data": true,
}

// Digest is SHA-256 of a request without secrets and message texts, in hex. It proves which request an entry is about
// to somebody who has the request.
func Digest(m proto.Message) string {
	public := proto.Clone(m)
	redact(public.ProtoReflect())
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(public)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func redact(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case private[f.Name()]:
			m.Clear(f)
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				redact(v.List().Get(i).Message())
			}
		default:
			redact(v.Message())
		}
		return true
	})
}

// Hash is SHA-256 of what a thing is, in hex, for Change. Secrets must not be in it.
func Hash(thing any) string {
	b, err := json.Marshal(thing)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Change is what a handler tells about the thing that it changed.
type Change struct {
	mu            sync.Mutex // guards the rest
	before, after string
}

type changeKey struct{}

// WithChange returns a context in which a handler can call Changed.
func WithChange(ctx context.Context) (context.Context, *Change) {
	c := &Change{}
	return context.WithValue(ctx, changeKey{}, c), c
}

// Changed tells the hashes of a thing before and after a change; nil for a thing that does not exist. Outside a request
// it does nothing.
func Changed(ctx context.Context, before, after any) {
	c, ok := ctx.Value(changeKey{}).(*Change)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if before != nil {
		c.before = Hash(before)
	}
	if after != nil {
		c.after = Hash(after)
	}
}

// Hashes returns what was told.
func (c *Change) Hashes() (before, after string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.before, c.after
}
