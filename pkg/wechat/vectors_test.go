package wechat_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

const vectorsDir = "testdata/vectors"

// vector is one line of MANIFEST.tsv.
type vector struct {
	File, Kind, Format, Source, MsgType, Event, InfoType, ToUserName, FromUserName string
	CreateTime, MsgID, EventKey, Note, Expect                                      string
}

var unescapeTSV = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\r`, "\r")

func vectors(t testing.TB) []vector {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join(vectorsDir, "MANIFEST.tsv"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimRight(string(manifest), "\n"), "\n")[1:]
	list := make([]vector, 0, len(lines))
	for _, line := range lines {
		c := strings.Split(line, "\t")
		require.Len(t, c, 14, line)
		for i := range c {
			c[i] = unescapeTSV.Replace(c[i])
		}
		list = append(list, vector{c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11], c[12], c[13]})
	}
	return list
}

func readVector(t testing.TB, file string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(vectorsDir, file))
	require.NoError(t, err)
	return body
}

// TestVectors checks every line of the manifest, each kind in its own way.
func TestVectors(t *testing.T) {
	cases := encryptedCases(t)
	for _, v := range vectors(t) {
		t.Run(v.File, func(t *testing.T) {
			body := readVector(t, v.File)
			switch v.Kind {
			case "inbound", "synthetic", "thirdparty":
				checkPush(t, v, body)
			case "negative":
				checkNegative(t, v, body)
			case "reply":
				checkReply(t, v, body)
			case "encrypted-push", "encrypted-reply", "encrypted-echostr":
				checkEncrypted(t, v, body, cases)
			case "api":
				checkAPI(t, body)
			case "index":
				require.True(t, json.Valid(body))
			default:
				t.Fatalf("kind %q of the manifest is not checked", v.Kind)
			}
		})
	}
}

func TestEveryVectorFileIsListed(t *testing.T) {
	listed := map[string]bool{"MANIFEST.tsv": true, "SOURCE.md": true}
	for _, v := range vectors(t) {
		listed[v.File] = true
	}
	require.NoError(t, fs.WalkDir(os.DirFS(vectorsDir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			require.True(t, listed[path], path)
		}
		return err
	}))
}

// checkPush compares the common fields and every other field with the manifest.
func checkPush(t *testing.T, v vector, body []byte) {
	p, err := wechat.Parse(body, wechat.Limits{})
	require.NoError(t, err)
	require.Equal(t, v.Format, p.Format.String())
	require.Equal(t, normalized(v.MsgType), p.MsgType)
	require.Equal(t, normalized(v.InfoType), p.InfoType)
	require.Equal(t, strings.TrimSpace(v.FromUserName), p.FromUserName)
	require.Equal(t, strings.TrimSpace(v.MsgID), p.MsgID)
	if v.CreateTime != "" {
		require.Equal(t, v.CreateTime, strconv.FormatInt(p.CreateTime, 10))
	}
	if v.InfoType != "" {
		require.Equal(t, v.ToUserName, p.AppID)
	} else {
		require.Equal(t, strings.TrimSpace(v.ToUserName), p.ToUserName)
	}
	switch p.MsgType {
	case "event":
		require.Equal(t, normalized(v.Event), p.Event)
		require.Equal(t, strings.TrimSpace(v.EventKey), p.EventKey)
	case "device_event":
		require.Equal(t, normalized(v.Event), p.Event)
	default:
		require.Empty(t, p.Event, "MsgType decides")
		require.Equal(t, v.Event, p.Tree().Child("Event").Text())
		require.Equal(t, v.EventKey, p.Tree().Child("EventKey").Text())
	}
	require.Equal(t, decodeJSON(t, v.Expect), remaining(p))
	checkKnown(t, v, p)
}

func normalized(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// checkKnown: the manifest has four pushes that no page documents.
func checkKnown(t *testing.T, v vector, p *wechat.Push) {
	unknown := strings.Contains(v.Note, "unknown MsgType") || strings.Contains(v.Note, "unknown Event") ||
		strings.Contains(v.Note, "unknown event")
	require.Equal(t, !unknown, p.Known)
	if unknown {
		require.False(t, p.AcceptsPassive(false))
	}
	require.Equal(t, strings.Contains(v.Note, "config probe"), p.Probe)
}

// remaining returns the fields of the body that the manifest has no column for, verbatim.
func remaining(p *wechat.Push) any {
	fields := p.Tree().Value().(map[string]any)
	for _, name := range []string{"ToUserName", "FromUserName", "CreateTime", "MsgType", "Event", "EventKey", "MsgId", "InfoType"} {
		delete(fields, name)
	}
	return fields
}

func decodeJSON(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v))
	return v
}

// checkNegative: what must be rejected is, what may be repaired is.
func checkNegative(t *testing.T, v vector, body []byte) {
	p, err := wechat.Parse(body, wechat.Limits{})
	switch filepath.Base(v.File) {
	case "invalid_utf8.xml":
		require.NoError(t, err)
		require.Equal(t, wechat.Text{Content: "\ufffd\ufffd"}, p.Payload())
	case "control_char.xml":
		require.NoError(t, err)
		require.Equal(t, wechat.Text{Content: "ab"}, p.Payload())
	case "no_fromuser.json":
		require.ErrorIs(t, err, wechat.ErrNoSender)
	default:
		require.Contains(t, v.Expect, "reject")
		require.Error(t, err)
		require.Nil(t, p)
	}
}

// checkReply reads a reply of another SDK, writes it in both formats and reads it again.
func checkReply(t *testing.T, v vector, body []byte) {
	r, format, err := wechat.DecodeReply(body, wechat.Limits{})
	require.NoError(t, err)
	require.Equal(t, wechat.XML, format)
	require.Equal(t, v.ToUserName, r.ToUserName)
	require.Equal(t, v.FromUserName, r.FromUserName)
	require.Equal(t, v.CreateTime, strconv.FormatInt(r.CreateTime, 10))
	require.Equal(t, v.MsgType, r.Body.MsgType())
	for _, format := range []wechat.Format{wechat.XML, wechat.JSON} {
		written, err := wechat.AppendReply(nil, format, r, wechat.ReplyLimits{Articles: 8})
		require.NoError(t, err)
		again, gotFormat, err := wechat.DecodeReply(written, wechat.Limits{})
		require.NoError(t, err)
		require.Equal(t, format, gotFormat)
		require.Equal(t, r, again)
		if format == wechat.XML && !strings.HasPrefix(filepath.Base(v.File), "werobot_335") {
			requireSameFields(t, body, written)
		}
	}
}

// requireSameFields compares two XML documents without regard to the order of their elements.
func requireSameFields(t *testing.T, want, got []byte) {
	t.Helper()
	w, err := wechat.Parse(want, wechat.Limits{})
	require.NoError(t, err)
	g, err := wechat.Parse(got, wechat.Limits{})
	require.NoError(t, err)
	require.Equal(t, w.Tree().Value(), g.Tree().Value())
}

func checkAPI(t *testing.T, body []byte) {
	require.True(t, json.Valid(bytes.TrimSpace(body)))
	_, err := answering(t, 200, string(body)).Call(t.Context(), wechat.Request{Path: "/cgi-bin/any"})
	require.NoError(t, err, "no errcode, or errcode 0, is success")
}
