// Package phone serves the page on which anybody can be a fan.
package phone

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed assets
var assets embed.FS

// policy allows nothing that the simulator does not serve itself: texts on the page are written by others.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves /phone and its files, and sends / to it.
func Handler() http.Handler {
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // the directory is part of the binary
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler("/phone", http.StatusFound))
	mux.HandleFunc("GET /phone", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "phone.html") })
	mux.Handle("GET /phone/", http.StripPrefix("/phone", http.FileServerFS(files)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		mux.ServeHTTP(w, r)
	})
}
