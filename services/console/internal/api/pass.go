package api

import (
	"context"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
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
		if err := read(body, in); err != nil {
			return err
		}
	}
	c.request = in
	fields := in.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if err := c.bindField(in, fields.Get(i)); err != nil {
			return err
		}
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

// bindField fills one field from the path or, when the path has no such part, from the query.
func (c *call) bindField(in proto.Message, f protoreflect.FieldDescriptor) error {
	name := string(f.Name())
	texts := c.URL.Query()[name]
	if text := c.PathValue(name); text != "" {
		texts = []string{text}
	}
	texts = slices.DeleteFunc(texts, func(text string) bool { return text == "" })
	if len(texts) == 0 {
		return nil
	}
	if f.IsMap() || f.Message() != nil || !f.IsList() && len(texts) > 1 {
		return invalid(name, "must be there once at most")
	}
	for _, text := range texts {
		v, err := scalar(f, text)
		if err != nil {
			return err
		}
		if f.IsList() {
			in.ProtoReflect().Mutable(f).List().Append(v)
		} else {
			in.ProtoReflect().Set(f, v)
		}
	}
	return nil
}

func query(u *url.URL, name string) string { return u.Query().Get(name) }

// scalar reads a text as one value of a field.
func scalar(f protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	v, err := protoreflect.Value{}, error(nil)
	want := "must be a whole number"
	switch f.Kind() {
	case protoreflect.StringKind:
		v = protoreflect.ValueOfString(text)
	case protoreflect.EnumKind:
		return enum(f, text)
	case protoreflect.BoolKind:
		var b bool
		b, err = strconv.ParseBool(text)
		v, want = protoreflect.ValueOfBool(b), "must be true or false"
	case protoreflect.DoubleKind:
		var n float64
		n, err = strconv.ParseFloat(text, 64)
		v, want = protoreflect.ValueOfFloat64(n), "must be a number"
	case protoreflect.Int32Kind:
		var n int64
		n, err = strconv.ParseInt(text, 10, 32)
		v = protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Uint32Kind:
		var n uint64
		n, err = strconv.ParseUint(text, 10, 32)
		v = protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind:
		var n int64
		n, err = strconv.ParseInt(text, 10, 64)
		v = protoreflect.ValueOfInt64(n)
	case protoreflect.Uint64Kind:
		var n uint64
		n, err = strconv.ParseUint(text, 10, 64)
		v = protoreflect.ValueOfUint64(n)
	default:
		return v, invalid(string(f.Name()), "belongs into the body")
	}
	if err != nil {
		return v, invalid(string(f.Name()), want)
	}
	return v, nil
}

// enum reads a word: "pending" for WEBHOOK_DELIVERY_STATE_PENDING.
func enum(f protoreflect.FieldDescriptor, word string) (protoreflect.Value, error) {
	values := f.Enum().Values()
	zero := string(values.ByNumber(0).Name())
	before := strings.TrimSuffix(zero, "UNSPECIFIED")
	var words []string
	for i := range values.Len() {
		v := values.Get(i)
		name := strings.ToLower(strings.TrimPrefix(string(v.Name()), before))
		if v.Number() == 0 {
			continue
		}
		if name == word {
			return protoreflect.ValueOfEnum(v.Number()), nil
		}
		words = append(words, name)
	}
	return protoreflect.Value{}, invalid(string(f.Name()), "must be one of "+strings.Join(words, ", "))
}
