package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/grpcx"
	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"
)

// sections are what the guides have examples of, and what runs them. TestEveryExampleIsRun finds what is missing.
var sections = map[string]func(*testing.T, *world){
	"operator/rules":     rulesWork,
	"operator/editing":   editingWorks,
	"operator/accounts":  accountsWork,
	"operator/campaigns": campaignsWork,
	"operator/sending":   func(t *testing.T, w *world) { sendingWorks(t, w, "operator") },
	"developer/console":  consoleWorks,
	"developer/jssdk":    jssdkWorks,
	"developer/sending":  func(t *testing.T, w *world) { sendingWorks(t, w, "developer") },

	"developer/campaigns": campaignsWorkForPrograms,
}

// guides runs the examples of the guides as they stand, with names of this system.
func guides(t *testing.T, w *world) {
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		t.Run(name, func(t *testing.T) { sections[name](t, w) })
	}
}

// TestEveryExampleIsRun fails for commands in a guide that nothing runs, and for examples that differ between the languages.
func TestEveryExampleIsRun(t *testing.T) {
	files, err := filepath.Glob("../../docs/guides/*.en.md")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	ours := ownCode(t)
	for _, file := range files {
		guide := strings.TrimSuffix(filepath.Base(file), ".en.md")
		found := 0
		for _, section := range regexp.MustCompile("<!-- ([a-z]+):begin -->").FindAllStringSubmatch(guideText(t, guide+".en.md"), -1) {
			en, zh := blocks(t, guide+".en.md", section[1], "sh"), blocks(t, guide+".zh-CN.md", section[1], "sh")
			require.Equal(t, shape(commandsIn(en)), shape(commandsIn(zh)), "%s of %s: the guides say the same in both languages", section[1], guide)
			require.True(t, len(en) == 0 || sections[guide+"/"+section[1]] != nil, "nothing runs the commands of %s in %s", section[1], guide)
			found += len(en)
			for _, language := range []string{"go", "js"} {
				require.Equal(t, blocks(t, guide+".en.md", section[1], language), blocks(t, guide+".zh-CN.md", section[1], language), "%s of %s", section[1], guide)
			}
			for _, example := range blocks(t, guide+".en.md", section[1], "go") {
				require.Contains(t, ours, withoutIndent(example), "%s of %s: no test is made of this", section[1], guide)
			}
		}
		require.Equal(t, strings.Count(guideText(t, guide+".en.md"), "```sh\n"), found, "%s: every command stands in a section", guide)
	}
}

// shape leaves out what people read: texts in quotes, Chinese words, and the language of answers.
func shape(commands []string) []string {
	words := regexp.MustCompile(`"[^"]*"|[^\x00-\x7f]+| --lang zh`)
	out := make([]string, len(commands))
	for i, c := range commands {
		out[i] = words.ReplaceAllString(c, "")
	}
	return out
}

// ownCode is the code of these tests, without indents.
func ownCode(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		all.WriteString(withoutIndent(string(text)))
	}
	return all.String()
}

func withoutIndent(code string) string { return strings.ReplaceAll(code, "\t", "") }

// TestTheReadmesSayTheSame compares the commands and the links of the README in both languages.
func TestTheReadmesSayTheSame(t *testing.T) {
	in := func(name string) (commands, links []string) {
		text, err := os.ReadFile("../../" + name)
		require.NoError(t, err)
		for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
			commands = append(commands, shape(commandsIn(block[1:]))...)
		}
		links = regexp.MustCompile(`\]\((docs|services|[A-Z]+\.md)[^)]*\)`).FindAllString(string(text), -1)
		slices.Sort(links)
		return commands, slices.Compact(links)
	}
	commands, links := in("README.md")
	commandsZH, linksZH := in("README.zh-CN.md")
	require.NotEmpty(t, commands)
	require.Equal(t, commands, commandsZH)
	require.Subset(t, append(linksZH, "](README.zh-CN.md)"), links)
}

func guideText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs/guides", name))
	require.NoError(t, err)
	return string(text)
}

// blocks returns the fenced blocks of a language in a section of a guide, in order.
func blocks(t *testing.T, name, section, language string) []string {
	t.Helper()
	text := regexp.MustCompile("(?s)<!-- " + section + ":begin -->(.*)<!-- " + section + ":end -->").FindStringSubmatch(guideText(t, name))
	require.NotNil(t, text, "%s has no section about %s", name, section)
	var out []string
	for _, block := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(text[1], -1) {
		out = append(out, block[1])
	}
	return out
}

func commands(t *testing.T, guide, section string) []string {
	t.Helper()
	out := commandsIn(blocks(t, guide+".en.md", section, "sh"))
	require.NotEmpty(t, out)
	return out
}

// commandsIn returns the commands of blocks one by one, without comments. A command may go on in the next line.
func commandsIn(blocks []string) []string {
	var out []string
	for _, block := range blocks {
		for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
			line, _, _ = strings.Cut(line, " #")
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				out = append(out, line)
			}
		}
	}
	return out
}

