package platform_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/secret"
	"github.com/wxbus/wxbus/pkg/testkit"

	"github.com/wxbus/wxbus/services/agent-routing/internal/platform"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// shopAt is a platform whose one account has its API somewhere.
func shopAt(t *testing.T, api string) *platform.Platform {
	t.Helper()
	d, err := account.NewDirectory([]account.Account{{
		Name: "shop", AppID: "wx0123456789abcdef", Kind: account.KindService, Mode: account.ModePlaintext, Token: secret.New("token123"), APIBase: api,
	}})
	require.NoError(t, err)
	p := platform.New(d, nil)
	t.Cleanup(p.Close)
	return p
}

func TestVideosComeFromWeChatOrFromTheConfiguredAPI(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("nobody asked this host") }))
	t.Cleanup(elsewhere.Close)
	mux := http.NewServeMux()
	mux.HandleFunc("/film", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "video/mp4")
		_, _ = io.WriteString(w, "film")
	})
	mux.Handle("/moved", http.RedirectHandler("/film", http.StatusFound))
	mux.Handle("/away", http.RedirectHandler(elsewhere.URL+"/film", http.StatusFound))
	mux.Handle("/circle", http.RedirectHandler("/circle", http.StatusFound))
	mux.HandleFunc("/gone", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusNotFound) })
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) {
		chunk := strings.Repeat("x", 1<<20)
		for range 65 {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	})
	api := httptest.NewServer(mux)
	t.Cleanup(api.Close)
	p := shopAt(t, api.URL)

	for _, path := range []string{"/film", "/moved"} {
		content, kind, err := p.Video(t.Context(), "shop", api.URL+path)
		require.NoError(t, err, path)
		require.Equal(t, "film", string(content))
		require.Equal(t, "video/mp4", kind)
	}
	for address, want := range map[string]fault.Kind{
		api.URL + "/away":                             fault.Permanent,
		api.URL + "/circle":                           fault.Permanent,
		api.URL + "/huge":                             fault.Permanent,
		api.URL + "/gone":                             fault.Unavailable,
		elsewhere.URL + "/film":                       fault.Permanent,
		"http://169.254.169.254/latest":               fault.Permanent,
		"https://evilqq.com/film":                     fault.Permanent,
		"file:///etc/passwd":                          fault.Permanent,
		strings.Replace(api.URL, "http:", "ftp:", 1):  fault.Permanent,
		strings.Replace(api.URL, "127.0.0.1", "x", 1): fault.Permanent,
		"":    fault.Permanent,
		"%zz": fault.Permanent,
	} {
		_, _, err := p.Video(t.Context(), "shop", address)
		require.Error(t, err, address)
		require.Equal(t, want, fault.KindOf(err), address)
	}
	_, _, err := p.Video(t.Context(), "nobody", api.URL+"/film")
	require.Equal(t, fault.Permanent, fault.KindOf(err), "the host of an account is trusted for that account only")
}
