package api

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

const (
	codeLife  = 5 * time.Minute
	keepCodes = 10_000
)

// useCode checks the credentials of a log-in call and uses up its code. The code of the simulator is
// "code-" + openid, with anything after a "." to make further ones (g.7).
func (c *call) useCode(parameter, grant string) (openID string, err error) {
	q := c.query
	switch {
	case c.st == nil:
		return "", code(40013)
	case q.Get("secret") != c.st.AppSecret:
		return "", code(40125)
	case q.Get("grant_type") != grant:
		return "", code(40002)
	}
	text, ok := strings.CutPrefix(q.Get(parameter), "code-")
	if !ok || text == "" {
		return "", code(40029)
	}
	if _, used := c.st.codes[text]; used {
		return "", code(40163)
	}
	if len(c.st.codes) >= keepCodes {
		for k, at := range c.st.codes {
			if c.now.Sub(at) > codeLife {
				delete(c.st.codes, k)
			}
		}
	}
	if len(c.st.codes) >= keepCodes {
		return "", code(-1)
	}
	c.st.codes[text] = c.now
	openID, _, _ = strings.Cut(text, ".")
	return openID, nil
}

func jscodeToSession(c *call) (any, error) {
	openID, err := c.useCode("js_code", "authorization_code")
	if err != nil {
		return nil, err
	}
	key := c.deps.Dice.Bytes("session_key "+openID, uint64(c.st.index))
	return object{"openid": openID, "session_key": base64.StdEncoding.EncodeToString(key[:16]), "unionid": c.unionID(openID)}, nil
}

func oauthToken(c *call) (any, error) {
	openID, err := c.useCode("code", "authorization_code")
	if err != nil {
		return nil, err
	}
	return c.oauthAnswer(openID), nil
}

func (c *call) oauthAnswer(openID string) object {
	return object{"access_token": "oauth-" + openID, "expires_in": 7200, "refresh_token": "refresh-" + openID, "openid": openID,
		"scope": "snsapi_userinfo", "unionid": c.unionID(openID)}
}

func oauthRefresh(c *call) (any, error) {
	openID, ok := strings.CutPrefix(c.query.Get("refresh_token"), "refresh-")
	switch {
	case c.st == nil:
		return nil, code(40013)
	case !ok:
		return nil, code(40030)
	}
	return c.oauthAnswer(openID), nil
}

func snsUserInfo(c *call) (any, error) {
	openID := c.query.Get("openid")
	if c.query.Get("access_token") != "oauth-"+openID {
		return nil, code(40001)
	}
	return object{"openid": openID, "nickname": "微信用户", "sex": 0, "headimgurl": "", "privilege": []string{}, "unionid": c.unionID(openID)}, nil
}

func snsAuth(c *call) (any, error) {
	if c.query.Get("access_token") != "oauth-"+c.query.Get("openid") {
		return nil, code(40001)
	}
	return done, nil
}

func snsRoutes(m map[string]endpoint) {
	m["/sns/jscode2session"] = endpoint{method: http.MethodGet, open: true, run: jscodeToSession}
	m["/sns/oauth2/access_token"] = endpoint{method: http.MethodGet, open: true, run: oauthToken}
	m["/sns/oauth2/refresh_token"] = endpoint{method: http.MethodGet, open: true, run: oauthRefresh}
	m["/sns/userinfo"] = endpoint{method: http.MethodGet, open: true, run: snsUserInfo}
	m["/sns/auth"] = endpoint{method: http.MethodGet, open: true, run: snsAuth}
}
