package api

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// object is a JSON object of the document. encoding/json writes its keys in order.
type object = map[string]any

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// OpenAPI returns the document of the API, made from its routes.
func (a *api) openAPI() object {
	paths := object{}
	for _, r := range a.routes() {
		item, _ := paths[prefix+r.path].(object)
		if item == nil {
			item = object{}
			paths[prefix+r.path] = item
		}
		item[strings.ToLower(r.method)] = r.operation()
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "wxbus", "version": "1",
			"description": "Send messages to fans and keep campaigns, dead letters and subscriptions. 64-bit numbers of protobuf messages are JSON strings. " +
				"A key is made in the console; without any configured key, programs on the same machine need none. Every method of every service is also served by Connect below /api/<package.Service>/<Method>.",
		},
		"security":   []any{object{"key": []any{}}},
		"paths":      paths,
		"components": object{"securitySchemes": object{"key": object{"type": "http", "scheme": "bearer"}}, "schemas": object{"Error": errorSchema()}},
	}
}

func errorSchema() object {
	text := object{"type": "string"}
	return object{"type": "object", "required": []any{"error"}, "properties": object{"error": object{
		"type": "object", "required": []any{"code", "message"}, "properties": object{"code": text, "message": text, "field": text},
	}}}
}

func (r route) operation() object {
	op := object{
		"summary": r.summary, "operationId": r.id(), "parameters": r.parameters(),
		"description": "Scope: " + r.scope,
		"responses": object{
			strconv.Itoa(max(r.status, http.StatusOK)): object{"description": "done", "content": r.content(r.answer, nil)},
			"default": object{"description": "refused", "content": object{"application/json": object{"schema": object{"$ref": "#/components/schemas/Error"}}}},
		},
	}
	if r.request != "" {
		op["requestBody"] = object{"required": len(r.required) > 0, "content": r.content(r.request, r.required)}
	}
	if r.consumes != "" {
		op["requestBody"] = object{"required": true, "content": object{r.consumes: object{}}}
	}
	return op
}

// id names an operation: postAccountsMessages.
func (r route) id() string {
	out := strings.ToLower(r.method)
	for _, part := range strings.FieldsFunc(pathParameter.ReplaceAllString(r.path, "by-$1"), func(c rune) bool { return strings.ContainsRune("/-:_", c) }) {
		out += strings.ToUpper(part[:1]) + part[1:]
	}
	return out
}

func (r route) parameters() []any {
	out := []any{}
	for _, m := range pathParameter.FindAllStringSubmatch(r.path, -1) {
		out = append(out, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, q := range r.query {
		out = append(out, object{"name": q.name, "in": "query", "description": q.description, "schema": object{"type": q.kind}})
	}
	if r.key != noKey {
		out = append(out, object{"name": keyHeader, "in": "header", "required": r.key == keyRequired, "schema": object{"type": "string", "maxLength": maxKey},
			"description": "The same key returns the first result and does nothing twice."})
	}
	return out
}

func (r route) content(example string, required []string) object {
	var value any
	if err := json.Unmarshal([]byte(example), &value); err != nil {
		panic(fmt.Sprintf("example of %s %s: %v", r.method, r.path, err)) // the table is part of the program
	}
	schema := schemaOf(value)
	if len(required) > 0 {
		schema["required"] = required
	}
	return object{"application/json": object{"schema": schema, "example": value}}
}

// schemaOf describes the form of an example.
func schemaOf(example any) object {
	switch v := example.(type) {
	case object:
		properties := object{}
		for name, value := range v {
			properties[name] = schemaOf(value)
		}
		return object{"type": "object", "properties": properties}
	case []any:
		if len(v) == 0 {
			return object{"type": "array", "items": object{"type": "object"}}
		}
		return object{"type": "array", "items": schemaOf(v[0])}
	case string:
		return object{"type": "string"}
	case float64:
		return object{"type": "integer"}
	case bool:
		return object{"type": "boolean"}
	default:
		return object{}
	}
}

// document serves the OpenAPI document.
func (a *api) document(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(a.openAPI()) // the caller has gone; there is nobody to tell
}

var docsPage = template.Must(template.New("docs").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>wxbus API</title></head>
<body><main><h1>wxbus API</h1>
<p>Send <code>Authorization: Bearer KEY</code>. A key is made in the console. For machines: <a href="/api/openapi.json">openapi.json</a>.</p>
<p>Errors are <code>{"error": {"code", "message", "field"}}</code>.</p>
{{range .}}<section><h2><code>{{.Method}} {{.Path}}</code></h2><p>{{.Summary}}</p><p>Scope <code>{{.Scope}}</code>{{if .Key}}, header <code>Idempotency-Key</code> {{.Key}}{{end}}</p>
{{range .Query}}<p>Parameter <code>{{.}}</code></p>{{end}}{{if .Request}}<p>Request</p><pre>{{.Request}}</pre>{{end}}<p>Answer {{.Status}}</p><pre>{{.Answer}}</pre></section>
{{end}}</main></body></html>
`))

// docs serves the same for people.
func (a *api) docs(w http.ResponseWriter, _ *http.Request) {
	type line struct {
		Method, Path, Summary, Scope, Key, Request, Answer string
		Status                                             int
		Query                                              []string
	}
	var lines []line
	for _, r := range a.routes() {
		l := line{Method: r.method, Path: prefix + r.path, Summary: r.summary, Scope: r.scope, Request: r.request, Answer: r.answer, Status: max(r.status, http.StatusOK),
			Key: map[keyUse]string{keyRequired: "required", keyOptional: "optional"}[r.key]}
		for _, q := range r.query {
			l.Query = append(l.Query, q.name+": "+q.description)
		}
		slices.Sort(l.Query)
		lines = append(lines, l)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_ = docsPage.Execute(w, lines) // the caller has gone; there is nobody to tell
}
