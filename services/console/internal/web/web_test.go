package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/console/internal/web"
)

func get(t *testing.T, path string, header ...string) *http.Response {
	t.Helper()
	h, err := web.Handler()
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, path string) string {
	t.Helper()
	w := get(t, path)
	require.Equal(t, http.StatusOK, w.StatusCode, path)
	var b strings.Builder
	require.NoError(t, w.Write(&b))
	_, text, _ := strings.Cut(b.String(), "\r\n\r\n")
	return text
}

func sources(t *testing.T, glob string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("assets", glob))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	out := map[string]string{}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		require.NoError(t, err)
		out[filepath.Base(p)] = string(text)
	}
	return out
}

func TestPageAndItsFilesAreServed(t *testing.T) {
	page := body(t, "/")
	require.Contains(t, page, "<!doctype html>")
	for _, m := range regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllStringSubmatch(page, -1) {
		w := get(t, m[1])
		require.Equal(t, http.StatusOK, w.StatusCode, m[1])
		kind := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}[filepath.Ext(m[1])]
		require.Equal(t, kind, w.Header.Get("Content-Type"), m[1])
		again := get(t, m[1], "If-None-Match", w.Header.Get("ETag"))
		require.Equal(t, http.StatusNotModified, again.StatusCode, m[1])
	}
	for _, path := range []string{"/assets/index.html", "/assets/", "/assets/../tokens.json", "/nothing", "/assets/none.js"} {
		require.NotEqual(t, http.StatusOK, get(t, path).StatusCode, path)
	}
}

// What a fan wrote may reach the document as text only. The policy of the server makes the browser
// refuse the rest; this test keeps the page from even trying.
func TestPageHasNoWayToTurnTextIntoMarkup(t *testing.T) {
	sinks := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|setHTMLUnsafe|parseFromString|srcdoc|\beval\b|new Function|javascript:|setAttribute\(\s*["'](?:on|href|src|style)|\.(?:href|src)\s*=|set(?:Timeout|Interval)\(\s*["'` + "`" + `]`)
	for name, text := range sources(t, "*.js") {
		require.Empty(t, sinks.FindAllString(text, -1), name)
		require.NotRegexp(t, `https?://|from "[^.]`, text, "%s loads something from elsewhere", name)
	}
	page := sources(t, "index.html")["index.html"]
	require.NotRegexp(t, `(?i)<script(?:\s+type="module")?\s*>|\son\w+=|\sstyle=|<style|https?://|src="//|href="//`, page)
	require.NotContains(t, sources(t, "app.css")["app.css"], "url(")
}

func TestPolicyAllowsOnlyOwnFiles(t *testing.T) {
	require.Contains(t, web.Policy, "default-src 'none'")
	require.Contains(t, web.Policy, "script-src 'self';")
	require.Contains(t, web.Policy, "style-src 'self';")
	require.Contains(t, web.Policy, "require-trusted-types-for 'script'")
	require.Contains(t, web.Policy, "frame-ancestors 'none'")
	for _, hole := range []string{"unsafe-inline", "unsafe-eval", "*", "http:", "https:", "data:", "blob:"} {
		require.NotContains(t, web.Policy, hole)
	}
}

func TestModulesFitTogether(t *testing.T) {
	scripts := sources(t, "*.js")
	imports := regexp.MustCompile(`import \{([^}]*)\} from "\./([a-z0-9]+\.js)"`)
	star := regexp.MustCompile(`import \* as (\w+) from "\./([a-z0-9]+\.js)"`)
	exported := func(file, name string) bool {
		return regexp.MustCompile(`export (?:async )?(?:const|function|class|let) ` + name + `\b`).MatchString(scripts[file])
	}
	for file, text := range scripts {
		for _, m := range imports.FindAllStringSubmatch(text, -1) {
			for name := range strings.SplitSeq(m[1], ",") {
				require.True(t, exported(m[2], strings.TrimSpace(name)), "%s imports %s from %s", file, name, m[2])
				require.Greater(t, strings.Count(text, strings.TrimSpace(name)), 1, "%s imports %s and does not use it", file, name)
			}
		}
		for _, m := range star.FindAllStringSubmatch(text, -1) {
			for _, use := range regexp.MustCompile(`[^/\w]`+m[1]+`\.(\w+)`).FindAllStringSubmatch(text, -1) {
				require.True(t, exported(m[2], use[1]), "%s uses %s of %s", file, use[1], m[2])
			}
		}
	}
	page := sources(t, "index.html")["index.html"]
	for file, text := range scripts {
		for _, m := range regexp.MustCompile(`byId\("([a-z-]+)"\)`).FindAllStringSubmatch(text, -1) {
			require.Contains(t, page, `id="`+m[1]+`"`, "%s looks for an element that the page does not have", file)
		}
	}
}

func TestBothLanguagesAreComplete(t *testing.T) {
	var words map[string]map[string]string
	require.NoError(t, json.Unmarshal([]byte(body(t, "/assets/strings.json")), &words))
	require.Len(t, words, 2)
	holes := regexp.MustCompile(`\{\w+\}`)
	for key, zh := range words["zh"] {
		en, ok := words["en"][key]
		require.True(t, ok, "%s has no English text", key)
		require.NotEmpty(t, zh, key)
		require.NotEmpty(t, en, key)
		require.ElementsMatch(t, holes.FindAllString(zh, -1), holes.FindAllString(en, -1), key)
	}
	require.Len(t, words["en"], len(words["zh"]), "English has texts that Chinese has not")

	used := regexp.MustCompile(`data-t(?:-label)?="([^"]+)"|\bt\("([^"]+)"`)
	for _, text := range []string{sources(t, "index.html")["index.html"], strings.Join(values(sources(t, "*.js")), "\n")} {
		for _, m := range used.FindAllStringSubmatch(text, -1) {
			require.Contains(t, words["zh"], m[1]+m[2])
		}
	}
}

func TestStylesUseTokensOnly(t *testing.T) {
	css, tokens := body(t, "/assets/app.css"), body(t, "/assets/tokens.css")
	defined := regexp.MustCompile(`--([\w-]+):`)
	known := map[string]bool{"left": true} // set by the page for each ring
	for _, m := range defined.FindAllStringSubmatch(css+tokens, -1) {
		known[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`var\(--([\w-]+)`).FindAllStringSubmatch(css, -1) {
		require.True(t, known[m[1]], "app.css uses --%s, which no token defines", m[1])
	}
	for line := range strings.SplitSeq(css, "\n") {
		if !strings.Contains(line, ".hue-") && !strings.Contains(line, "mask:") {
			require.NotRegexp(t, `#[0-9A-Fa-f]{3,8}\b|rgba?\(`, line, "a raw colour")
		}
	}
	light, dark, _ := strings.Cut(tokens, "[data-theme=dark]")
	require.Contains(t, light, "--brand: #0C7449;")
	require.Contains(t, dark, "--brand: #1E7F55;")
}

func values(m map[string]string) []string {
	var out []string
	for _, v := range m {
		out = append(out, v)
	}
	return out
}
