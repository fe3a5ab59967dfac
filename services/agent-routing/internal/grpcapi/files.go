package grpcapi

import (
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
)

// piece is how much of a file goes into one message.
const piece = 256 << 10

// GetMedia returns a kept file in pieces.
func (s *Conversations) GetMedia(in *agentroutingv1.GetMediaRequest, stream grpc.ServerStreamingServer[agentroutingv1.GetMediaResponse]) error {
	ctx := stream.Context()
	if err := s.check.account(in.GetAccount()); err != nil {
		return err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return err
	}
	f, ok, err := q.File(ctx, in.GetAccount(), in.GetId())
	switch {
	case err != nil:
		return err
	case !ok:
		return fault.New(fault.NotFound, "id: no such file")
	case f.State == agentroutingv1.MediaState_MEDIA_STATE_PENDING:
		return fault.After(time.Second, fault.New(fault.Unavailable, "the file is being fetched from WeChat"))
	case f.State != agentroutingv1.MediaState_MEDIA_STATE_STORED:
		return fault.Errorf(fault.NotFound, "the file is lost: %s", f.Reason)
	}
	id, kind := f.ID, f.ContentType
	if in.GetPlayable() && f.PlayableType != "" {
		id, kind = f.ID+app.PlayableSuffix, f.PlayableType
	}
	file, size, err := s.files.Get(ctx, id, in.GetOffset())
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return pieces(file, func(data []byte, first bool) error {
		out := &agentroutingv1.GetMediaResponse{Data: data}
		if first {
			out.ContentType, out.Size = kind, size
		}
		return stream.Send(out)
	})
}

// pieces reads to the end; the first piece comes even when there is nothing.
func pieces(r io.Reader, send func(data []byte, first bool) error) error {
	buf := make([]byte, piece)
	for first := true; ; first = false {
		n, err := io.ReadFull(r, buf)
		if n > 0 || first {
			if sendErr := send(append([]byte(nil), buf[:n]...), first); sendErr != nil {
				return sendErr
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fault.Errorf(fault.Unavailable, "read a file: %w", err)
		}
	}
}