func rulesWork(t *testing.T, w *world) {
	before := liveVersion(t, w)
	require.NoError(t, os.WriteFile(filepath.Join(w.Dir, "rules.yaml"), []byte(rules(w.webhook)), 0o600))
	for _, command := range commands(t, "operator", "rules") {
		w.shell(t, strings.NewReplacer("VERSION", before, "--account shop", "--account "+secureXML).Replace(command))
	}
}

func editingWorks(t *testing.T, w *world) {
	before := liveVersion(t, w)
	sample, err := os.ReadFile("../../services/rule/internal/autoreply/testdata/wechatpy_get_current_autoreply_info.json")
	require.NoError(t, err)
	for name, content := range map[string]string{
		"rules.yaml":     rules(w.webhook), // as at the start
		"new.yaml":       "rules:\n  - {name: greeting, match: {exact: [hey]}, do: [{reply: hello}]}\n  - {name: tea, match: {contains: [tea]}, do: [{reply: It is on its way.}]}\n",
		"extra.yaml":     "rules:\n  - {name: greeting, match: {exact: [hey]}, do: [{reply: hello}]}\n",
		"autoreply.json": string(sample),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(w.Dir, name), []byte(content), 0o600))
	}
	for _, command := range commands(t, "operator", "editing") {
		if strings.Contains(command, "delete greeting") { // somebody has added it again
			w.shell(t, "wxbus rules import -f extra.yaml")
		}
		if strings.Contains(command, "discard tea") { // and somebody edits tea
			w.shell(t, "wxbus rules import -f new.yaml")
		}
		w.shell(t, strings.NewReplacer("VERSION", before, "--account shop", "--account "+secureXML).Replace(command))
	}
	require.True(t, eventually(t, 60*time.Second, func() bool {
		f := w.newFan(t, secureXML)
		f.says(t, "你好")
		return contains(f.saw(t), "passive:你好，朋友")
	}), "the rules are as before")
}

// accountsWork plays an account from its creation to its end. The simulator knows it as late.
func accountsWork(t *testing.T, w *world) {
	for name, secret := range map[string]string{"club.key": freshKey, "club.secret": "secret-of-" + late, "new.key": key} {
		require.NoError(t, os.WriteFile(filepath.Join(w.Dir, name), []byte(secret+"\n"), 0o600))
	}
	names := strings.NewReplacer("club.key", "club.key", "club.secret", "club.secret", "club", late, "wx0123456789abcdef", lateAppID, "gh_0123456789ab", "gh_"+late,
		"--reply passive", "--reply passive --api-base "+w.Simulator, "--account shop", "--account "+secureXML)
	for _, command := range commands(t, "operator", "accounts") {
		command = names.Replace(command)
		if strings.HasPrefix(command, "wxbus doctor") {
			require.Contains(t, w.examine(t, command), "credentials")
			continue
		}
		w.shell(t, command, "CLUB_TOKEN="+freshToken, "NEW_TOKEN=token"+late)
	}
}

// examine runs the doctor, who may find something.
func (w *world) examine(t *testing.T, command string) string {
	t.Helper()
	out, err := w.try(t, command)
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		require.Equal(t, 3, failed.ExitCode(), "%s\n%s", command, out)
		return out
	}
	require.NoError(t, err, out)
	return out
}

func campaignsWork(t *testing.T, w *world) {
	a, b := w.newFan(t, compatXML), w.newFan(t, compatXML)
	a.opens(t)
	b.opens(t)
	require.NoError(t, os.Rename(w.list(t, "guide", a, b), filepath.Join(w.Dir, "fans.csv")))
	order := strings.ReplaceAll(blocks(t, "operator.en.md", "campaigns", "json")[0], "TEMPLATE_ID", "t1")
	require.NoError(t, os.WriteFile(filepath.Join(w.Dir, "order.json"), []byte(order), 0o600))
	names := strings.NewReplacer("--account shop", "--account "+compatXML, "--hold 10m", "--hold 1s --yes")
	for _, command := range commands(t, "operator", "campaigns") {
		command = names.Replace(command)
		if !strings.Contains(command, "campaign replay") {
			w.shell(t, command)
			continue
		}
		out, err := w.try(t, command+" --yes")
		require.Error(t, err, "nobody failed with such a code")
		require.Contains(t, out, "nobody")
	}
	w.shell(t, "wxbus campaign create order --account "+compatXML+" --message order.json --csv fans.csv")
	got := a.saw(t)
	require.True(t, contains(got, "kf:Hello 朋友1"), "%v", got)
}

