package api

import (
	"context"
	"io"
	"net/url"
	"strconv"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/wxbus/wxbus/services/console/internal/access"
)

// client adapts a method of a gRPC client.
func client[Req, Res any](method func(context.Context, Req, ...grpc.CallOption) (Res, error)) func(context.Context, Req) (Res, error) {
	return func(ctx context.Context, in Req) (Res, error) { return method(ctx, in) }
}

// own adapts a method of one of the console's services.
func own[Req, Res any](method func(context.Context, *connect.Request[Req]) (*connect.Response[Res], error)) func(context.Context, *Req) (*Res, error) {
	return func(ctx context.Context, in *Req) (*Res, error) {
		out, err := method(ctx, connect.NewRequest(in))
		if err != nil {
			return nil, err
		}
		return out.Msg, nil
	}
}

// pass returns a handler that calls a method. The request is the body as JSON of the message, with the parts of the
// path and the parameters of the query in the fields of the same names.
func pass[Req, Res proto.Message](fresh func() Req, method func(context.Context, Req) (Res, error)) handler {
	return func(ctx context.Context, c *call) (any, error) {
		in := fresh()
		if err := c.bind(in); err != nil {
			return nil, err
		}
		out, err := method(access.With(ctx, c.caller), in)
		if err != nil {
			return nil, err
		}
		return message{out}, nil
	}
}

// bind fills a request from the body, the query and the path, in this order: the path was checked and wins.
func (c *call) bind(in proto.Message) error {
	body, err := io.ReadAll(c.Body)
	if err != nil {
		return readFault(err)
	}
	if len(body) > 0 {
		if err := protojson.Unmarshal(body, in); err != nil {
			return invalid("", "the body must be a JSON object with the fields of the documentation")
		}
	}
	c.request = in
	fields := in.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := string(f.Name())
		text := c.PathValue(name)
		if text == "" {
			text = query(c.URL, name)
		}
		if text == "" {
			continue
		}
		v, ok := scalar(f, text)
		if !ok {
			return invalid(name, "is not of the right kind")
		}
		in.ProtoReflect().Set(f, v)
	}
	if f := fields.ByName("actor"); f != nil {
		in.ProtoReflect().Set(f, protoreflect.ValueOfString(c.caller.Actor()))
	}
	return c.own(in)
}

// own refuses accounts in a body that the caller may not use. The one of the path is checked by then.
func (c *call) own(in proto.Message) error {
	for _, name := range []protoreflect.Name{"account", "accounts"} {
		f := in.ProtoReflect().Descriptor().Fields().ByName(name)
		if f == nil {
			continue
		}
		v := in.ProtoReflect().Get(f)
		var accounts []string
		if f.IsList() {
			for i := range v.List().Len() {
				accounts = append(accounts, v.List().Get(i).String())
			}
		} else if v.String() != "" {
			accounts = append(accounts, v.String())
		}
		for _, a := range accounts {
			if !c.caller.May(a) {
				return notFound("no such account")
			}
		}
	}
	return nil
}

func query(u *url.URL, name string) string { return u.Query().Get(name) }

// scalar reads a text as the value of a field.
func scalar(f protoreflect.FieldDescriptor, text string) (protoreflect.Value, bool) {
	if f.IsList() || f.IsMap() {
		return protoreflect.Value{}, false
	}
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), true
	case protoreflect.BoolKind:
		b, err := strconv.ParseBool(text)
		return protoreflect.ValueOfBool(b), err == nil
	case protoreflect.Int32Kind:
		n, err := strconv.ParseInt(text, 10, 32)
		return protoreflect.ValueOfInt32(int32(n)), err == nil
	case protoreflect.Int64Kind:
		n, err := strconv.ParseInt(text, 10, 64)
		return protoreflect.ValueOfInt64(n), err == nil
	case protoreflect.Uint64Kind:
		n, err := strconv.ParseUint(text, 10, 64)
		return protoreflect.ValueOfUint64(n), err == nil
	default:
		return protoreflect.Value{}, false
	}
}
