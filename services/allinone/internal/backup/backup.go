// Package backup keeps all that wxbus stores in a folder, and makes it again from there: every stream, bucket and
// object store as a snapshot of the server, with the positions of their readers, and the files of SQLite.
//
// A backup is not one moment. Streams are taken in the order in which events flow, then buckets, then SQL: whatever a
// reader has to handle once more after a restore, it finds its own trace of the first time, and does nothing twice
// (ADR 0064).
package backup

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wxbus/wxbus/pkg/fault"
	_ "github.com/wxbus/wxbus/pkg/sqldb" // registers the driver of SQLite
	"github.com/wxbus/wxbus/pkg/topology"
)

const (
	manifestFile = "manifest.json"
	format       = 1
	bucketPrefix = "KV_"
	objectPrefix = "OBJ_"
)

// Manifest says what a backup holds. It is written last: a folder without one is no backup.
type Manifest struct {
	Format  int       `json:"format"`
	Version string    `json:"version"`
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Streams []Stream  `json:"streams"`
	SQL     []File    `json:"sql,omitempty"`
}

// File is one file of a database.
type File struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// Source is what a backup is taken of, or restored to.
type Source struct {
	NC       *nats.Conn
	JS       jetstream.JetStream
	Topology *topology.Topology
	// SQLDir is the folder of the SQLite files; "" when there are none, as with Postgres.
	SQLDir  string
	Version string
	// Progress is told before each stream; nil for nobody.
	Progress func(done, total int, name string)
}

// names returns every stream in the order of the flow.
func (s Source) names() []string {
	var out []string
	for _, c := range s.Topology.Streams() {
		out = append(out, c.Name)
	}
	for _, c := range s.Topology.Buckets() {
		out = append(out, bucketPrefix+c.Bucket)
	}
	for _, c := range s.Topology.ObjectStores() {
		out = append(out, objectPrefix+c.Bucket)
	}
	return out
}

func (s Source) tell(done, total int, name string) {
	if s.Progress != nil {
		s.Progress(done, total, name)
	}
}

// Take writes a backup to dir, which must be empty or not exist. The system may be at work.
func Take(ctx context.Context, s Source, dir string) (Manifest, error) {
	m := Manifest{Format: format, Version: s.Version, Began: time.Now().UTC()}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return m, fmt.Errorf("make the folder of the backup: %w", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		return m, fault.Errorf(fault.Invalid, "%s: must be an empty folder: %w", dir, errors.Join(err))
	}
	names := s.names()
	for i, name := range names {
		s.tell(i, len(names), name)
		taken, err := takeStream(ctx, s.NC, dir, name)
		if err != nil {
			return m, err
		}
		m.Streams = append(m.Streams, taken)
	}
	var err error
	if m.SQL, err = takeSQL(ctx, s.SQLDir, dir); err != nil {
		return m, err
	}
	s.tell(len(names), len(names), "")
	m.Ended = time.Now().UTC()
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, fault.Wrap(fault.Internal, err)
	}
	return m, writeFile(filepath.Join(dir, manifestFile), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

func takeStream(ctx context.Context, nc *nats.Conn, dir, name string) (taken Stream, err error) {
	file := name + ".snapshot"
	err = writeFile(filepath.Join(dir, file), func(w io.Writer) error {
		taken, err = snapshot(ctx, nc, name, w)
		taken.File = file
		return err
	})
	return taken, err
}

// writeFile writes a new file that only its owner reads, and returns when it is on the disk.
func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make a file of the backup: %w", err)
	}
	return errors.Join(write(f), f.Sync(), f.Close())
}

// takeSQL copies every database as it is at one moment, while others write to it.
func takeSQL(ctx context.Context, from, dir string) ([]File, error) {
	if from == "" {
		return nil, nil
	}
	databases, err := filepath.Glob(filepath.Join(from, "*.db"))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err)
	}
	var out []File
	for _, name := range databases {
		copied := filepath.Join(dir, filepath.Base(name))
		if err := vacuumInto(ctx, name, copied); err != nil {
			return nil, fmt.Errorf("copy %s: %w", filepath.Base(name), err)
		}
		sum, size, err := digest(copied)
		if err != nil {
			return nil, err
		}
		out = append(out, File{Name: filepath.Base(name), SHA256: sum, Bytes: size})
	}
	return out, nil
}

func vacuumInto(ctx context.Context, name, to string) error {
	db, err := sql.Open("sqlite", "file:"+name+"?_pragma=busy_timeout(30000)")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	return errors.Join(err, db.Close(), os.Chmod(to, 0o600))
}

