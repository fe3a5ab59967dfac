// Package web serves the page of the console: a few static files, and the policy that keeps what
// fans write from ever becoming script.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
)

// Policy is the content security policy. It lets the page load nothing but its own files and talk to nobody but its own origin.
// Trusted types make the browser itself refuse any text that is assigned as HTML.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

//go:embed assets tokens.json
var files embed.FS

type asset struct {
	body []byte
	kind string
	etag string
}

// Handler returns the page at "/" and its files below "/assets/". Everything else is 404. The
// files are part of the program, so they are read and hashed once. The caller sends Policy along.
func Handler() (http.Handler, error) {
	assets, err := load()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { serve(w, r, assets["index.html"]) })
	mux.HandleFunc("GET /assets/{name}", func(w http.ResponseWriter, r *http.Request) {
		a, ok := assets[r.PathValue("name")]
		if !ok || r.PathValue("name") == "index.html" {
			http.NotFound(w, r)
			return
		}
		serve(w, r, a)
	})
	return mux, nil
}

func load() (map[string]asset, error) {
	assets := map[string]asset{}
	entries, err := fs.ReadDir(files, "assets")
	if err != nil {
		return nil, fmt.Errorf("list assets: %w", err)
	}
	for _, e := range entries {
		body, err := files.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read asset: %w", err)
		}
		if assets[e.Name()], err = newAsset(e.Name(), body); err != nil {
			return nil, err
		}
	}
	raw, err := files.ReadFile("tokens.json")
	if err != nil {
		return nil, fmt.Errorf("read design tokens: %w", err)
	}
	css, err := stylesheet(raw)
	if err != nil {
		return nil, err
	}
	assets["tokens.css"], err = newAsset("tokens.css", css)
	return assets, err
}

// The types are written down because the tables of the operating system differ between machines,
// and a wrong one stops the page under nosniff.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".svg":  "image/svg+xml",
}

func newAsset(name string, body []byte) (asset, error) {
	kind, ok := kinds[path.Ext(name)]
	if !ok {
		return asset{}, fmt.Errorf("asset %s: unknown type", name)
	}
	sum := sha256.Sum256(body)
	return asset{body: body, kind: kind, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}, nil
}

func serve(w http.ResponseWriter, r *http.Request, a asset) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.etag)
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(a.body) // the browser has gone; there is nobody to tell
}
