package door

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/wxbus/wxbus/services/console/internal/access"
)

// ActorKey is the gRPC metadata that tells a service who acts: the name of a user, or "key:" and the id of a key.
const ActorKey = "wxbus-actor"

// AccountsKey is the metadata that tells a service which accounts who acts may see; absent when all.
const AccountsKey = "wxbus-accounts"

// forward returns the handler of one method of a service behind conn.
func (d *Door) forward(m protoreflect.MethodDescriptor, name string, conn grpc.ClientConnInterface) http.Handler {
	opts := append(d.HandlerOptions(), connect.WithSchema(m), connect.WithRequestInitializer(initialize))
	path := "/" + name
	if m.IsStreamingServer() {
		return connect.NewServerStreamHandler(path, func(ctx context.Context, req *connect.Request[dynamicpb.Message], out *connect.ServerStream[dynamicpb.Message]) error {
			return forwardStream(actAs(ctx), conn, m, path, req.Msg, out)
		}, opts...)
	}
	return connect.NewUnaryHandler(path, func(ctx context.Context, req *connect.Request[dynamicpb.Message]) (*connect.Response[dynamicpb.Message], error) {
		answer := dynamicpb.NewMessage(m.Output())
		if err := conn.Invoke(actAs(ctx), path, req.Msg, answer); err != nil {
			return nil, err
		}
		return connect.NewResponse(answer), nil
	}, opts...)
}

// initialize gives a new request the type of its method.
func initialize(spec connect.Spec, m any) error {
	dynamic, ok1 := m.(*dynamicpb.Message)
	method, ok2 := spec.Schema.(protoreflect.MethodDescriptor)
	if !ok1 || !ok2 {
		return nil
	}
	if spec.IsClient {
		*dynamic = *dynamicpb.NewMessage(method.Output())
	} else {
		*dynamic = *dynamicpb.NewMessage(method.Input())
	}
	return nil
}

// actAs adds who acts, escaped: the name of a key may have any character, metadata may not; and which accounts they may see. The trace
// goes along by itself.
func actAs(ctx context.Context) context.Context {
	c := access.From(ctx)
	if c == nil {
		return ctx
	}
	ctx = metadata.AppendToOutgoingContext(ctx, ActorKey, url.PathEscape(c.Actor()))
	if c.All() {
		return ctx
	}
	for _, name := range append(c.Accounts(), noAccount) {
		ctx = metadata.AppendToOutgoingContext(ctx, AccountsKey, name)
	}
	return ctx
}

// noAccount is no account's name: the list of a caller who may see none is not empty, which would mean all.
const noAccount = "-"

func forwardStream(ctx context.Context, conn grpc.ClientConnInterface, m protoreflect.MethodDescriptor, path string, req *dynamicpb.Message, out *connect.ServerStream[dynamicpb.Message]) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream behind when the browser leaves
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, path)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(req); err != nil && !errors.Is(err, io.EOF) { // the reason comes with RecvMsg
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		answer := dynamicpb.NewMessage(m.Output())
		err := stream.RecvMsg(answer)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.Send(answer); err != nil {
			return err
		}
	}
}
