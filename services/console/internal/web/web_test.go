package web

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func dist() fstest.MapFS {
	return fstest.MapFS{
		"index.html":           {Data: []byte(`<!doctype html><meta property="csp-nonce" nonce="{{nonce}}"><script type="module" src="/assets/index-abc.js"></script>`)},
		"assets/index-abc.js":  {Data: []byte(strings.Repeat("let a = 1;\n", 1000))},
		"assets/index-abc.css": {Data: []byte("a{}")},
		"icon.svg":             {Data: []byte("<svg/>")},
		".gitignore":           {Data: []byte("*")},
	}
}

func get(t *testing.T, h http.Handler, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(b)
}

func TestEveryScreenOfThePageCanBeReloaded(t *testing.T) {
	p, err := openPage(dist())
	require.NoError(t, err)
	for _, path := range []string{"/", "/desk", "/desk/shop/c-1", "/settings/users"} {
		r := get(t, p, path)
		require.Equal(t, http.StatusOK, r.StatusCode, path)
		require.Equal(t, "no-store", r.Header.Get("Cache-Control"))
		require.Contains(t, text(t, r), "<!doctype html>")
	}
	for _, path := range []string{"/assets/none.js", "/assets/", "/none.js", "/index.html", "/.gitignore", "/../index.html"} {
		require.Equal(t, http.StatusNotFound, get(t, p, path).StatusCode, path)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

func TestEachLoadHasItsOwnNonce(t *testing.T) {
	p, err := openPage(dist())
	require.NoError(t, err)
	seen := map[string]bool{}
	for range 3 {
		r := get(t, p, "/")
		nonce := regexp.MustCompile(`nonce="([^"]+)"`).FindStringSubmatch(text(t, r))
		require.Len(t, nonce, 2)
		require.Contains(t, r.Header.Get("Content-Security-Policy"), "style-src 'self' 'nonce-"+nonce[1]+"'")
		require.False(t, seen[nonce[1]])
		seen[nonce[1]] = true
	}
}

func TestFilesAreCachedAndCompressed(t *testing.T) {
	p, err := openPage(dist())
	require.NoError(t, err)
	r := get(t, p, "/assets/index-abc.js", "Accept-Encoding", "br, gzip")
	require.Equal(t, "gzip", r.Header.Get("Content-Encoding"))
	require.Contains(t, r.Header.Get("Cache-Control"), "immutable")
	require.Equal(t, "text/javascript; charset=utf-8", r.Header.Get("Content-Type"))
	z, err := gzip.NewReader(r.Body)
	require.NoError(t, err)
	unpacked, err := io.ReadAll(z)
	require.NoError(t, err)
	plain := get(t, p, "/assets/index-abc.js")
	require.Empty(t, plain.Header.Get("Content-Encoding"))
	require.Equal(t, text(t, plain), string(unpacked))

	icon := get(t, p, "/icon.svg")
	require.Equal(t, "no-cache", icon.Header.Get("Cache-Control"))
	require.Equal(t, http.StatusNotModified, get(t, p, "/icon.svg", "If-None-Match", icon.Header.Get("ETag")).StatusCode)
}

func TestPageWithoutAPlaceForTheNonceIsRefused(t *testing.T) {
	broken := dist()
	broken["index.html"].Data = []byte("<!doctype html>")
	_, err := openPage(broken)
	require.ErrorContains(t, err, "nonce")
}

func TestPoliciesHaveNoHoles(t *testing.T) {
	policy := pagePolicy("abc")
	for _, part := range []string{"default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "form-action 'none'", "media-src 'self';", "connect-src 'self';"} {
		require.Contains(t, policy, part)
	}
	for _, hole := range []string{"unsafe-inline", "unsafe-eval", "*", "http:", "https:", "data:"} {
		require.NotContains(t, policy, hole)
		require.NotContains(t, Policy, hole)
	}
}

// The committed dist holds no page, so a fresh clone compiles without Node; what make web adds is checked here too.
func TestHandlerServesWhatWasBuilt(t *testing.T) {
	h, err := Handler()
	require.NoError(t, err)
	r := get(t, h, "/")
	if !Built() {
		require.Equal(t, http.StatusNotImplemented, r.StatusCode)
		require.Contains(t, text(t, r), "make web")
		return
	}
	page := text(t, r)
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.NotRegexp(t, `(?i)<script(?:\s+type="module")?\s*>|\son\w+=|\sstyle=|<style|https?://|src="//|href="//`, page)
	for _, m := range regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllStringSubmatch(page, -1) {
		require.Equal(t, http.StatusOK, get(t, h, m[1]).StatusCode, m[1])
	}
}
