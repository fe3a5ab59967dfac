package door

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/httpx"

	"github.com/wxbus/wxbus/services/console/internal/audit"
)

// gate is the interceptor of every handler: the policy on the decoded request, the deadline, errors, audit.
type gate struct{ d *Door }

var _ connect.Interceptor = (*gate)(nil)

// errNoCall means that a handler was reached around the door.
var errNoCall = errors.New("the handler is not behind the door")

func (g *gate) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next // the door makes no Connect calls
}

func (g *gate) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		c := callOf(ctx)
		request, ok := req.Any().(proto.Message)
		if c == nil || !ok {
			return nil, g.d.Error(ctx, req.Spec().Procedure, errNoCall)
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		ctx, change := audit.WithChange(ctx)
		resp, err := g.unary(ctx, c, req, request, next)
		g.d.audited(context.WithoutCancel(ctx), c, request, change, err)
		if err != nil {
			return nil, g.d.Error(ctx, c.method, err)
		}
		g.d.noteShown(context.WithoutCancel(ctx), c, resp.Any())
		return resp, nil
	}
}

func (g *gate) unary(ctx context.Context, c *call, req connect.AnyRequest, request proto.Message, next connect.UnaryFunc) (connect.AnyResponse, error) {
	if err := c.check(request); err != nil {
		return nil, err
	}
	g.d.begin(ctx, c, request)
	resp, err := next(ctx, req)
	if err != nil {
		return nil, err
	}
	if answer, ok := resp.Any().(proto.Message); ok && c.access.Keep != "" && c.caller != nil && !c.caller.All() {
		keep(answer, c.access.Keep, c.caller.May)
	}
	return resp, nil
}

func (g *gate) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		c := callOf(ctx)
		if c == nil {
			return g.d.Error(ctx, conn.Spec().Procedure, errNoCall)
		}
		httpx.Lasts(ctx)
		ctx, change := audit.WithChange(ctx)
		ctx, end := untilStop(ctx)
		checked := &checkedConn{StreamingHandlerConn: conn, door: g.d, ctx: ctx, call: c}
		err := next(ctx, checked)
		if end() && err != nil {
			err = fault.Wrap(fault.Unavailable, errors.New("the server stops; connect again"))
		}
		g.d.audited(context.WithoutCancel(ctx), c, checked.request, change, err)
		if err != nil {
			return g.d.Error(ctx, c.method, err)
		}
		return nil
	}
}

// checkedConn applies the policy to the request of a stream when the handler reads it.
type checkedConn struct {
	connect.StreamingHandlerConn
	door    *Door
	ctx     context.Context //nolint:containedctx // that of the stream, whose interface gives none
	call    *call
	request proto.Message
}

func (c *checkedConn) Receive(m any) error {
	if err := c.StreamingHandlerConn.Receive(m); err != nil {
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return err
	}
	request, ok := m.(proto.Message)
	if !ok {
		return errNoCall
	}
	c.request = request
	if err := c.call.check(request); err != nil {
		return err
	}
	c.door.begin(c.ctx, c.call, request)
	return nil
}
