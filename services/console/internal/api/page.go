package api

import (
	"net/http"

	"github.com/wxbus/wxbus/services/console/internal/access"
)

// LocalPage serves the page, which holds no data, to everybody when keys are configured: it asks
// for one. Without keys it is for this machine only, like everything else.
func LocalPage(guard *access.Guard, page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := guard.Local(r); err != nil {
			writeProblem(w, problemOf(err))
			return
		}
		page.ServeHTTP(w, r)
	})
}

// DenyCrossOrigin answers a request that a page of another origin made.
func DenyCrossOrigin(w http.ResponseWriter, _ *http.Request) {
	writeProblem(w, &problem{Status: http.StatusForbidden, Code: "cross_origin", Message: "requests from pages of other origins are refused"})
}
