package grpcapi

import (
	"archive/zip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/account"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/media"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// Privacy implements PrivacyService.
type Privacy struct {
	agentroutingv1.UnimplementedPrivacyServiceServer

	desk  *app.Desk
	files media.Store
	check checker
}

// NewPrivacy returns a server.
func NewPrivacy(desk *app.Desk, files media.Store, accounts *account.Directory) *Privacy {
	return &Privacy{desk: desk, files: files, check: checker{accounts}}
}

// ExportFan returns everything that is kept of a fan as a ZIP.
func (s *Privacy) ExportFan(in *agentroutingv1.ExportFanRequest, stream grpc.ServerStreamingServer[agentroutingv1.ExportFanResponse]) error {
	ctx := stream.Context()
	if err := errors.Join(s.check.fan(in.GetAccount(), in.GetOpenid()), checkAgent("actor", actorOf(ctx, in.GetActor()))); err != nil {
		return err
	}
	all, err := s.desk.Export(ctx, in.GetAccount(), in.GetOpenid())
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := s.zip(ctx, w, all)
		written <- errors.Join(err, w.CloseWithError(err))
	}()
	err = pieces(r, func(data []byte, _ bool) error { return stream.Send(&agentroutingv1.ExportFanResponse{Data: data}) })
	_ = r.Close() // lets the writer end when the caller has left
	return errors.Join(<-written, err)
}

func (s *Privacy) zip(ctx context.Context, w io.Writer, all app.Export) error {
	z := zip.NewWriter(w)
	if err := addJSON(z, "fan.json", wire.Fan(all.Fan)); err != nil {
		return err
	}
	if err := addJSON(z, "messages.json", all.Messages...); err != nil {
		return err
	}
	if err := addJSON(z, "events.json", all.Events...); err != nil {
		return err
	}
	if err := addJSON(z, "rules.json", all.Rules); err != nil {
		return err
	}
	for _, f := range all.Files {
		if f.State != agentroutingv1.MediaState_MEDIA_STATE_STORED {
			continue
		}
		if err := s.addFile(ctx, z, f); err != nil {
			return err
		}
	}
	return z.Close()
}

// addJSON writes one object a line.
func addJSON[M proto.Message](z *zip.Writer, name string, messages ...M) error {
	f, err := z.Create(name)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	for _, m := range messages {
		data, err := protojson.Marshal(m)
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if _, err := f.Write(append(data, '\n')); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

func (s *Privacy) addFile(ctx context.Context, z *zip.Writer, f store.File) error {
	content, _, err := s.files.Get(ctx, f.ID, 0)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	out, err := z.Create("files/" + f.ID)
	if err != nil {
		return fmt.Errorf("write a file: %w", err)
	}
	_, err = io.Copy(out, content)
	return err
}

// EraseFan erases what is kept of a fan and returns the proof.
func (s *Privacy) EraseFan(ctx context.Context, in *agentroutingv1.EraseFanRequest) (*agentroutingv1.EraseFanResponse, error) {
	actor := actorOf(ctx, in.GetActor())
	if err := errors.Join(s.check.fan(in.GetAccount(), in.GetOpenid()), checkAgent("actor", actor), checkText("reason", in.GetReason(), 0, maxReason)); err != nil {
		return nil, err
	}
	proof, err := s.desk.Erase(ctx, in.GetAccount(), in.GetOpenid(), actor, in.GetReason())
	return &agentroutingv1.EraseFanResponse{Erasure: proof}, err
}

// ListErasures returns the proofs, newest first, and what is not done yet.
func (s *Privacy) ListErasures(ctx context.Context, in *agentroutingv1.ListErasuresRequest) (*agentroutingv1.ListErasuresResponse, error) {
	limit, err := pageSize("limit", in.GetLimit(), 50, 200)
	if err != nil {
		return nil, err
	}
	if err := s.check.anyAccount(in.GetAccount()); err != nil {
		return nil, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	found, err := q.Erasures(ctx, in.GetAccount(), limit)
	if err != nil {
		return nil, err
	}
	waiting, err := q.ListPending(ctx, in.GetAccount(), limit)
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.ListErasuresResponse{Erasures: found}
	for _, p := range waiting {
		hash := domain.FanHash(p.Account, p.OpenID)
		out.Pending = append(out.Pending, &agentroutingv1.PendingErasure{
			Account: p.Account, FanHash: hex.EncodeToString(hash[:]), SinceUnixMs: wire.Millis(p.Since), Actor: p.Actor, Reason: p.Reason,
			Tries: int32(p.Tries), Problem: p.Problem,
		})
	}
	return out, nil
}
