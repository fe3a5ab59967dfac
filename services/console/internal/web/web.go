// Package web serves the page of the console, and the policy that keeps what fans write from ever
// becoming script. The page is React and TypeScript in services/console/web, built into dist.
package web

import (
	"io/fs"
	"net/http"
)

// Policy is the content security policy of everything that is not the page: nothing may be loaded. The page has a policy
// of its own, with a nonce for each load.
const Policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler returns the page and its files; without a built page, a text that says how to build it.
func Handler() (http.Handler, error) {
	if !Built() {
		return http.HandlerFunc(sayMissing), nil
	}
	dist, err := fs.Sub(built, "dist")
	if err != nil {
		return nil, err
	}
	return openPage(dist)
}

func sayMissing(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kinds[".html"])
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNotImplemented)
	_, _ = w.Write(missing) // the browser has gone; there is nobody to tell
}
