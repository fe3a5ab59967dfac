package httpout_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/httpout"
)

func TestPrivateAddressesAreKnown(t *testing.T) {
	public := httpout.Policy{HowHTTP: "set rule.webhook.allow_http"}
	for _, host := range []string{
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3",
		"224.0.0.1", "255.255.255.255", "198.18.0.1", "[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[::ffff:10.0.0.1]",
		"[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::7f00:1]", "localhost",
	} {
		require.Error(t, public.CheckURL("https://"+host+"/"), host)
	}
	for _, host := range []string{"example.com", "8.8.8.8", "[2400:3200::1]"} {
		require.NoError(t, public.CheckURL("https://"+host+"/"), host)
	}
	require.ErrorContains(t, public.CheckURL("http://example.com"), "set rule.webhook.allow_http")
	require.Error(t, public.CheckURL("ftp://example.com"))
	require.Error(t, public.CheckURL("https:///x"))
}

// rebind is a name server that first answers with a public address and then with loopback, as an attacker's does.
type rebind struct{ answers []string }

func (r *rebind) next() string {
	answer := r.answers[0]
	if len(r.answers) > 1 {
		r.answers = r.answers[1:]
	}
	return answer
}

func TestANameThatChangesItsMindDoesNotGetAround(t *testing.T) {
	called := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)

	client := httpout.Policy{AllowHTTP: true}.Client()
	defer client.CloseIdleConnections()
	names := &rebind{answers: []string{"8.8.8.8", "127.0.0.1"}}
	require.Equal(t, "8.8.8.8", names.next(), "what a check of the name would have seen")
	transport, ok := client.Transport.(*http.Transport)
	require.True(t, ok)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, net.JoinHostPort(names.next(), port))
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://rebind.example:"+port, nil)
	require.NoError(t, err)
	response, err := client.Do(request)
	if err == nil {
		require.NoError(t, response.Body.Close())
	}
	require.True(t, httpout.Forbidden(err), "%v", err)
	require.EqualError(t, httpout.Plain(err), "the address is not one that may be called")
	require.False(t, called)
}

func TestLinkLocalAddressesAreNeverCalled(t *testing.T) {
	client := httpout.Policy{AllowHTTP: true, AllowPrivate: true}.Client()
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://169.254.169.254/latest/meta-data", nil)
	require.NoError(t, err)
	response, err := client.Do(request)
	if err == nil {
		require.NoError(t, response.Body.Close())
	}
	require.True(t, httpout.Forbidden(err), "%v", err)
}

func TestErrorsDoNotHoldTheAddress(t *testing.T) {
	client := httpout.Policy{AllowHTTP: true, AllowPrivate: true}.Client()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:1/?key=topsecret", nil)
	require.NoError(t, err)
	response, err := client.Do(request)
	if err == nil {
		require.NoError(t, response.Body.Close())
	}
	require.NotContains(t, httpout.Plain(err).Error(), "topsecret")
	require.EqualError(t, httpout.Plain(context.DeadlineExceeded), "no answer in time")
	require.EqualError(t, httpout.Plain(errors.New("http://x/?key=topsecret")), "the connection broke", "an error of nobody we know")
}
