package media

import (
	"context"
	"errors"
	"io"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
)

var errSeek = errors.New("seek in a file: before its beginning")

// file is a file of agent-routing that is read where the browser wants it: a stream is opened at the place from which somebody
// reads, and the one that was open before ends.
type file struct {
	ctx     context.Context //nolint:containedctx // of the one request whose answer is read from it
	files   agentroutingv1.ConversationServiceClient
	request *agentroutingv1.GetMediaRequest

	kind string
	size int64
	// at is the place of the next Read.
	at int64

	stream interface {
		Recv() (*agentroutingv1.GetMediaResponse, error)
	}
	cancel context.CancelFunc
	// rest is what was received and not yet read; it begins at restAt.
	rest   []byte
	restAt int64
	err    error
}

var _ io.ReadSeeker = (*file)(nil)

// open opens a file at its beginning, where most are read.
func open(ctx context.Context, files agentroutingv1.ConversationServiceClient, request *agentroutingv1.GetMediaRequest) (*file, error) {
	f := &file{ctx: ctx, files: files, request: request}
	first, err := f.from(0) //nolint:contextcheck // every part is read under the context of the file
	if err != nil {
		f.close()
		return nil, err
	}
	f.kind, f.size = first.GetContentType(), first.GetSize()
	return f, nil
}

// from opens a stream at an offset and returns its first piece.
func (f *file) from(offset int64) (*agentroutingv1.GetMediaResponse, error) {
	f.close()
	ctx, cancel := context.WithCancel(f.ctx)
	f.cancel = cancel
	request, _ := proto.Clone(f.request).(*agentroutingv1.GetMediaRequest)
	request.Offset = offset
	stream, err := f.files.GetMedia(ctx, request)
	if err != nil {
		return nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	f.stream, f.rest, f.restAt = stream, first.GetData(), offset
	return first, nil
}

func (f *file) close() {
	if f.cancel != nil {
		f.cancel()
	}
	f.stream, f.rest = nil, nil
}

// Seek moves the place of the next Read.
func (f *file) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.size
	default:
	}
	if offset < 0 {
		return 0, errSeek
	}
	f.at = offset
	return offset, nil
}

// Read returns what comes next. What fails stays in err: the answer has begun by then, and can only end early.
func (f *file) Read(p []byte) (int, error) {
	if f.at >= f.size {
		return 0, io.EOF
	}
	if f.stream == nil || f.restAt != f.at {
		if _, err := f.from(f.at); err != nil {
			return 0, f.fail(err)
		}
	}
	for len(f.rest) == 0 {
		next, err := f.stream.Recv()
		if err != nil {
			return 0, f.fail(err)
		}
		f.rest = next.GetData()
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	f.at += int64(n)
	f.restAt = f.at
	return n, nil
}

func (f *file) fail(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // it is shorter than its size
	}
	f.err = err
	return err
}
