package platform

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

const (
	// videoTimeout bounds the download of a video.
	videoTimeout = time.Minute
	// maxVideo bounds a video in bytes; other files are bounded by the client.
	maxVideo = 64 << 20
)

var errElsewhere = errors.New("the address is not one of WeChat's")

// Video downloads a video from the address that WeChat gave. It comes from outside, so it must be one of WeChat's, or on the host
// that is configured as the account's API: there a test system keeps its videos.
func (p *Platform) Video(ctx context.Context, name, address string) ([]byte, string, error) {
	u, err := url.Parse(address)
	if err != nil || !p.keepsVideos(name, u) {
		return nil, "", fault.Errorf(fault.Permanent, "fetch video: %w", errElsewhere)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, "", fault.New(fault.Permanent, "fetch video: the address is not valid")
	}
	resp, err := p.videos.Do(req)
	switch {
	case errors.Is(err, errElsewhere):
		return nil, "", fault.New(fault.Permanent, "fetch video: WeChat sends us to another host")
	case err != nil:
		return nil, "", fault.New(fault.Unavailable, "fetch video: no answer") // the error names the address, which holds a key
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, "", fault.Errorf(fault.Unavailable, "fetch video: status %d", resp.StatusCode)
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxVideo+1))
	if err != nil {
		return nil, "", fault.Errorf(fault.Unavailable, "fetch video: %w", err)
	}
	if len(content) > maxVideo {
		return nil, "", fault.Errorf(fault.Permanent, "fetch video: larger than %d bytes", maxVideo)
	}
	return content, resp.Header.Get("Content-Type"), nil
}

func (p *Platform) keepsVideos(name string, u *url.URL) bool {
	if isWeChats(u) {
		return true
	}
	a, ok := p.accounts.Get(name)
	if !ok {
		return false
	}
	api, err := url.Parse(a.APIBase)
	return err == nil && u.Host != "" && u.Scheme == api.Scheme && u.Host == api.Host
}

func isWeChats(u *url.URL) bool {
	host := u.Hostname()
	return (u.Scheme == "http" || u.Scheme == "https") && (strings.HasSuffix(host, ".qq.com") || strings.HasSuffix(host, ".qpic.cn"))
}

// maxRedirects bounds the hosts that pass a download on.
const maxRedirects = 5

// stay follows WeChat's hosts to each other, and any other host only to itself.
func stay(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if len(via) > maxRedirects || (!isWeChats(req.URL) && (req.URL.Scheme != first.Scheme || req.URL.Host != first.Host)) {
		return errElsewhere
	}
	return nil
}
