package wechat_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

// content returns a text push whose Content element is given as markup.
func content(markup string) string { return message("text", "<Content>"+markup+"</Content>") }

func TestXMLText(t *testing.T) {
	tests := map[string]struct{ markup, want string }{
		"plain":                      {"hi", "hi"},
		"blanks are kept":            {" hi\n\t", " hi\n\t"},
		"entities":                   {"&lt;a&gt; &amp;amp; &apos;&quot;", `<a> &amp; '"`},
		"code points":                {"&#20320;&#x597D;&#x1F600;", "你好😀"},
		"control character by code":  {"a&#8;b&#0;c", "abc"},
		"half a surrogate":           {"&#xD83D;", "\ufffd"},
		"CDATA":                      {"<![CDATA[<b>&lt;]]>", "<b>&lt;"},
		"CDATA after blanks":         {"\n<![CDATA[x]]>\n", "\nx\n"},
		"two CDATA sections":         {"<![CDATA[a]]]]><![CDATA[>b]]>", "a]]>b"},
		"bracket at the start":       {"<![CDATA[[微笑]]]>", "[微笑]"},
		"broken CDATA of a sample":   {"![CDATA[xxx]]", "![CDATA[xxx]]"},
		"line ends":                  {"a\r\nb\rc<![CDATA[d\r\ne]]>", "a\nb\ncd\ne"},
		"comment inside":             {"a<!-- x -->b", "ab"},
		"emoji with joiners":         {"👨‍👩‍👧‍👦🇨🇳", "👨‍👩‍👧‍👦🇨🇳"},
		"invalid UTF-8":              {"a\xff\xfeb", "a\ufffd\ufffdb"},
		"NUL and control characters": {"a\x00b\x08c\x1fd", "abcd"},
		"text around an element":     {"before<a/>after", ""},
		"empty":                      {"", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, parse(t, content(tt.markup)).Tree().Child("Content").Text())
		})
	}
}

