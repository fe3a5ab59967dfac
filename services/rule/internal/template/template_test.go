package template_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/services/rule/internal/template"
)

func values(pairs ...string) template.Values {
	return func(n template.Name) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == n.String() {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func expand(t *testing.T, text string, field template.Field, v template.Values) string {
	t.Helper()
	parsed, err := template.Parse(text, field)
	require.NoError(t, err, text)
	return parsed.Expand(v)
}

func TestVariablesAreFilledIn(t *testing.T) {
	v := values("fan.name", "小李", "place.name", " ", "form.型号", "A1")
	for text, want := range map[string]string{
		"您好":                                 "您好",
		"{{fan.name}}，您好":                    "小李，您好",
		"{{ fan.name }}{{ fan.name|\"x\" }}": "小李小李",
		`{{place.name | "我们"}}`:              "我们", // a blank value is none
		`{{fan.none | "a \"b\" \\ \n"}}`:     "a \"b\" \\ \n",
		`{{fan.none}}`:                       "",
		`{{"{{"}}fan.name}}`:                 "{{fan.name}}",
		`{{form.型号}}`:                        "A1",
		`}} { {`:                             "}} { {",
	} {
		require.Equal(t, want, expand(t, text, template.Text, v), text)
	}
}

func TestAValueIsNeverReadAgain(t *testing.T) {
	require.Equal(t, "{{fan.name}}", expand(t, "{{event.text}}", template.Text, values("event.text", "{{fan.name}}", "fan.name", "no")))
}

func TestWhatAFanWroteCannotBecomeALink(t *testing.T) {
	evil := "<a href=\"https://evil\">x</a>&lt;a\u202e\x00"
	require.Equal(t, "说：＜a href=\"https://evil\"＞x＜/a＞＆lt;a", expand(t, "说：{{event.text}}", template.Text, values("event.text", evil)))
	require.Equal(t, "＜a href=\"https://evil\"＞", expand(t, `{{event.text | "<a href=\"https://evil\">"}}`, template.Text, values()), "nor a default")
	link := expand(t, `<a href="https://example.com/?q={{event.text}}">{{event.text}}</a>`, template.Text, values("event.text", `"><a>`))
	require.Equal(t, `<a href="https://example.com/?q=%22%3E%3Ca%3E">"＞＜a＞</a>`, link)
	whole := `<a href="{{webhook.url}}">看</a>`
	require.Equal(t, `<a href="https://example.com/a?b=c">看</a>`, expand(t, whole, template.Text, values("webhook.url", "https://example.com/a?b=c")))
	for _, bad := range []string{"javascript:alert(1)", `https://a" onclick="x`, "https://user@evil/", "weixin://x", "//a", "https://"} {
		require.Equal(t, `<a href="">看</a>`, expand(t, whole, template.Text, values("webhook.url", bad)), bad)
	}
	require.Equal(t, `<a href="weixin://bizmsgmenu?msgmenucontent=%E5%A5%BD&msgmenuid=1">好</a>`,
		expand(t, `<a href="weixin://bizmsgmenu?msgmenucontent={{fan.word}}&msgmenuid=1">{{fan.word}}</a>`, template.Text, values("fan.word", "好")))
	require.Equal(t, "1 < 2 小李 > 0", expand(t, "1 < 2 {{fan.name}} > 0", template.Text, values("fan.name", "小李")), "a sign is no link")
}

func TestTitlesAreOneLineAndAddressesEscaped(t *testing.T) {
	require.Equal(t, "a b", expand(t, "{{event.text}}", template.Plain, values("event.text", "a\n\tb")))
	require.Equal(t, "https://example.com/%2Fa%20b%3F", expand(t, "https://example.com/{{event.text}}", template.Address, values("event.text", "/a b?")))
	require.Equal(t, "", expand(t, "{{event.text}}", template.Address, values("event.text", "pages/index")))
}

func TestWhatIsNoTemplateIsRefusedWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		"您好{{":                      "at character 3: must be a variable",
		"{{}}":                      "must be a variable",
		"{{fan}}":                   "must be a variable",
		"{{fan.}}":                  "must be a variable",
		"{{fan.name":                "ends with }}",
		"{{fan.name.first}}":        "ends with }}",
		"{{if fan.name}}":           "must be a variable",
		`{{fan.name | 朋友}}`:         "double quotes",
		`{{fan.name | "朋友}}`:        "double quotes",
		`{{fan.name | "\x"}}`:       "double quotes",
		`{{"a"`:                     "ends with }}",
		`<a {{fan.name}}>x</a>`:     "stands in a quoted value only",
		`<a href={{fan.name}}>x`:    "stands in a quoted value only",
		`<a href="x" {{fan.name}}>`: "stands in a quoted value only",
		`{{"<"}}a {{fan.name}}>`:    "stands in a quoted value only",
		strings.Repeat("{{a.b}}", template.MaxVariables+1): "more than 50 variables",
	} {
		_, err := template.Parse(text, template.Text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestTheFixedPartIsCounted(t *testing.T) {
	parsed, err := template.Parse(`您好{{fan.name | "朋友"}}{{"{{"}}`, template.Text)
	require.NoError(t, err)
	require.Equal(t, len("您好{{"), parsed.FixedBytes())
	require.Equal(t, []template.Name{{Root: "fan", Key: "name"}}, parsed.Variables())
}

func TestATextIsCutAtTheBestBorder(t *testing.T) {
	sentence := strings.Repeat("一", 15) + "。"
	paragraph := strings.Repeat("二", 20) + "\n"
	require.Equal(t, []string{"短"}, template.Split(" 短 ", 100, 3))
	require.Empty(t, template.Split(" \n", 100, 3))
	require.Equal(t, []string{strings.TrimSpace(paragraph), sentence + sentence}, template.Split(paragraph+sentence+sentence, 100, 3))
	require.Equal(t, []string{sentence + sentence, sentence}, template.Split(sentence+sentence+sentence, 100, 3))
	require.Equal(t, []string{sentence + sentence, sentence + sentence + "…"}, template.Split(strings.Repeat(sentence, 7), 102, 2))
	words := strings.Repeat("word ", 30)
	for _, piece := range template.Split(words, 64, 10) {
		require.True(t, strings.HasPrefix(piece, "word") && strings.HasSuffix(piece, "word"), piece)
	}
	link := `<a href="https://example.com/">点这里看更多内容</a>`
	require.Equal(t, []string{strings.Repeat("三", 30), link + "。"}, template.Split(strings.Repeat("三", 30)+link+"。", 120, 3))
}

func TestPiecesFitAndNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("一二，。\n a<>/😀")), 0, 400, -1).Draw(t, "text")
		pieces := template.Split(text, 64, 1000)
		for _, piece := range pieces {
			if len(piece) > 64 || !utf8.ValidString(piece) || strings.TrimSpace(piece) == "" {
				t.Fatalf("piece %q of %d bytes", piece, len(piece))
			}
		}
		squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if squeeze(strings.Join(pieces, "")) != squeeze(text) {
			t.Fatalf("%q became %q", text, pieces)
		}
		if few := template.Split(text, 64, 2); len(few) > 2 || len(few) > 0 && len(few[len(few)-1]) > 64 {
			t.Fatalf("%q became %q", text, few)
		}
	})
}

func FuzzExpand(f *testing.F) {
	f.Add(`您好{{fan.name | "x"}}<a href="{{webhook.url}}" data-x='{{fan.name}}'>{{event.text}}</a>`, `"><a href='https://evil'>`)
	f.Add(`{{"<a href='"}}{{fan.name}}'>`, "javascript:x")
	f.Fuzz(func(t *testing.T, text, value string) {
		for _, field := range []template.Field{template.Text, template.Plain, template.Address} {
			parsed, err := template.Parse(text, field)
			if err != nil {
				continue
			}
			count := func(v string) [2]int {
				s := parsed.Expand(func(template.Name) (string, bool) { return v, true })
				return [2]int{strings.Count(s, "<"), strings.Count(s, ">")}
			}
			if field == template.Text {
				// The value brings no markup that a harmless one would not.
				require.Equal(t, count("x"), count(value))
			}
			for _, piece := range template.Split(parsed.Expand(func(template.Name) (string, bool) { return value, true }), 2047, 5) {
				require.LessOrEqual(t, len(piece), 2047)
			}
		}
	})
}
