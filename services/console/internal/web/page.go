package web

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// The page is built by npm (make web) into dist. A program that was compiled without it says so.
//
//go:embed all:dist
var built embed.FS

//go:embed missing.html
var missing []byte

// noncePlace is what the build leaves in the page for the nonce of each load.
const noncePlace = "{{nonce}}"

// smallest is the size in bytes from which compressing pays.
const smallest = 1 << 10

// pagePolicy is the content security policy of the page. Scripts are its own files only. Styles are its own files, and
// the style elements that carry the nonce of this load: the component library writes those while it runs. Trusted types make
// the browser refuse any text that is assigned as HTML unless the page's one rule lets it through, which is for
// texts without "<". Pictures, sounds and films are files of messages by their address; a picture may also be one that somebody has just chosen to send (blob:).
func pagePolicy(nonce string) string {
	return "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-" + nonce + "'; img-src 'self' blob:; media-src 'self'; " +
		"connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types default"
}

// Built tells whether the program contains the page.
func Built() bool {
	_, err := fs.Stat(built, "dist/index.html")
	return err == nil
}

// page is what the build left in dist, read and compressed once.
type page struct {
	index []byte
	files map[string]asset
}

func openPage(dist fs.FS) (*page, error) {
	p := &page{files: map[string]asset{}}
	err := fs.WalkDir(dist, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Base(name) == ".gitignore" {
			return err
		}
		body, err := fs.ReadFile(dist, name)
		if err != nil {
			return err
		}
		if name == "index.html" {
			p.index = body
			return nil
		}
		p.files["/"+name], err = newAsset(name, body)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the built page: %w", err)
	}
	if !bytes.Contains(p.index, []byte(noncePlace)) {
		return nil, errors.New("read the built page: index.html has no place for the nonce")
	}
	return p, nil
}

// ServeHTTP returns a file of the page, and the page itself for every address that the page may show, so that a
// reload of any of its screens works. What looks like a file and is none is 404.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if a, ok := p.files[r.URL.Path]; ok {
		if strings.HasPrefix(r.URL.Path, "/assets/") { // their names change with their content
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		serve(w, r, a)
		return
	}
	if path.Ext(r.URL.Path) != "" || strings.HasPrefix(r.URL.Path, "/assets/") {
		http.NotFound(w, r)
		return
	}
	nonce := newNonce()
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy(nonce))
	h.Set("Content-Type", kinds[".html"])
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(bytes.ReplaceAll(p.index, []byte(noncePlace), []byte(nonce))) // the browser has gone; there is nobody to tell
}

func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawStdEncoding.EncodeToString(b[:])
}

// The types are written down because the tables of the operating system differ between machines,
// and a wrong one stops the page under nosniff.
var kinds = map[string]string{
	".html":        "text/html; charset=utf-8",
	".css":         "text/css; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".json":        "application/json",
	".svg":         "image/svg+xml",
	".webmanifest": "application/manifest+json",
}

type asset struct {
	body   []byte
	packed []byte // gzip; nil when it does not pay
	kind   string
	etag   string
}

func newAsset(name string, body []byte) (asset, error) {
	kind, ok := kinds[path.Ext(name)]
	if !ok {
		return asset{}, fmt.Errorf("asset %s: unknown type", name)
	}
	sum := sha256.Sum256(body)
	a := asset{body: body, kind: kind, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
	if len(body) < smallest {
		return a, nil
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(body); err != nil {
		return asset{}, fmt.Errorf("compress asset %s: %w", name, err)
	}
	if err := z.Close(); err != nil {
		return asset{}, fmt.Errorf("compress asset %s: %w", name, err)
	}
	a.packed = packed.Bytes()
	return a, nil
}

func serve(w http.ResponseWriter, r *http.Request, a asset) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", a.etag)
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-cache")
	}
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.body
	if a.packed != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.packed
	}
	_, _ = w.Write(body) // the browser has gone; there is nobody to tell
}
