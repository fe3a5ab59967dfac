package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/wxbus/wxbus/services/simulator/internal/codec"
)

const jsonType = "application/json; encoding=utf-8"

// object is a JSON answer.
type object map[string]any

// withCode is an answer that carries fields besides an errcode.
type withCode struct {
	code   int
	fields object
}

var done = object{"errcode": 0, "errmsg": "ok"}

// code returns the refusal of an errcode, nil for 0.
func code(n int) error {
	if n == 0 {
		return nil
	}
	return &codec.RefusedError{Code: n}
}

// refusal is the answer of an error. Every errmsg carries a rid.
func (c *call) refusal(err error) answer {
	r := &codec.RefusedError{Code: -1}
	errors.As(err, &r)
	text := r.Detail
	if text == "" {
		text = errorText(r.Code)
	}
	body := encode(object{"errcode": r.Code, "errmsg": text + " rid: " + c.rid()})
	return answer{status: http.StatusOK, contentType: jsonType, body: body, errCode: r.Code}
}

// rid is the id that WeChat gives to a refused call.
func (c *call) rid() string {
	n, index := uint64(0), uint64(0)
	if c.st != nil {
		c.st.calls++
		n, index = c.st.calls, uint64(c.st.index)
	}
	b := c.deps.Dice.Bytes("rid", index, n)
	return fmt.Sprintf("%08x-%x-%x", uint32(c.now.Unix()), b[:4], b[4:8])
}

// encode writes JSON as WeChat does: CJK and <>& as they are.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return []byte(`{"errcode":-1,"errmsg":"system error"}`)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func (s *Server) write(w http.ResponseWriter, a answer) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	if a.disposition != "" {
		h.Set("Content-Disposition", a.disposition)
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that left sees nothing, and there is nobody else to tell
}

// decode reads the JSON body of a call.
func (c *call) decode(v any) error {
	if json.Unmarshal(c.body, v) != nil {
		return code(47001)
	}
	return nil
}

// errorText is the text of an errcode (i).
func errorText(n int) string {
	if t, ok := errorTexts[n]; ok {
		return t
	}
	return "error"
}

var errorTexts = map[int]string{
	-1: "system error", 40001: "invalid credential, access_token is invalid or not latest", 40002: "invalid grant_type", 40003: "invalid openid",
	40004: "invalid media type", 40005: "invalid file type", 40006: "invalid meida size", 40007: "invalid media_id", 40008: "invalid message type",
	40013: "invalid appid", 40014: "invalid access_token", 40015: "invalid menu type", 40016: "invalid button size", 40017: "invalid button type",
	40018: "invalid button name size", 40019: "invalid button key size", 40020: "invalid button url size", 40023: "invalid sub button size",
	40025: "invalid sub button name size", 40029: "invalid code", 40030: "invalid refresh_token", 40032: "invalid openid list size",
	40033: "invalid charset. please check your request, if include \\uxxxx will create fail!", 40037: "invalid template_id", 40038: "invalid openid list",
	40097: "invalid args", 40125: "invalid appsecret", 40130: "invalid openid list size, at least two openid", 40163: "code been used",
	40164: "invalid ip, not in whitelist", 40201: "invalid url", 40202: "invalid action", 40203: "invalid check_operator",
	41001: "access_token missing", 41002: "appid missing", 41003: "refresh_token missing", 41004: "appsecret missing", 41005: "media data missing",
	41006: "media_id missing", 41008: "missing code", 42001: "access_token expired", 43001: "require GET method", 43002: "require POST method",
	43004: "require subscribe", 43101: "user refuse to accept the msg", 44001: "empty media data", 44002: "empty post data", 44003: "empty news data",
	44004: "empty content", 45001: "media size out of limit", 45002: "content size out of limit", 45008: "article size out of limit",
	45009: "reach max api daily quota limit", 45011: "api minute-quota reach limit, must slower, retry next minute",
	45015: "response out of time limit or subscription is canceled", 45028: "has no masssend quota", 45047: "out of response count limit",
	45056: "too many tag now, no need to add new", 45058: "can't modify sys tag", 45059: "can not add more tag to a user",
	45065: "clientmsgid exist", 45066: "same clientmsgid retry too fast", 45067: "clientmsgid size out of limit", 45072: "invalid command",
	45080: "no permission to send typing", 45081: "already in typing state", 45083: "speed not in 0-4", 45084: "speed missing",
	45098: "menu item size out of limit", 45099: "menu item content size out of limit", 45157: "invalid tag name", 45158: "tag name too long",
	45159: "invalid tag id", 46001: "media data no exist", 46003: "menu no exist", 46004: "user no exist", 47001: "data format error",
	47003: "argument invalid", 48001: "api unauthorized", 48006: "forbid to clear quota because of reaching the limit",
	65400: "please enable new custom service, or wait for a while if you have enabled", 65401: "invalid custom service account",
	65403: "invalid nickname", 65404: "illegal custom service account", 65405: "custom service account number has reached limit",
	65406: "custom service account exists", 65413: "user not in any session", 65414: "user is in session with other kf", 65415: "kf is not online",
	76021: "cgi_path not found", 76022: "no permission to use this cgi_path",
}
