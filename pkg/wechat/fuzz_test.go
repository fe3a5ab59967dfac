package wechat_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

// addVectors adds every body of the vectors to the corpus.
func addVectors(f *testing.F) {
	f.Helper()
	for _, v := range vectors(f) {
		if v.Kind != "api" && v.Kind != "index" {
			f.Add(readVector(f, v.File))
		}
	}
}

// FuzzParse: no panic, and what was parsed can be used in every way and is parsed the same again.
func FuzzParse(f *testing.F) {
	addVectors(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := wechat.Parse(body, wechat.Limits{})
		if err != nil {
			return
		}
		require.True(t, p.Probe || p.MsgType != "" || p.InfoType != "")
		require.True(t, utf8.ValidString(p.FromUserName))
		require.Equal(t, strings.TrimSpace(p.OpenID), p.OpenID)
		require.Equal(t, strings.ToLower(p.Event), p.Event)
		require.Regexp(t, dedupeKeyForm, p.DedupeKey("main"))
		require.NotEmpty(t, p.Kind())
		_ = p.AcceptsPassive(true)
		_ = p.Payload()
		require.NotNil(t, p.Tree().Value())
		walk(t, p.Tree(), 0)

		again, err := wechat.Parse(body, wechat.Limits{})
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}

func walk(t *testing.T, tree wechat.Tree, depth int) {
	require.Less(t, depth, wechat.DefaultMaxDepth)
	require.True(t, utf8.ValidString(tree.Name()+tree.Text()))
	require.NotContains(t, tree.Text(), "\x00")
	for c := range tree.Children() {
		require.True(t, c.Exists())
		walk(t, c, depth+1)
	}
}

// FuzzDecrypt: no panic, one error, and nothing accepted that Encrypt did not make.
func FuzzDecrypt(f *testing.F) {
	for _, c := range loadEncrypted(f).Cases {
		f.Add(c.Encrypt, []byte(c.Plaintext))
	}
	f.Add("", []byte{})
	c, err := wechat.NewCipher(aesKey, appID, nil)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, encrypt string, msg []byte) {
		if _, err := c.Decrypt(encrypt); err != nil {
			require.Equal(t, wechat.ErrDecrypt, err)
		}
		sealed, err := c.Encrypt(msg)
		require.NoError(t, err)
		plain, err := c.Decrypt(sealed)
		require.NoError(t, err)
		require.Equal(t, string(msg), string(plain))
	})
}

// FuzzSignature: only the signature itself verifies, and the order of the parts does not matter.
func FuzzSignature(f *testing.F) {
	f.Add("AAAAA", "1714036504", "1514711492", "", "f464b24fc39322e44b38aa78f5edd27bd1441696")
	f.Add("t", "1", "n", "AAAA", "")
	f.Fuzz(func(t *testing.T, token, timestamp, nonce, encrypt, signature string) {
		good := wechat.Sign(token, timestamp, nonce, encrypt)
		require.Len(t, good, 40)
		require.Equal(t, good, wechat.Sign(encrypt, nonce, timestamp, token))
		require.Equal(t, token != "", wechat.VerifyMsgSignature(token, timestamp, nonce, encrypt, good))
		if signature != good {
			require.False(t, wechat.VerifyMsgSignature(token, timestamp, nonce, encrypt, signature))
		}
		if signature != wechat.Sign(token, timestamp, nonce) {
			require.False(t, wechat.VerifySignature(token, timestamp, nonce, signature))
		}
	})
}

// FuzzEncodeReply: what EncodeReply accepts, WeChat reads back as it was, but for what the formats
// cannot hold.
func FuzzEncodeReply(f *testing.F) {
	f.Add("hello", "title", "http://x?a=1&b=2")
	f.Add("a]]>b", "]]]]>>", "]]")
	f.Add("\r\n\x00\ufffe", "你\U0001f600", "\xff")
	f.Fuzz(func(t *testing.T, content, title, url string) {
		for _, body := range []wechat.ReplyBody{
			wechat.TextReply{Content: content},
			wechat.VideoReply{MediaID: "M", Title: title, Description: content},
			wechat.NewsReply{Articles: []wechat.Article{{Title: title, Description: content, PicURL: "p", URL: url}}},
		} {
			for _, format := range []wechat.Format{wechat.XML, wechat.JSON} {
				encoded, err := wechat.EncodeReply(format, reply(body))
				if err != nil {
					require.Nil(t, encoded)
					continue
				}
				decoded, gotFormat, err := wechat.DecodeReply(encoded, wechat.Limits{Bytes: wechat.MaxBody})
				require.NoError(t, err)
				require.Equal(t, format, gotFormat)
				require.Equal(t, readable(body, format), readable(decoded.Body, 0))
				if format == wechat.XML {
					_, ok := stdlibTree(string(encoded))
					require.True(t, ok, "encoding/xml refuses it")
				} else {
					require.True(t, json.Valid(encoded))
				}
			}
		}
	})
}

