package api

import "net/http"

// DenyCrossOrigin answers a request that a page of another origin made.
func DenyCrossOrigin(w http.ResponseWriter, _ *http.Request) {
	writeProblem(w, &problem{Status: http.StatusForbidden, Code: "cross_origin", Message: "requests from pages of other origins are refused"})
}
