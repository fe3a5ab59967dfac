package control

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"regexp"

	"github.com/wxbus/wxbus/services/simulator/internal/api"
	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

type accountView struct {
	Name       string          `json:"name"`
	OriginalID string          `json:"original_id"`
	Kind       string          `json:"kind"`
	Format     string          `json:"format"`
	Mode       string          `json:"mode"`
	KfAPI      bool            `json:"kf_api"`
	Menu       json.RawMessage `json:"menu,omitempty"`
	Tokens     api.TokenState  `json:"tokens"`
	Fans       int             `json:"fans"`
}

func (s *Server) accounts(*http.Request) (any, error) {
	out := []accountView{}
	for _, name := range s.Ledger.Accounts() {
		a, _ := s.Ledger.Account(name)
		out = append(out, accountView{Name: name, OriginalID: a.OriginalID, Kind: a.Kind, Format: a.Format, Mode: a.Mode, KfAPI: a.KfAPI,
			Menu: s.API.Menu(name), Tokens: s.API.Tokens(name), Fans: len(s.Ledger.Fans(name))})
	}
	return out, nil
}

// invalidate plays another system that refreshes the tokens.
func (s *Server) invalidate(r *http.Request) (any, error) {
	name, err := s.account(r)
	if err != nil {
		return nil, err
	}
	body := struct {
		ErrCode int `json:"errcode"`
	}{ErrCode: 40001}
	if err := decode(r, maxBody, &body); err != nil && r.ContentLength != 0 {
		return nil, err
	}
	switch body.ErrCode {
	case 40001, 40014, 42001:
	default:
		return nil, problem{http.StatusBadRequest, "errcode: must be 40001, 40014 or 42001"}
	}
	s.API.Invalidate(name, body.ErrCode)
	return done{true}, nil
}

// verify makes the URL verification on every replica.
func (s *Server) verify(r *http.Request) (any, error) {
	name, err := s.account(r)
	if err != nil {
		return nil, err
	}
	if err := s.Pusher.Verify(r.Context(), name); err != nil {
		return nil, problem{http.StatusBadGateway, err.Error()}
	}
	return done{true}, nil
}

// keys plays the console in which somebody enters another Token or EncodingAESKey.
func (s *Server) keys(r *http.Request) (any, error) {
	name, err := s.account(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		Token          string `json:"token"`
		EncodingAESKey string `json:"encoding_aes_key"`
	}
	if err := decode(r, maxBody, &body); err != nil {
		return nil, err
	}
	if err := s.Pusher.SetKeys(name, body.Token, body.EncodingAESKey); err != nil {
		return nil, badRequest(err)
	}
	return done{true}, nil
}

func (s *Server) limit(r *http.Request) (any, error) {
	name, err := s.account(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		Path string `json:"path"`
		api.Limit
	}
	if err := decode(r, maxBody, &body); err != nil {
		return nil, err
	}
	if !s.API.SetLimit(name, body.Path, body.Limit) {
		return nil, problem{http.StatusBadRequest, "path: is no API path"}
	}
	return done{true}, nil
}

// addMedia stores a file that a fan is going to send; the body is the file, ?type= its type.
func (s *Server) addMedia(r *http.Request) (any, error) {
	name, err := s.account(r)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 10<<20))
	if err != nil {
		return nil, problem{http.StatusRequestEntityTooLarge, "the file is too large"}
	}
	id, url, err := s.API.AddMedia(name, r.URL.Query().Get("type"), data)
	if err != nil {
		return nil, badRequest(err)
	}
	return map[string]string{"media_id": id, "url": url}, nil
}

