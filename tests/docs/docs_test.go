// Package docs checks that what the documents name is there: files, headings, pictures, commands and their flags, settings, make
// targets, metrics, tests and decisions. Examples of the guides are run by tests/e2e.
package docs

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// files returns the text of every file of the repository with one of the endings, by its path from the root.
func files(t *testing.T, endings ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if slices.Contains([]string{".git", ".cache", "bin", "data", "dist", "node_modules", "out", "gen", "testdata"}, e.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.ContainsFunc(endings, func(end string) bool { return strings.HasSuffix(name, end) }) {
			return nil
		}
		text, err := os.ReadFile(name)
		out[strings.TrimPrefix(filepath.ToSlash(name), root+"/")] = string(text)
		return err
	}))
	require.NotEmpty(t, out)
	return out
}

// each calls check for every match of pattern in every document, once for each document and text of the first group.
func each(t *testing.T, pattern string, check func(t *testing.T, document, found string)) {
	t.Helper()
	re, seen := regexp.MustCompile(pattern), map[[2]string]bool{}
	for document, text := range files(t, ".md") {
		for _, m := range re.FindAllStringSubmatch(text, -1) {
			if key := [2]string{document, m[1]}; !seen[key] {
				seen[key] = true
				check(t, document, m[1])
			}
		}
	}
	require.NotEmpty(t, seen, "the documents name none")
}

func TestLinksLeadSomewhere(t *testing.T) {
	documents := files(t, ".md")
	each(t, `\]\(([^)\s]+)\)`, func(t *testing.T, document, link string) {
		if strings.Contains(link, ":") {
			return // elsewhere
		}
		target, heading, _ := strings.Cut(link, "#")
		to := document
		if target != "" {
			to = path.Join(path.Dir(document), target)
		}
		_, err := os.Stat(filepath.Join(root, to))
		if err != nil {
			t.Errorf("%s: the link %s leads nowhere", document, link)
		}
		if heading != "" && !slices.Contains(headings(documents[to]), heading) {
			t.Errorf("%s: %s has no heading for %s", document, to, link)
		}
	})
}

// headings returns the names under which GitHub lets the headings of a document be linked to.
func headings(text string) []string {
	var out []string
	text = regexp.MustCompile("(?s)```.*?```").ReplaceAllString(text, "")
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		out = append(out, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return out
}

func TestPathsExist(t *testing.T) {
	each(t, "`((?:\\./)?(?:pkg|services|scripts|tests|docs|deploy|proto)/[A-Za-z0-9_./-]+)[ `]", func(t *testing.T, document, name string) {
		if name == "deploy/gateway" { // of kubectl
			return
		}
		_, err := os.Stat(filepath.Join(root, strings.TrimSuffix(name, "...")))
		if err != nil {
			t.Errorf("%s: there is no %s", document, name)
		}
	})
}

func TestMakeTargetsExistAndAreExplained(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	help, err := exec.CommandContext(t.Context(), "make", "-C", root, "help").Output()
	require.NoError(t, err)
	explained := map[string]bool{}
	for _, target := range regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`).FindAllStringSubmatch(string(text), -1) {
		explained[target[1]] = strings.Contains(string(help), target[1]+" ") || strings.Contains(string(help), target[1]+"\x1b")
		require.True(t, explained[target[1]], "make help does not tell of %s", target[1])
	}
	each(t, "(?:`|\n|^)(?:[A-Z_]+=\\S+ )*make ([a-z][a-z0-9-]*)", func(t *testing.T, document, target string) {
		if !explained[target] {
			t.Errorf("%s: there is no make %s", document, target)
		}
	})
}

func TestNamedTestsExist(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	require.NoError(t, err)
	require.Greater(t, strings.Count(string(page), "`Test"), 40, "the security page says what checks each of its promises")
	var code strings.Builder
	for _, text := range files(t, "_test.go") {
		code.WriteString(text)
	}
	each(t, "`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]+)`", func(t *testing.T, document, name string) {
		if !strings.Contains(code.String(), "func "+name+"(") {
			t.Errorf("%s: there is no %s", document, name)
		}
	})
}

func TestDecisionsExist(t *testing.T) {
	each(t, `ADRs? (\d{4})`, func(t *testing.T, document, number string) {
		found, err := filepath.Glob(filepath.Join(root, "docs", "adr", number+"-*.md"))
		require.NoError(t, err)
		if len(found) != 1 {
			t.Errorf("%s: there is no decision %s", document, number)
		}
	})
}