func TestXMLForms(t *testing.T) {
	body := content("x")
	for name, form := range map[string]string{
		"byte order mark":           "\ufeff" + body,
		"declaration":               `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + body,
		"declaration, other quotes": `<?xml version='1.0' encoding='utf-8' standalone='yes' ?>` + body,
		"declaration, no encoding":  `<?xml version="1.0"?>` + body,
		"blanks around":             "\r\n\t " + body + "\n ",
		"comments around":           "<!-- a -->" + body + "<!-- b -->\n",
		"attributes":                strings.Replace(body, "<Content>", `<Content a="1" b='&lt;&#65;' >`, 1),
		"blank before the end":      strings.ReplaceAll(body, "</Content>", "</Content\n>"),
		"no element twice":          strings.Replace(body, "<Content>", "<Empty /><Content>", 1),
		"NUL in a tag":              strings.Replace(body, "</Content>", "</Con\x00tent>", 1),
		"other names":               strings.Replace(body, "<Content>", "<a.b-c_1:d>1</a.b-c_1:d><名>2</名><Content>", 1),
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, wechat.Text{Content: "x"}, parse(t, form).Payload())
		})
	}
}

func TestXMLRefused(t *testing.T) {
	body := content("x")
	for name, form := range map[string]string{
		"document type":               "<!DOCTYPE xml>" + body,
		"document type after comment": "<!-- --><!DOCTYPE xml [<!ENTITY a 'b'>]>" + body,
		"document type inside":        content("<!DOCTYPE a>"),
		"entity declaration inside":   content("<!ENTITY a 'b'>"),
		"undefined entity":            content("&nbsp;"),
		"undefined entity in skipped": strings.Replace(body, "<Content>", "<a><b/>&x;</a><Content>", 1),
		"undefined entity in value":   strings.Replace(body, "<Content>", `<Content a="&x;">`, 1),
		"bare ampersand":              content("a & b"),
		"bare ampersand in a URL":     content("http://x?a=1&b=2"),
		"reference without digits":    content("&#;"),
		"reference too large":         content("&#x110000;"),
		"reference too long":          content("&#00000000000065;"),
		"negative reference":          content("&#-1;"),
		"wrong root":                  "<html></html>",
		"root of another case":        strings.NewReplacer("<xml>", "<XML>", "</xml>", "</XML>").Replace(body),
		"second root":                 body + "<xml></xml>",
		"text after the root":         body + "x",
		"text before the root":        "<?xml version=\"1.0\"?>//" + body,
		"closed after the root":       body + "</xml>",
		"not closed":                  strings.TrimSuffix(body, "</xml>"),
		"cut in a tag":                "<xml><Content",
		"cut in an end tag":           "<xml><Content></Content",
		"cut in CDATA":                "<xml><Content><![CDATA[x]]",
		"cut in a comment":            "<xml><!-- ",
		"comment with two dashes":     "<xml><!-- a -- b --></xml>",
		"comment without end":         "<xml><!----",
		"wrong end tag":               "<xml><a></b></xml>",
		"crossed end tags":            "<xml><a><b></a></b></xml>",
		"processing instruction":      content("<?php ?>"),
		"declaration inside":          content(`<?xml version="1.0"?>`),
		"two declarations":            `<?xml version="1.0"?><?xml version="1.0"?>` + body,
		"declaration not closed":      `<?xml version="1.0"` + body,
		"another encoding":            `<?xml version="1.0" encoding="GB2312"?>` + body,
		"encoding without value":      `<?xml version="1.0" encoding?>` + body,
		"attribute without value":     strings.Replace(body, "<Content>", "<Content a>", 1),
		"attribute without quotes":    strings.Replace(body, "<Content>", "<Content a=1>", 1),
		"attribute not closed":        strings.Replace(body, "<Content>", `<Content a="1>`, 1),
		"markup in an attribute":      strings.Replace(body, "<Content>", `<Content a="<">`, 1),
		"long attribute":              strings.Replace(body, "<Content>", `<Content a="`+strings.Repeat("x", 2000)+`" b="">`, 1),
		"many attributes":             strings.Replace(body, "<Content>", `<Content`+strings.Repeat(` a=""`, 100)+`>`, 1),
		"attributes without blank":    strings.Replace(body, "<Content>", `<Content a=""b="">`, 1),
		"name with a digit first":     strings.Replace(body, "<Content>", "<1/><Content>", 1),
		"long name":                   strings.Replace(body, "<Content>", "<"+strings.Repeat("n", 200)+"/><Content>", 1),
		"blank before a name":         "< xml></xml>",
		"stray slash":                 strings.Replace(body, "<Content>", "<Content / >", 1),
		"only a less-than sign":       "<",
		"only an end tag":             "</xml>",
		"UTF-16":                      "\xff\xfe<\x00x\x00m\x00l\x00>\x00",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wechat.Parse([]byte(form), wechat.Limits{})
			require.Error(t, err)
		})
	}
}

// TestCostIsBounded gives the scanner the inputs that are expensive elsewhere; with a quadratic step
// or a deep stack in it this test would take minutes.
func TestCostIsBounded(t *testing.T) {
	n := wechat.MaxBody / 16
	for name, body := range map[string]string{
		"nested tags":   strings.Repeat("<a>", n),
		"siblings":      "<xml>" + strings.Repeat("<a/>", n),
		"attributes":    "<xml " + strings.Repeat(`a="" `, n),
		"entities":      "<xml><a>" + strings.Repeat("&amp;", n) + "</a></xml>",
		"CDATA":         "<xml><a>" + strings.Repeat("<![CDATA[]]>", n) + "</a></xml>",
		"comments":      "<xml>" + strings.Repeat("<!---->", n) + "</xml>",
		"open comment":  "<xml>" + strings.Repeat("<!--", n),
		"line ends":     "<xml><a>" + strings.Repeat("\r", n) + "</a></xml>",
		"invalid UTF-8": "<xml><a>" + strings.Repeat("\xff", n) + "</a></xml>",
		"JSON arrays":   `{"a":` + strings.Repeat("[", n),
		"JSON escapes":  `{"a":"` + strings.Repeat(`\u0041`, n) + `"}`,
		"JSON commas":   `{"a":[` + strings.Repeat(",", n),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wechat.Parse([]byte(body), wechat.Limits{Bytes: wechat.MaxBody, Elements: 1 << 14})
			require.Error(t, err)
		})
	}
}
