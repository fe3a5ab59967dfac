package wechat_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

func TestTreeOfBothFormats(t *testing.T) {
	inXML := parse(t, `<xml><FromUserName>o</FromUserName><MsgType>x</MsgType><A><B>1</B><B>2</B><C> </C></A></xml>`)
	inJSON := parse(t, `{"FromUserName":"o","MsgType":"x","A":{"B":["1","2"],"C":" "}}`)
	require.Equal(t, inXML.Tree().Value(), inJSON.Tree().Value())
	for _, p := range []*wechat.Push{inXML, inJSON} {
		require.Equal(t, "xml", p.Tree().Name())
		require.Equal(t, "1", p.Tree().At("A", "B").Text(), "the first of several")
		require.True(t, p.Tree().Child("A").IsBranch())
		require.Empty(t, p.Tree().Child("A").Text())
		var all []string
		for b := range p.Tree().Child("A").All("B") {
			all = append(all, b.Name()+b.Text())
		}
		require.Equal(t, []string{"B1", "B2"}, all)
	}
}

func TestTreeOfWhatDoesNotExist(t *testing.T) {
	missing := parse(t, message("text", "")).Tree().At("A", "B", "C")
	require.False(t, missing.Exists())
	require.Empty(t, missing.Name())
	require.Empty(t, missing.Text())
	require.Nil(t, missing.Value())
	require.False(t, missing.IsBranch())
	for range missing.Children() {
		t.Fatal("a child of nothing")
	}
}

func TestTreeOfJSONValues(t *testing.T) {
	p := parse(t, `{"FromUserName":"o","MsgType":"x","n":-1.50e3,"big":18446744073709551616,"t":true,"f":false,"z":null,`+
		`"e":"","o":{},"l":[],"one":[1],"mixed":[1,"a",null,{"k":"v"},[2,[]]],"s":"\"\\\/\b\f\n\r\t\u4f60\ud83d\ude00\ud83dx\u0000"}`)
	got := p.Tree().Value().(map[string]any)
	delete(got, "FromUserName")
	delete(got, "MsgType")
	require.Equal(t, map[string]any{
		"n": "-1.50e3", "big": "18446744073709551616", "t": "true", "f": "false", "z": nil, "e": "",
		"o": map[string]any{}, "l": []any{}, "one": []any{"1"},
		"mixed": []any{"1", "a", nil, map[string]any{"k": "v"}, []any{"2", []any{}}},
		"s":     "\"\\/\n\r\t你😀\ufffdx",
	}, got)
	require.False(t, p.Tree().Child("l").Exists(), "an empty list has no element")
	require.True(t, p.Tree().Child("o").Exists())
}

func TestJSONTolerance(t *testing.T) {
	for name, body := range map[string]string{
		"trailing commas":         `{"FromUserName":"o","MsgType":"text","a":[1,2, ],"Content":"a,}b,]\",}",}` + "\n",
		"blanks in names":         `{" FromUserName":"o","MsgType\t":"text"," Content ":"a,}b,]\",}"}`,
		"byte order mark":         "\ufeff" + `{"FromUserName":"o","MsgType":"text","Content":"a,}b,]\",}"}`,
		"control characters":      "{\"FromUserName\":\"o\x00\",\"MsgType\":\"text\",\"Content\":\"a,\x01}b,]\\\",}\"}",
		"duplicate, first counts": `{"FromUserName":"o","FromUserName":"p","MsgType":"text","MsgType":"image","Content":"a,}b,]\",}","Content":"2"}`,
	} {
		t.Run(name, func(t *testing.T) {
			p := parse(t, body)
			require.Equal(t, "o", p.FromUserName)
			require.Equal(t, wechat.Text{Content: `a,}b,]",}`}, p.Payload())
		})
	}
	for name, body := range map[string]string{
		"two objects": `{"MsgType":"text"}{}`, "comment": `{/**/}`, "single quotes": `{'a':1}`, "cut off": `{"a":`,
		"only commas": `{,}x`, "comma first": `{,"a":1}`, "two commas": `{"a":1,,}`, "new line in text": "{\"a\":\"\n\"}",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wechat.Parse([]byte(body), wechat.Limits{})
			require.Error(t, err)
		})
	}
}