// campaignsWorkForPrograms plays a campaign by the API, to two fans and a line that cannot be used.
func campaignsWorkForPrograms(t *testing.T, w *world) {
	a, b := w.newFan(t, compatXML), w.newFan(t, compatXML)
	a.opens(t)
	b.opens(t)
	require.NoError(t, os.Rename(w.list(t, "programs", a, b), filepath.Join(w.Dir, "fans.csv")))
	names := strings.NewReplacer("accounts/shop", "accounts/"+compatXML, "http://127.0.0.1:8081", w.Console)
	for _, command := range commands(t, "developer", "campaigns") {
		out := w.shell(t, names.Replace(command))
		if strings.Contains(command, "/audience") {
			require.Contains(t, out, `"line":4,"kind":"bad_openid"`)
		}
	}
	for f, text := range map[*fan]string{a: "kf:你好 朋友1", b: "kf:你好 朋友2"} {
		require.True(t, eventually(t, 60*time.Second, func() bool { return contains(f.saw(t), text) }), "%v", f.saw(t))
	}
}

// consoleWorks sends with a key. What a receiver of events does with a signature is signedBy.
func consoleWorks(t *testing.T, w *world) {
	f := w.newFan(t, secureXML)
	f.opens(t)
	create := regexp.MustCompile("`(wxbus keys create [^`]*)`").FindStringSubmatch(guideText(t, "developer.en.md"))
	require.NotNil(t, create)
	key := regexp.MustCompile(`(?m)^key +(\S+)$`).FindStringSubmatch(w.shell(t, strings.ReplaceAll(create[1], "--account shop", "--account "+secureXML)))
	require.NotNil(t, key)
	names := strings.NewReplacer("https://console.example.com", w.Console, "accounts/shop", "accounts/"+secureXML, `["shop"]`, `["`+secureXML+`"]`, "OPENID", f.openid, "curl -sS", "curl -sS --fail-with-body")
	for _, command := range commands(t, "developer", "console") {
		out := w.shell(t, names.Replace(command), "KEY="+key[1])
		if strings.Contains(command, "-d '{\"name\":\"crm\"") {
			require.Equal(t, out, w.shell(t, names.Replace(command), "KEY="+key[1]), "the same subscription")
		}
	}
	require.True(t, eventually(t, 60*time.Second, func() bool { return contains(f.saw(t), "kf:您的订单已发货") }), "%v", f.saw(t))
}

// signPage is what the developer's guide shows of the JS-SDK in Go.
func signPage(ctx context.Context, tokenService, account, pageURL string) (*tokenv1.SignJSAPIResponse, error) {
	conn, err := grpcx.Dial(ctx, tokenService, grpcx.DialOptions{}) // dns:///token:9183
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return tokenv1.NewAccountServiceClient(conn).SignJSAPI(ctx, &tokenv1.SignJSAPIRequest{Account: account, Url: pageURL})
}

func jssdkWorks(t *testing.T, w *world) {
	sign, err := signPage(t.Context(), w.GRPC("token"), secureXML, "https://shop.example.com/page?id=1")
	require.NoError(t, err)
	require.NotEmpty(t, sign.GetSignature())
	for _, command := range commands(t, "developer", "jssdk") {
		out := w.shell(t, strings.ReplaceAll(command, "tickets shop", "tickets "+secureXML))
		require.Contains(t, out, `"signature"`)
	}
}

// sendingWorks sends what a guide sends. The window has five messages.
func sendingWorks(t *testing.T, w *world, guide string) {
	f := w.newFan(t, plainXML)
	f.opens(t)
	require.NoError(t, os.WriteFile(filepath.Join(w.Dir, "photo.png"), []byte("\x89PNG\r\n\x1a\n a picture"), 0o600))
	names := strings.NewReplacer("OPENID", f.openid, "accounts/shop", "accounts/"+f.account, "--account shop", "--account "+f.account,
		"http://127.0.0.1:8081", w.Console)
	for n, block := range blocks(t, guide+".en.md", "sending", "sh") {
		if n%3 == 2 {
			f.opens(t)
		}
		w.shell(t, names.Replace(block))
	}
}

// shell runs a command of a guide and returns what it printed.
func (w *world) shell(t *testing.T, command string, env ...string) string {
	t.Helper()
	out, err := w.try(t, command, env...)
	require.NoError(t, err, "%s\n%s", command, out)
	return out
}

func (w *world) try(t *testing.T, command string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", command)
	cmd.Dir = w.Dir
	cmd.Env = append(append(os.Environ(), "PATH="+w.BinDir()+":"+os.Getenv("PATH"), "WXBUS_CONFIG="+w.File, "LANG=C.UTF-8"), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// liveVersion returns the version that is live.
func liveVersion(t *testing.T, w *world) string {
	t.Helper()
	out, err := w.CLI(t, "rules", "list", "--json")
	require.NoError(t, err, out)
	var list struct {
		RuleSets []struct {
			Version string `json:"version"`
			Live    bool   `json:"live"`
		} `json:"rule_sets"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &list), out)
	for _, s := range list.RuleSets {
		if s.Live {
			return s.Version
		}
	}
	require.Fail(t, "no version is live", out)
	return ""
}
