package deliver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
)

// canned answers every call with the same bytes.
type canned struct {
	status int
	body   []byte
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	return &http.Response{
		StatusCode: c.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(c.body)), Request: r,
	}, nil
}

// FuzzJudge: whatever answers in WeChat's place, a message counts as sent only when the answer says so,
// and is tried again only when the answer says that it was not.
func FuzzJudge(f *testing.F) {
	for _, body := range []string{`{"errcode":0,"errmsg":"ok"}`, `{}`, `{"errcode":40001}`, `{"errcode":"45009"}`, `{"errcode":0`, `[]`, `<html>`, ``, `{"errcode":-1}`, `null`} {
		f.Add(200, []byte(body))
		f.Add(502, []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			t.Skip("no status of an answer")
		}
		client, err := wechat.NewClient(wechat.ClientConfig{HTTP: &http.Client{Transport: canned{status, body}}})
		require.NoError(t, err)
		err = client.CustomSend(t.Context(), "secret-token", []byte(`{}`))
		o := judge(err)
		if o.action == accept && err == nil {
			require.Less(t, status, 300)
			text := bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\ufeff")), " \t\r\n")
			require.True(t, bytes.HasPrefix(text, []byte("{")) || bytes.HasPrefix(text, []byte("[")), "accepted %q", body)
		}
		if status >= 500 {
			require.Equal(t, lose, o.action, "a server error may have sent the message")
		}
		require.NotContains(t, o.reason, "secret-token")
		if _, api := errors.AsType[*wechat.APIError](err); !api && err != nil {
			require.NotEqual(t, accept, o.action)
		}
	})
}

// FuzzHandle: whatever is in the queue, the worker does not panic, and what it cannot read is a dead letter.
func FuzzHandle(f *testing.F) {
	good, err := proto.Marshal(&senderv1.OutboundMessage{Id: "1", Account: "shop", Openid: "o"})
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte{0xff, 0x01})
	accounts, err := account.NewDirectory(nil)
	require.NoError(f, err)
	w := New(Config{}, Deps{Accounts: accounts})
	f.Fuzz(func(t *testing.T, data []byte) {
		err := w.Handle(context.Background(), &bus.Delivery{Data: data})
		require.Equal(t, fault.DeadLetter, fault.Dispose(err))
	})
}