// native plays an agent of WeChat's own customer service.
func (s *Server) native(r *http.Request) (any, error) {
	name, err := s.account(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		Do        string `json:"do"`
		OpenID    string `json:"openid"`
		KfAccount string `json:"kf_account"`
		Text      string `json:"text"`
	}
	if err := decode(r, maxBody, &body); err != nil {
		return nil, err
	}
	code := 0
	switch body.Do {
	case "accept":
		code = s.API.AcceptSession(name, body.OpenID, body.KfAccount)
	case "close":
		code = s.API.CloseSession(name, body.OpenID, body.KfAccount)
	case "say":
		if !s.Ledger.SayNative(name, body.OpenID, textContent(body.Text)) {
			code = 65413
		}
	case "online", "offline":
		if !s.API.SetOnline(name, body.KfAccount, body.Do == "online") {
			code = 65401
		}
	default:
		return nil, problem{http.StatusBadRequest, "do: must be accept, say, close, online or offline"}
	}
	return map[string]int{"errcode": code}, nil
}

type fanView struct {
	Name string `json:"name"`
	ledger.FanView
}

const listedFans = 200

// fans lists the first fans of an account; a load run makes more of them than a page can show.
func (s *Server) fans(r *http.Request) (any, error) {
	name, err := s.account(r)
	if err != nil {
		return nil, err
	}
	all := s.Ledger.Fans(name)
	out := make([]fanView, 0, min(len(all), listedFans))
	for _, f := range all[:min(len(all), listedFans)] {
		out = append(out, fanView{FanName(name, f.OpenID), f})
	}
	return map[string]any{"total": len(all), "fans": out}, nil
}

var openIDText = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (s *Server) addFan(r *http.Request) (any, error) {
	name, err := s.account(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		OpenID    string `json:"openid"`
		Following bool   `json:"following"`
	}
	if err := decode(r, maxBody, &body); err != nil {
		return nil, err
	}
	if body.OpenID == "" {
		body.OpenID = "oSim" + s.Dice.Text(24, "fan "+name, uint64(len(s.Ledger.Fans(name))), uint64(s.Clock.Now().UnixNano()))
	}
	if !openIDText.MatchString(body.OpenID) {
		return nil, problem{http.StatusBadRequest, "openid: must have 1 to 64 characters of A-Z a-z 0-9 _ -"}
	}
	if err := s.Ledger.AddFan(name, body.OpenID, body.Following); err != nil {
		return nil, badRequest(err)
	}
	f, _ := s.Ledger.Fan(name, body.OpenID)
	return fanView{FanName(name, body.OpenID), f}, nil
}

func (s *Server) fan(r *http.Request) (any, error) {
	name, err := s.account(r)
	if err != nil {
		return nil, err
	}
	f, ok := s.Ledger.Fan(name, r.PathValue("openid"))
	if !ok {
		return nil, errNotFound
	}
	return fanView{FanName(name, f.OpenID), f}, nil
}

const (
	maxConsents = 100 // templates, and sends of each
	maxFanTags  = 20
)

// editFan sets what a fan agreed to be sent and how the account has tagged the fan, without the dialogues and calls that
// do it at WeChat. What the body leaves out stays as it is.
func (s *Server) editFan(r *http.Request) (any, error) {
	name, err := s.account(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		Consents map[string]int `json:"consents"`
		Tags     *[]int         `json:"tags"`
	}
	if err := decode(r, maxBody, &body); err != nil {
		return nil, err
	}
	if len(body.Consents) > maxConsents || (body.Tags != nil && len(*body.Tags) > maxFanTags) {
		return nil, problem{http.StatusBadRequest, "consents, tags: at most 100 templates and 20 tags"}
	}
	for template, n := range body.Consents {
		if template == "" || n < 0 || n > maxConsents {
			return nil, problem{http.StatusBadRequest, "consents: must be 0 to 100 sends by template"}
		}
	}
	err = s.Ledger.EditFan(name, r.PathValue("openid"), func(f *ledger.FanEdit) {
		maps.Copy(f.Consents, body.Consents)
		if body.Tags == nil {
			return
		}
		clear(f.Tags)
		for _, tag := range *body.Tags {
			f.Tags[tag] = true
		}
	})
	if errors.Is(err, ledger.ErrUnknownFan) {
		return nil, errNotFound
	}
	return s.fan(r)
}
