package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/secret"
)

// holder has the secret where fmt calls methods and where it cannot.
type holder struct {
	Public  secret.Value
	Pointer *secret.Value
	List    []secret.Value
	Map     map[string]secret.Value
	private secret.Value
	nested  struct{ deep secret.Value }
}

// Whatever prints or encodes a secret, the secret is not in it.
func TestNothingPrintsASecret(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		canary := rapid.StringMatching(`Zq[A-Za-z0-9]{12,40}`).Draw(t, "canary")
		v := secret.New(canary)
		h := holder{Public: v, Pointer: &v, List: []secret.Value{v}, Map: map[string]secret.Value{"k": v}, private: v}
		h.nested.deep = v
		verb := rapid.SampledFrom([]string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T", "%10.3s", "%+q", "%w"}).Draw(t, "verb")
		for name, out := range encodings(t, verb, v, h) {
			require.NotContains(t, out, canary, name)
			require.NotContains(t, out, fmt.Sprintf("%x", canary), name)
		}
	})
}

func encodings(t *rapid.T, verb string, v secret.Value, h holder) map[string]string {
	var logs bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&logs, nil), slog.NewJSONHandler(&logs, nil)} {
		log := slog.New(handler)
		log.Info("x", "v", v, "p", &v, "h", h, "any", []any{v}, slog.Group("g", "v", v))
		log.With("v", v).WithGroup("g").Info("x", "h", &h)
	}
	asJSON, err := json.Marshal(h)
	require.NoError(t, err)
	asYAML, err := yaml.Marshal(h)
	require.NoError(t, err)
	asXML, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"x"`
		V       secret.Value
		A       secret.Value `xml:"a,attr"`
	}{V: v, A: v})
	require.NoError(t, err)
	var page strings.Builder
	require.NoError(t, template.Must(template.New("").Parse("{{.}} {{.Public}} {{printf \"%v\" .}}")).Execute(&page, h))
	return map[string]string{
		"fmt value":   fmt.Sprintf(verb, v),
		"fmt pointer": fmt.Sprintf(verb, &v),
		"fmt struct":  fmt.Sprintf(verb, h),
		"fmt any":     fmt.Sprintf(verb, []any{v, h, &h}),
		"print":       fmt.Sprint(v, h),
		"error":       fmt.Errorf("bad: %v", h).Error(),
		"slog":        logs.String(),
		"json":        string(asJSON),
		"yaml":        string(asYAML),
		"xml":         string(asXML),
		"template":    page.String(),
	}
}

func TestPrintedForm(t *testing.T) {
	v := secret.New("hunter2")
	require.Equal(t, "[redacted]", v.String())
	require.Equal(t, `"[redacted]"`, fmt.Sprintf("%q", v))
	require.Equal(t, `secret.Value("[redacted]")`, fmt.Sprintf("%#v", v))
	require.Empty(t, secret.Value{}.String(), "an empty one may be seen as empty")
	require.Equal(t, `secret.Value("")`, fmt.Sprintf("%#v", secret.Value{}))
	b, err := json.Marshal(map[string]secret.Value{"a": v, "b": {}})
	require.NoError(t, err)
	require.JSONEq(t, `{"a":"[redacted]","b":""}`, string(b))
}

func TestParse(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"TOKEN": "from-env", "EMPTY": ""}[name]
		return v, ok
	}
	newline := write("newline", "s3cret\n")
	tests := map[string]struct {
		text, want, source, err string
	}{
		"literal":                     {text: "s3cret", want: "s3cret"},
		"empty":                       {},
		"file loses one newline":      {text: "file:" + newline, want: "s3cret", source: "file:" + newline},
		"file loses one CRLF":         {text: "file:" + write("crlf", "s3cret\r\n"), want: "s3cret", source: "file:" + filepath.Join(dir, "crlf")},
		"file keeps inner newlines":   {text: "file:" + write("two", "a\n\n"), want: "a\n", source: "file:" + filepath.Join(dir, "two")},
		"file that does not exist":    {text: "file:/no/such/file", err: "/no/such/file"},
		"file without content":        {text: "file:" + write("empty", "\n"), err: "empty is empty"},
		"file that is far too large":  {text: "file:" + write("large", strings.Repeat("x", 70<<10)), err: "larger than"},
		"environment":                 {text: "env:TOKEN", want: "from-env", source: "env:TOKEN"},
		"environment that is not set": {text: "env:MISSING", err: `"MISSING" is not set`},
		"environment that is empty":   {text: "env:EMPTY", err: `"EMPTY" is not set`},
		"the printed form":            {text: "[redacted]", err: "printed form"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v, err := secret.Parse(tt.text, lookup)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				require.NotContains(t, err.Error(), "s3cret")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, v.Reveal())
			require.Equal(t, tt.source, v.Source())
			require.Equal(t, tt.want == "", v.IsZero())
		})
	}
}

func TestUnmarshalFromYAMLAndJSON(t *testing.T) {
	t.Setenv("SECRET_TEST_TOKEN", "abc")
	var y, j struct{ Token secret.Value }
	require.NoError(t, yaml.Unmarshal([]byte("token: env:SECRET_TEST_TOKEN"), &y))
	require.NoError(t, json.Unmarshal([]byte(`{"token":"abc"}`), &j))
	require.True(t, y.Token.Equal(j.Token))
	require.Error(t, yaml.Unmarshal([]byte("token: env:SECRET_TEST_MISSING"), &y))
}

func TestEqual(t *testing.T) {
	require.True(t, secret.New("a").Equal(secret.New("a")))
	require.False(t, secret.New("a").Equal(secret.New("b")))
	require.False(t, secret.New("a").Equal(secret.New("ab")))
	require.True(t, secret.Value{}.Equal(secret.New("")))
	require.False(t, secret.Value{}.Equal(secret.New("a")))
}
