// Package media keeps the files of messages in our own store before WeChat forgets them after three days.
package media

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Folder keeps files in a folder. Replicas that share a database must share the folder too. It is safe for concurrent use.
type Folder struct{ dir string }

// NewFolder returns a store below dir, which is made when the first file comes.
func NewFolder(dir string) *Folder { return &Folder{dir: dir} }

// maxID bounds an id; ids are our own.
const maxID = 128

// path spreads files over folders by the end of their ids, which is random or a suffix of one.
func (f *Folder) path(id string) (string, error) {
	plain := func(r rune) bool {
		return (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') || r == '-' || r == '.'
	}
	if len(id) < 4 || len(id) > maxID || strings.HasPrefix(id, ".") || strings.ContainsFunc(id, func(r rune) bool { return !plain(r) }) {
		return "", fault.New(fault.Invalid, "id: is not the id of a file")
	}
	return filepath.Join(f.dir, id[:2], id), nil
}

// Put stores a file whole or not at all.
func (f *Folder) Put(_ context.Context, id string, content []byte) error {
	path, err := f.path(id)
	if err != nil {
		return err
	}
	if err := f.put(path, content); err != nil {
		return fault.Errorf(fault.Unavailable, "store a file: %w", err)
	}
	return nil
}

func (f *Folder) put(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".put-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// Get opens a file; the caller closes it. NotFound when there is none.
func (f *Folder) Get(_ context.Context, id string) (io.ReadCloser, int64, error) {
	path, err := f.path(id)
	if err != nil {
		return nil, 0, err
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fault.New(fault.NotFound, "id: no such file")
	}
	if err != nil {
		return nil, 0, fault.Errorf(fault.Unavailable, "open a file: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(fault.Errorf(fault.Unavailable, "open a file: %w", err), file.Close())
	}
	return file, info.Size(), nil
}

// Delete removes a file and tells whether there was one.
func (f *Folder) Delete(_ context.Context, id string) (bool, error) {
	path, err := f.path(id)
	if err != nil {
		return false, err
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fault.Errorf(fault.Unavailable, "delete a file: %w", err)
	}
	return true, nil
}
