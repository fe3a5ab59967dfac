package store

import (
	"context"
	"time"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/sqldb"
)

// File is a file of a message: what WeChat calls it and what became of our copy.
type File struct {
	ID, Account, OpenID string
	Seq                 uint64
	Role, MediaID       string
	State               agentroutingv1.MediaState
	ContentType         string
	Size                int64
	PlayableType        string
	Reason              string
	Tries               int
	// Due is the next try, Until when WeChat forgets the file.
	Due, Until time.Time
}

const fileColumns = "id, account, openid, seq, role, media_id, state, content_type, size, playable_type, reason, tries, due_ms, until_ms"

func scanFile(r sqldb.Scanner) (File, error) {
	var f File
	var due, until int64
	err := r.Scan(&f.ID, &f.Account, &f.OpenID, &f.Seq, &f.Role, &f.MediaID, &f.State, &f.ContentType, &f.Size, &f.PlayableType, &f.Reason, &f.Tries, &due, &until)
	f.Due, f.Until = at(due), at(until)
	return f, err
}

// Media returns the file as clients see it.
func (f File) Media() *agentroutingv1.Media {
	return &agentroutingv1.Media{Id: f.ID, State: f.State, ContentType: f.ContentType, Size: f.Size, PlayableType: f.PlayableType, Reason: f.Reason, Role: f.Role}
}

// AddFile notes a file to fetch.
func (q Q) AddFile(ctx context.Context, f File) error {
	_, err := q.Exec(ctx, "INSERT INTO media ("+fileColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		f.ID, f.Account, f.OpenID, int64(f.Seq), f.Role, f.MediaID, int16(f.State), f.ContentType, f.Size, f.PlayableType, f.Reason, f.Tries, millis(f.Due), millis(f.Until))
	return err
}

// SaveFile stores what became of a file.
func (q Q) SaveFile(ctx context.Context, f File) error {
	_, err := q.Exec(ctx, "UPDATE media SET state = ?, content_type = ?, size = ?, playable_type = ?, reason = ?, tries = ?, due_ms = ? WHERE id = ?",
		int16(f.State), f.ContentType, f.Size, f.PlayableType, f.Reason, f.Tries, millis(f.Due), f.ID)
	return err
}

// File returns a file by id.
func (q Q) File(ctx context.Context, account, id string) (File, bool, error) {
	return one[File]{scanFile}.get(ctx, q, "SELECT "+fileColumns+" FROM media WHERE account = ? AND id = ?", account, id)
}

// ClaimFile returns a file to fetch and moves its next try to until, so that no other replica takes it meanwhile.
func (q Q) ClaimFile(ctx context.Context, now, until time.Time) (File, bool, error) {
	f, ok, err := one[File]{scanFile}.get(ctx, q, "SELECT "+fileColumns+" FROM media WHERE due_ms > 0 AND due_ms <= ? ORDER BY due_ms LIMIT 1"+q.SkipLocked(), millis(now))
	if err != nil || !ok {
		return f, false, err
	}
	_, err = q.Exec(ctx, "UPDATE media SET due_ms = ? WHERE id = ?", millis(until), f.ID)
	return f, true, err
}

// Files returns the files of a fan.
func (q Q) Files(ctx context.Context, account, openID string) ([]File, error) {
	return collect(ctx, q, "SELECT "+fileColumns+" FROM media WHERE account = ? AND openid = ? ORDER BY seq, id", []any{account, openID}, scanFile)
}

// addMedia puts the files to the messages of one fan.
func (q Q) addMedia(ctx context.Context, account, openID string, messages []*agentroutingv1.Message) error {
	if len(messages) == 0 {
		return nil
	}
	files, err := collect(ctx, q, "SELECT "+fileColumns+" FROM media WHERE account = ? AND openid = ? AND seq BETWEEN ? AND ? ORDER BY seq, role, id",
		[]any{account, openID, int64(messages[0].GetSeq()), int64(messages[len(messages)-1].GetSeq())}, scanFile)
	if err != nil {
		return err
	}
	bySeq := make(map[uint64]*agentroutingv1.Message, len(messages))
	for _, m := range messages {
		bySeq[m.GetSeq()] = m
	}
	for _, f := range files {
		if m := bySeq[f.Seq]; m != nil {
			m.Media = append(m.Media, f.Media())
		}
	}
	return nil
}
