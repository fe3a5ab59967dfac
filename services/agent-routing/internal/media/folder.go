package media

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Folder keeps files in a folder. Replicas that share a database must share the folder too. It is safe for concurrent use.
type Folder struct{ dir string }

// NewFolder returns a store below dir, which is made when the first file comes.
func NewFolder(dir string) *Folder { return &Folder{dir: dir} }

func (f *Folder) path(id string) (string, error) {
	at, err := place(id)
	if err != nil {
		return "", err
	}
	return filepath.Join(f.dir, filepath.FromSlash(at)), nil
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

// Get opens a file from an offset.
func (f *Folder) Get(_ context.Context, id string, offset int64) (io.ReadCloser, int64, error) {
	path, err := f.path(id)
	if err != nil {
		return nil, 0, err
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, errNoFile
	}
	if err != nil {
		return nil, 0, fault.Errorf(fault.Unavailable, "open a file: %w", err)
	}
	size, err := from(file, offset)
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, size, nil
}

// from moves to an offset and returns the size of the file.
func from(file *os.File, offset int64) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, fault.Errorf(fault.Unavailable, "open a file: %w", err)
	}
	if offset < 0 || (offset > 0 && offset >= info.Size()) {
		return 0, errOffset
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return 0, fault.Errorf(fault.Unavailable, "open a file: %w", err)
	}
	return info.Size(), nil
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
