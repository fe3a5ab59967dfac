package console_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/testkit"
)

func TestTheDocumentOfTheAPI(t *testing.T) {
	s := newSite(t)
	got := s.call("GET", "/api/openapi.json", "")
	require.Equal(t, "application/json", got.header.Get("Content-Type"))
	testkit.Golden(t, "openapi.json", got.text)
	page := s.call("GET", "/api/docs", "")
	require.Contains(t, page.text, "<code>POST /api/v1/accounts/{account}/messages</code>")
	require.NotContains(t, page.text, "<script")
}

// operation is what a test needs of an operation of the document.
type operation struct {
	method, path string
	request      any
	status       int
	answer       any
	parameters   []any
}

func operations(t *testing.T, doc map[string]any) []operation {
	t.Helper()
	example := func(v any) any {
		return v.(map[string]any)["content"].(map[string]any)["application/json"].(map[string]any)["example"]
	}
	var out []operation
	for path, item := range doc["paths"].(map[string]any) {
		for method, v := range item.(map[string]any) {
			op := v.(map[string]any)
			one := operation{method: strings.ToUpper(method), path: path, parameters: op["parameters"].([]any)}
			if body, ok := op["requestBody"]; ok && !strings.HasSuffix(path, "/media") {
				one.request = example(body)
			}
			for status, answer := range op["responses"].(map[string]any) {
				if status != "default" {
					var err error
					one.status, err = strconv.Atoi(status)
					require.NoError(t, err)
					one.answer = example(answer)
				}
			}
			out = append(out, one)
		}
	}
	// Messages first: others ask for them. What removes comes last.
	slices.SortFunc(out, func(a, b operation) int {
		rank := func(o operation) string {
			return map[bool]string{true: "2", false: "1"}[o.method == http.MethodDelete] + map[bool]string{true: "0", false: "1"}[strings.HasSuffix(o.path, "/messages")] + o.path + o.method
		}
		return strings.Compare(rank(a), rank(b))
	})
	return out
}

// Every example of the document is run: the request is accepted with the status of the document, and the answer has
// every part of the example, of the same kind.
func TestEveryExampleOfTheDocumentWorks(t *testing.T) {
	s := demoSite(t, busy, outward)
	admin := s.as("admin")
	hook, _ := s.subscribe(admin, newEndpoint(t), nil, "shop")
	made, err := admin.keys.CreateApiKey(t.Context(), connect.NewRequest(&consolev1.CreateApiKeyRequest{Name: "k", Scopes: []string{"*"}, Accounts: []string{"*"}}))
	require.NoError(t, err)
	doc := s.call("GET", "/api/openapi.json", "").data(t)
	for i, op := range operations(t, doc) {
		id := "0"
		switch {
		case strings.Contains(op.path, "/campaigns/"):
			id = "spring-sale"
		case strings.Contains(op.path, "/webhooks/"):
			id = hook.GetId()
		case strings.Contains(op.path, "/mass/"):
			id = "m0"
		}
		path := strings.NewReplacer("{account}", "shop", "{openid}", "fan", "{id}", id).Replace(op.path)
		body := ""
		if op.method == http.MethodPut && strings.HasSuffix(op.path, "/webhooks/{id}") {
			now, err := admin.webhooks().ListWebhooks(t.Context(), connect.NewRequest(&consolev1.ListWebhooksRequest{}))
			require.NoError(t, err)
			one := slices.IndexFunc(now.Msg.GetWebhooks(), func(w *consolev1.Webhook) bool { return w.GetId() == id })
			op.request.(map[string]any)["revision"] = now.Msg.GetWebhooks()[one].GetRevision()
		}
		if op.request != nil {
			b, err := json.Marshal(op.request)
			require.NoError(t, err)
			body = string(b)
		}
		if strings.HasSuffix(op.path, "/media") {
			path, body = path+"?type=image&filename=a.png", "\x89PNG"
		}
		got := s.call(op.method, path, body, "Authorization", "Bearer "+made.Msg.GetSecret(), "Idempotency-Key", "example-"+strconv.Itoa(i), "Content-Type", "application/json")
		require.Equal(t, op.status, got.status, "%s %s: %s", op.method, op.path, got.text)
		var answer any
		require.NoError(t, json.Unmarshal([]byte(got.text), &answer))
		sameForm(t, op.method+" "+op.path, op.answer, answer)
		if op.method != http.MethodGet {
			require.Contains(t, string(mustJSON(t, op.parameters)), "Idempotency-Key", "%s %s", op.method, op.path)
		}
	}
	actions := map[string]bool{}
	require.Eventually(t, func() bool {
		for _, e := range admin.entries(t, &consolev1.ListAuditRequest{Actor: "key:" + made.Msg.GetKey().GetId(), Limit: 500}) {
			actions[e.GetAction()] = true
		}
		return actions["POST /api/v1/accounts/{account}/messages"] && actions["DELETE /api/v1/webhooks/{id}"]
	}, 30*time.Second, 20*time.Millisecond, "writes of keys are audited too")
	require.NotContains(t, actions, "GET /api/v1/status")
	require.Contains(t, s.backend.actors(), "key:"+made.Msg.GetKey().GetId())
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

func sameForm(t *testing.T, at string, want, got any) {
	t.Helper()
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		require.True(t, ok, at)
		for name, value := range w {
			require.Contains(t, g, name, at)
			sameForm(t, at+"."+name, value, g[name])
		}
	case []any:
		g, ok := got.([]any)
		require.True(t, ok, at)
		for i := range min(len(w), len(g)) {
			sameForm(t, at+"[]", w[i], g[i])
		}
	default:
		require.IsType(t, want, got, at)
	}
}

func TestABatchIsAcceptedAsAWholeOrNamesTheMistake(t *testing.T) {
	s := newSite(t)
	const path = "/api/v1/accounts/shop/messages:batch"
	bad := s.call("POST", path, `{"messages":[`+hello+`,{"touser":"fan","msgtype":"text","text":{}}]}`, "Idempotency-Key", "b")
	require.Equal(t, http.StatusBadRequest, bad.status)
	require.Contains(t, bad.problem(t)["field"], "messages[1]")
	require.Empty(t, s.backend.sends())
	for _, body := range []string{`{}`, `{"messages":[]}`, `[]`, `{"messages":[` + strings.TrimSuffix(strings.Repeat(hello+",", 101), ",") + `]}`} {
		require.Equal(t, http.StatusBadRequest, s.call("POST", path, body, "Idempotency-Key", "b").status, body[:min(len(body), 40)])
	}
	require.Equal(t, "Idempotency-Key", s.call("POST", path, `{"messages":[`+hello+`]}`).problem(t)["field"])
	require.Equal(t, http.StatusAccepted, s.call("POST", path, `{"messages":[`+hello+`]}`, "Idempotency-Key", "b").status)
	require.Equal(t, "b/0", s.backend.sends()[0].GetIdempotencyKey())
}