// readable returns the texts of a reply as the format can hold them.
func readable(body wechat.ReplyBody, format wechat.Format) []string {
	var texts []string
	switch b := body.(type) {
	case wechat.TextReply:
		texts = []string{b.Content}
	case wechat.VideoReply:
		texts = []string{b.MediaID, b.Title, b.Description}
	case wechat.NewsReply:
		a := b.Articles[0]
		texts = []string{a.Title, a.Description, a.PicURL, strings.TrimSpace(dropControl(a.URL))}
	}
	for i, text := range texts {
		text = string([]rune(text)) // every byte that is no UTF-8 becomes U+FFFD
		if format == wechat.XML {
			text = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\ufffe", "", "\uffff", "").Replace(text)
		}
		texts[i] = dropControl(text)
	}
	return texts
}

// FuzzJSONAgainstStdlib: whatever encoding/json reads as an object is read the same here.
func FuzzJSONAgainstStdlib(f *testing.F) {
	addVectors(f)
	f.Add([]byte(`{"a":[1,[2,{"b":[]}],null,true],"a":"\ud83d\ude00\u0000\ud83d"," b ":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if !utf8.Valid(body) || hasControl(string(body)) || !json.Valid(body) || !strings.HasPrefix(strings.TrimLeft(string(body), " \t\r\n"), "{") {
			return
		}
		wrapped := `{"MsgType":"x","FromUserName":"o","body":` + string(body) + `}`
		p, err := wechat.Parse([]byte(wrapped), wechat.Limits{Bytes: wechat.MaxBody, Depth: 32, Elements: 1 << 14})
		if err != nil {
			require.True(t, isLimit(err), err)
			return
		}
		want := stdlibJSON(t, string(body))
		require.Equal(t, want, p.Tree().Child("body").Value())
	})
}

func isLimit(err error) bool {
	return errors.Is(err, wechat.ErrTooDeep) || errors.Is(err, wechat.ErrTooMany) || errors.Is(err, wechat.ErrTooLarge)
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' })
}

// stdlibJSON reads an object with encoding/json the way Tree.Value shows it.
func stdlibJSON(t *testing.T, text string) any {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	v := stdlibValue(t, d)
	_, err := d.Token()
	require.ErrorIs(t, err, io.EOF)
	return v
}

func stdlibValue(t *testing.T, d *json.Decoder) any {
	token, err := d.Token()
	require.NoError(t, err)
	switch v := token.(type) {
	case json.Delim:
		if v == '[' {
			list := []any{}
			for d.More() {
				list = append(list, stdlibValue(t, d))
			}
			_, _ = d.Token()
			return list
		}
		return stdlibObject(t, d)
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "true"
		}
		return "false"
	case string:
		return dropControl(v)
	default:
		return nil
	}
}

// stdlibObject joins the values of a name that comes twice into a list.
func stdlibObject(t *testing.T, d *json.Decoder) map[string]any {
	members := make(map[string]any)
	for d.More() {
		nameToken, err := d.Token()
		require.NoError(t, err)
		name := strings.Trim(dropControl(nameToken.(string)), " \t\r\n")
		value := stdlibValue(t, d)
		before, repeated := members[name]
		if !repeated {
			members[name] = value
			continue
		}
		list, isList := before.([]any)
		if !isList {
			list = []any{before}
		}
		if more, ok := value.([]any); ok {
			if len(more) == 0 {
				list = []any{} // an empty list starts over
			}
			members[name] = append(list, more...)
			continue
		}
		members[name] = append(list, value)
	}
	_, _ = d.Token()
	return members
}

func dropControl(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' {
			return -1
		}
		return r
	}, s)
}