// TestMetricsExist knows the instruments of the code and the recording rules; what Prometheus adds to a name is left out.
func TestMetricsExist(t *testing.T) {
	known := map[string]bool{}
	for _, text := range files(t, ".go") {
		for _, m := range regexp.MustCompile(`"(wxbus\.[a-z0-9_.]+)"`).FindAllStringSubmatch(text, -1) {
			known[strings.ReplaceAll(m[1], ".", "_")] = true
		}
	}
	rules, err := os.ReadFile(filepath.Join(root, "deploy", "observability", "rules.yaml"))
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`record: (\S+)`).FindAllStringSubmatch(string(rules), -1) {
		known[m[1]] = true
	}
	endings := regexp.MustCompile(`(_seconds|_bytes|_ratio)?(_total|_bucket|_count|_sum)?$`)
	each(t, `\b(wxbus_[a-z0-9_]*[a-z0-9])(?:[^a-z0-9_*]|$)`, func(t *testing.T, document, metric string) {
		if !known[metric] && !known[endings.ReplaceAllString(metric, "")] {
			t.Errorf("%s: there is no metric %s", document, metric)
		}
	})
}

func TestSettingsExist(t *testing.T) {
	reference, err := os.ReadFile(filepath.Join(root, "docs", "configuration.md"))
	require.NoError(t, err)
	each(t, "`((?:gateway|rule|token|sender|agent_routing|console|simulator|nats|grpc|admin|telemetry|sql)\\.[a-z_]+(?:\\.[a-z_]+)*)`", func(t *testing.T, document, setting string) {
		if strings.HasSuffix(setting, ".md") || strings.HasSuffix(setting, ".yaml") {
			return
		}
		if !strings.Contains(string(reference), "`"+setting+"`") && !strings.Contains(string(reference), "`"+setting+".") {
			t.Errorf("%s: there is no setting %s", document, setting)
		}
	})
}

// use is a command of ours as documents write it.
var use = regexp.MustCompile("(?:^|[\\s;|(`])(?:bin/)?wxbus((?: [a-z][a-z-]*)+)([^|;#`\n]*)")

// TestCommandsAndFlagsExist asks every command that a document writes in code for its help.
func TestCommandsAndFlagsExist(t *testing.T) {
	wxbus, err := filepath.Abs(filepath.Join(root, "bin", "wxbus"))
	require.NoError(t, err)
	require.FileExists(t, wxbus, "run make build first")
	uses := map[string]map[string]string{} // flags of a command, and the document that names them
	for document, text := range files(t, ".md") {
		for _, m := range use.FindAllStringSubmatch(code(text), -1) {
			name := strings.TrimSpace(m[1])
			if uses[name] == nil {
				uses[name] = map[string]string{"": document}
			}
			for _, flag := range regexp.MustCompile(`(?:^|\s)(--[a-z][a-z-]*)`).FindAllStringSubmatch(m[2], -1) {
				uses[name][flag[1]] = document
			}
		}
	}
	require.NotEmpty(t, uses)
	helps := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		help, known := help(t, wxbus, name, helps)
		if !known {
			t.Errorf("%s: there is no command wxbus %s", uses[name][""], name)
			continue
		}
		for flag, document := range uses[name] {
			if !strings.Contains(help, flag) {
				t.Errorf("%s: wxbus %s has no %s", document, name, flag)
			}
		}
	}
}

// code returns what stands in code of a document, a command on one line and without comments.
func code(text string) string {
	blocks := regexp.MustCompile("(?s)```[a-z]*\n(.*?)```|`([^`\n]+)`").FindAllString(text, -1)
	commands := strings.NewReplacer("\\\n", " ", "-n wxbus", "").Replace(strings.Join(blocks, "\n")) // a namespace of kubectl is no program
	return regexp.MustCompile(`(?m)\s# .*$`).ReplaceAllString(commands, "")
}

// help returns the help of the command that words begin with, and whether there is one that takes the rest of the words.
func help(t *testing.T, wxbus, words string, known map[string]string) (string, bool) {
	t.Helper()
	fields := strings.Fields(words)
	for n := len(fields); n > 0; n-- {
		name := strings.Join(fields[:n], " ")
		text, asked := known[name]
		if !asked {
			// What is no command fails and prints no help.
			out, _ := exec.CommandContext(t.Context(), wxbus, append(slices.Clone(fields[:n]), "--help")...).CombinedOutput()
			text = string(out)
			known[name] = text
		}
		// An unknown subcommand prints the help of its parent, which does not begin with its own usage.
		if regexp.MustCompile(`(?m)^  wxbus ` + regexp.QuoteMeta(name) + `(\s|$)`).MatchString(text) {
			return text, n == len(fields) || !strings.Contains(text, "wxbus "+name+" [command]")
		}
	}
	return "", false
}
