package httpout_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/httpout"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func open(t *testing.T, timeout time.Duration) *httpout.Client {
	t.Helper()
	c := httpout.New(httpout.Options{AllowHTTP: true, AllowPrivate: true, Timeout: timeout, UserAgent: "wxbus-test/1"})
	t.Cleanup(c.Close)
	return c
}

func TestAnAddressThatLeadsInsideIsNotCalled(t *testing.T) {
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer server.Close()
	c := httpout.New(httpout.Options{AllowHTTP: true, Timeout: time.Minute})
	defer c.Close()
	for _, address := range []string{
		server.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1), "http://169.254.169.254/latest/meta-data", "http://[::1]:80/",
		"http://[::ffff:127.0.0.1]/", "http://0.0.0.0/", "http://100.64.0.1/", "http://[64:ff9b::7f00:1]/", "http://10.0.0.1/",
	} {
		_, err := c.Post(t.Context(), address, http.Header{}, nil)
		require.ErrorContains(t, err, "not one that may be called", address)
	}
	require.False(t, asked)
	for address, why := range map[string]string{
		"ftp://example.com": "https", "": "https", "http://user:pw@example.com/": "password", "http://localhost./": "private", "http://example.com/#x": "fragment",
	} {
		require.ErrorContains(t, c.CheckURL(address), why, address)
	}
	strict := httpout.New(httpout.Options{})
	defer strict.Close()
	require.ErrorContains(t, strict.CheckURL("http://example.com"), "https")
	require.NoError(t, strict.CheckURL("https://example.com/hook?x=1"))
	_, err := open(t, time.Minute).Post(t.Context(), "http://169.254.169.254/", http.Header{}, nil)
	require.ErrorContains(t, err, "not one that may be called", "cloud credentials stay out of reach")
}

func TestAnAnswerIsBoundedAndRedirectsAreNotFollowed(t *testing.T) {
	c := open(t, time.Minute)
	mux := http.NewServeMux()
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://10.0.0.1/", http.StatusFound)
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/agent", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.UserAgent())) })
	server := httptest.NewServer(mux)
	defer server.Close()
	got, err := c.Post(t.Context(), server.URL+"/large", http.Header{}, []byte("{}"))
	require.NoError(t, err)
	require.Len(t, got.Body, 64<<10)
	got, err = c.Post(t.Context(), server.URL+"/away", http.Header{}, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusFound, got.Status)
	got, err = c.Post(t.Context(), server.URL+"/agent", http.Header{}, nil)
	require.NoError(t, err)
	require.Equal(t, "wxbus-test/1", string(got.Body))
	_, err = open(t, 50*time.Millisecond).Post(t.Context(), server.URL+"/slow?token=secret", http.Header{}, nil)
	require.EqualError(t, err, "no answer in time")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Post(ctx, server.URL+"/agent", http.Header{}, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = c.Post(t.Context(), "http://127.0.0.1:1/?token=secret", http.Header{}, nil)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}

func TestASignatureCoversIDTimeAndBody(t *testing.T) {
	h := http.Header{}
	httpout.Sign(h, "inbound-7", time.Unix(1_800_000_000, 0), []byte(`{"a":1}`), secret.New("new"), secret.New("old"))
	require.Equal(t, "1800000000", h.Get("Webhook-Timestamp"))
	var want []string
	for _, key := range []string{"new", "old"} {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(`inbound-7.1800000000.{"a":1}`))
		want = append(want, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	require.Equal(t, strings.Join(want, " "), h.Get("Webhook-Signature"))
}

func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{"https://example.com", "http://[::1]", "https://0x7f.1/", "//x", "https://a@b", "\x00"} {
		f.Add(seed)
	}
	c := httpout.New(httpout.Options{})
	f.Cleanup(c.Close)
	f.Fuzz(func(t *testing.T, address string) {
		if c.CheckURL(address) == nil && !strings.HasPrefix(strings.ToLower(address), "https://") {
			t.Fatalf("%q is let through", address)
		}
	})
}
