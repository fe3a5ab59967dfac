// Package media keeps the files of messages in our own store before WeChat forgets them after three days: in a folder, or in a
// bucket that speaks the protocol of S3.
package media

import (
	"context"
	"io"
	"strings"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Store keeps the bytes of files. It is safe for concurrent use.
type Store interface {
	// Put stores a file whole or not at all, in the place of one with the same id.
	Put(ctx context.Context, id string, content []byte) error
	// Get opens a file from an offset, with the size of the whole file; the caller closes it, and ends ctx not before. NotFound when
	// there is none, Invalid for an offset behind the last byte.
	Get(ctx context.Context, id string, offset int64) (io.ReadCloser, int64, error)
	// Delete removes a file and tells whether there was one.
	Delete(ctx context.Context, id string) (bool, error)
}

var (
	_ Store = (*Folder)(nil)
	_ Store = (*Bucket)(nil)
)

var (
	errNoFile  = fault.New(fault.NotFound, "id: no such file")
	errOffset  = fault.New(fault.Invalid, "offset: is behind the end of the file")
	errWrongID = fault.New(fault.Invalid, "id: is not the id of a file")
)

// maxID bounds an id; ids are our own.
const maxID = 128

// place returns the folder and the name under which a file is kept, the same in every store, so that files can be copied from one
// to the other. Files are spread over folders by the beginning of their ids, which is a hash of the fan.
func place(id string) (string, error) {
	plain := func(r rune) bool {
		return (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') || r == '-' || r == '.'
	}
	if len(id) < 4 || len(id) > maxID || strings.HasPrefix(id, ".") || strings.ContainsFunc(id, func(r rune) bool { return !plain(r) }) {
		return "", errWrongID
	}
	return id[:2] + "/" + id, nil
}