func digest(name string) (string, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, fmt.Errorf("read the backup: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return "", 0, fmt.Errorf("read the backup: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), n, nil
}

// Open reads the manifest of a backup and checks that every file is as it was written.
func Open(dir string) (Manifest, error) {
	var m Manifest
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, fault.Errorf(fault.Invalid, "%s: no backup, or one that was not finished: %s is missing", dir, manifestFile)
	}
	if err != nil {
		return m, fmt.Errorf("read the backup: %w", err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fault.Errorf(fault.Invalid, "%s: %w", manifestFile, err)
	}
	if m.Format != format {
		return m, fault.Errorf(fault.Invalid, "%s: format %d, this version reads %d", manifestFile, m.Format, format)
	}
	files := map[string]string{}
	for _, s := range m.Streams {
		files[s.File] = s.SHA256
	}
	for _, f := range m.SQL {
		files[f.Name] = f.SHA256
	}
	for name, want := range files {
		if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
			return m, fault.Errorf(fault.Invalid, "%s: %q is no name of a file here", manifestFile, name)
		}
		got, _, err := digest(filepath.Join(dir, name))
		if err != nil {
			return m, err
		}
		if got != want {
			return m, fault.Errorf(fault.Invalid, "%s is damaged: its checksum is not that of the manifest", name)
		}
	}
	return m, nil
}

// InTheWay returns what a restore would replace: streams that hold messages, and files of SQL.
func InTheWay(ctx context.Context, s Source, m Manifest) ([]string, error) {
	var out []string
	for _, name := range m.Streams {
		stream, err := s.JS.Stream(ctx, name.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
		case err != nil:
			return nil, fault.Errorf(fault.Unavailable, "look at %s: %w", name.Name, err)
		case stream.CachedInfo().State.Msgs > 0 && name.Name != topology.StreamAdvisories: // nobody's work
			out = append(out, fmt.Sprintf("%s (%d messages)", name.Name, stream.CachedInfo().State.Msgs))
		}
	}
	for _, f := range m.SQL {
		if _, err := os.Stat(filepath.Join(s.SQLDir, f.Name)); s.SQLDir != "" && err == nil {
			out = append(out, f.Name)
		}
	}
	return out, nil
}

// Restore puts everything of a backup back in the place of what is there. Services must be stopped. It may be repeated
// after a failure.
func Restore(ctx context.Context, s Source, dir string, m Manifest) error {
	for i, want := range m.Streams {
		s.tell(i, len(m.Streams), want.Name)
		if err := s.JS.DeleteStream(ctx, want.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fault.Errorf(fault.Unavailable, "make room for %s: %w", want.Name, err)
		}
		if err := restoreStream(ctx, s, dir, want); err != nil {
			return err
		}
	}
	s.tell(len(m.Streams), len(m.Streams), "")
	return restoreSQL(s.SQLDir, dir, m.SQL)
}

func restoreStream(ctx context.Context, s Source, dir string, want Stream) error {
	f, err := os.Open(filepath.Join(dir, want.File))
	if err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	if err := restore(ctx, s.NC, want, f); err != nil {
		return err
	}
	stream, err := s.JS.Stream(ctx, want.Name)
	if err != nil {
		return fault.Errorf(fault.Unavailable, "look at the restored %s: %w", want.Name, err)
	}
	// What was stored while the snapshot was taken may be in it.
	if got := stream.CachedInfo().State.LastSeq; got < want.LastSeq {
		return fault.Errorf(fault.Permanent, "%s ends at %d after the restore, the backup at %d", want.Name, got, want.LastSeq)
	}
	return nil
}

func restoreSQL(to, dir string, files []File) error {
	if len(files) == 0 {
		return nil
	}
	if to == "" {
		return fault.New(fault.Invalid, "the backup holds SQLite files, and sql.url names another database")
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("make the folder of the databases: %w", err)
	}
	for _, f := range files {
		target := filepath.Join(to, f.Name)
		for _, old := range []string{target, target + "-wal", target + "-shm"} {
			if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("make room for %s: %w", f.Name, err)
			}
		}
		from, err := os.Open(filepath.Join(dir, f.Name))
		if err != nil {
			return fmt.Errorf("read the backup: %w", err)
		}
		err = writeFile(target, func(w io.Writer) error {
			_, err := io.Copy(w, from)
			return err
		})
		if err := errors.Join(err, from.Close()); err != nil {
			return err
		}
	}
	return nil
}
