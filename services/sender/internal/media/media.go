// Package media uploads files to WeChat and keeps what it needs to do so again: WeChat forgets temporary media
// after three days. The same bytes are uploaded once; a message that finds its media forgotten gets another id for
// the same file.
package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/sender/internal/api"
)

const (
	// life is how long a media id is used: WeChat keeps media for three days.
	life = 72*time.Hour - margin
	// margin is left for the message that is to use it.
	margin = 3 * time.Hour
	// uploads bounds the uploads of a process at one time: each holds a file in memory.
	uploads = 4
)

// Media is safe for concurrent use.
type Media struct {
	kv       jetstream.KeyValue
	files    jetstream.ObjectStore
	accounts *account.Directory
	api      *api.API
	now      func() time.Time
	slots    chan struct{}

	mu    sync.Mutex            // guards locks
	locks map[string]*sync.Cond // uploads under way, by file
}

// New returns the media in bucket and object store.
func New(kv jetstream.KeyValue, files jetstream.ObjectStore, accounts *account.Directory, a *api.API, now func() time.Time) *Media {
	return &Media{
		kv: kv, files: files, accounts: accounts, api: a, now: now,
		slots: make(chan struct{}, uploads), locks: map[string]*sync.Cond{},
	}
}

// File is a file to upload.
type File struct {
	Type    senderv1.MediaType
	Name    string
	Content []byte
}

// Upload returns a media id for the file. It uploads unless the same bytes were, and are remembered by WeChat.
func (m *Media) Upload(ctx context.Context, a account.Account, f File) (rec *senderv1.MediaRecord, cached bool, err error) {
	format, err := check(a.Kind, f)
	if err != nil {
		return nil, false, err
	}
	sum := sha256.Sum256(f.Content)
	want := &senderv1.MediaRecord{
		Type: words[f.Type], Sha256: hex.EncodeToString(sum[:]), Filename: nameFor(f.Name, format), ContentType: format.contentType,
		Size: int64(len(f.Content)),
	}
	release, err := m.alone(ctx, a.Name+want.GetType()+want.GetSha256())
	if err != nil {
		return nil, false, err
	}
	defer release()
	have, err := m.file(ctx, a.Name, want.GetType(), want.GetSha256())
	if err != nil {
		return nil, false, err
	}
	if have != nil && m.usable(have) {
		return have, true, nil
	}
	// The bytes first: a media id without them could never be renewed.
	if _, err := m.files.PutBytes(ctx, objectName(a.Name, want.GetSha256()), f.Content); err != nil {
		return nil, false, fault.Wrap(fault.Unavailable, fmt.Errorf("keep file: %w", err))
	}
	rec, err = m.upload(ctx, a, want, f.Content)
	return rec, false, err
}

// Renew implements deliver.Renewer.
func (m *Media) Renew(ctx context.Context, accountName, mediaID string) (string, bool, error) {
	a, ok := m.accounts.Get(accountName)
	if !ok {
		return "", false, nil
	}
	old, err := m.get(ctx, idKey(accountName, mediaID))
	if err != nil || old == nil {
		return "", false, err
	}
	release, err := m.alone(ctx, accountName+old.GetType()+old.GetSha256())
	if err != nil {
		return "", false, err
	}
	defer release()
	have, err := m.file(ctx, accountName, old.GetType(), old.GetSha256())
	if err != nil {
		return "", false, err
	}
	if have != nil && have.GetMediaId() != mediaID && m.usable(have) {
		return have.GetMediaId(), true, nil // another message found out before
	}
	content, err := m.files.GetBytes(ctx, objectName(accountName, old.GetSha256()))
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fault.Wrap(fault.Unavailable, fmt.Errorf("read file: %w", err))
	}
	fresh, err := m.upload(ctx, a, proto.CloneOf(old), content)
	if err != nil {
		return "", false, err
	}
	return fresh.GetMediaId(), true, nil
}

func (m *Media) usable(rec *senderv1.MediaRecord) bool {
	return m.now().UnixMilli() < rec.GetExpiresUnixMs()
}

// upload calls WeChat and writes down what the media id is, and which file is behind it.
func (m *Media) upload(ctx context.Context, a account.Account, rec *senderv1.MediaRecord, content []byte) (*senderv1.MediaRecord, error) {
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	err := m.api.Do(ctx, a, func(ctx context.Context, c *wechat.Client, token string) error {
		up, err := c.MediaUpload(ctx, token, wechat.Upload{
			Type: rec.GetType(), Filename: rec.GetFilename(), ContentType: rec.GetContentType(), Content: bytes.NewReader(content),
		})
		rec.MediaId = up.MediaID
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("upload media: %w", err)
	}
	rec.ExpiresUnixMs = m.now().Add(life).UnixMilli()
	value, err := proto.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("encode media: %w", err)
	}
	for _, key := range []string{idKey(a.Name, rec.GetMediaId()), fileKey(a.Name, rec.GetType(), rec.GetSha256())} {
		if _, err := m.kv.Put(ctx, key, value); err != nil {
			return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("keep media id: %w", err))
		}
	}
	return rec, nil
}

func (m *Media) file(ctx context.Context, account, typ, sum string) (*senderv1.MediaRecord, error) {
	return m.get(ctx, fileKey(account, typ, sum))
}

// get returns a record, or nil.
func (m *Media) get(ctx context.Context, key string) (*senderv1.MediaRecord, error) {
	entry, err := m.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Errorf("read media: %w", err))
	}
	rec := &senderv1.MediaRecord{}
	if err := proto.Unmarshal(entry.Value(), rec); err != nil {
		return nil, fault.Errorf(fault.Permanent, "decode media: %w", err)
	}
	return rec, nil
}

// alone lets one caller at a time work on a file.
func (m *Media) alone(ctx context.Context, file string) (release func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if busy := m.locks[file]; busy != nil {
			busy.Broadcast()
		}
	})
	defer stop()
	for m.locks[file] != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		m.locks[file].Wait()
	}
	m.locks[file] = sync.NewCond(&m.mu)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.locks[file].Broadcast()
		delete(m.locks, file)
	}, nil
}

func fileKey(account, typ, sum string) string { return account + ".file." + typ + "." + sum }

// idKey names a media id by its hash: it is a stranger's text.
func idKey(account, mediaID string) string {
	sum := sha256.Sum256([]byte(mediaID))
	return account + ".id." + hex.EncodeToString(sum[:16])
}

func objectName(account, sum string) string { return account + "." + sum }
