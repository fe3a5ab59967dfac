package api

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wxbus/wxbus/services/simulator/internal/clock"
)

const (
	mediaLife     = 72 * time.Hour
	keepMedia     = 500
	keepMediaSize = 64 << 20 // per account
)

// mediaLimits are the sizes by type (g.4).
var mediaLimits = map[string]int{"image": 10 << 20, "voice": 2 << 20, "video": 10 << 20, "thumb": 64 << 10}

// Medium is an uploaded file.
type Medium struct {
	ID          string
	Type        string
	ContentType string
	Data        []byte
	Expires     time.Time // zero: never, for pictures of articles
}

// mediaStore keeps the media of one account, bounded by number and size.
type mediaStore struct {
	byID  map[string]*Medium
	order []string
	size  int
	next  uint64
	demo  map[string]string // type -> id
}

func newMediaStore() mediaStore {
	return mediaStore{byID: map[string]*Medium{}, demo: map[string]string{}}
}

// get returns a medium that has not expired, or nil.
func (m *mediaStore) get(id string, now time.Time) *Medium {
	x := m.byID[id]
	if x == nil || (!x.Expires.IsZero() && !now.Before(x.Expires)) {
		return nil
	}
	return x
}

func (m *mediaStore) add(d clock.Dice, account int, typ string, data []byte, expires time.Time) *Medium {
	m.next++
	x := &Medium{ID: d.Text(64, "media", uint64(account), m.next, uint64(expires.Unix())), Type: typ, ContentType: safeType(data), Data: data, Expires: expires}
	m.byID[x.ID] = x
	m.order = append(m.order, x.ID)
	m.size += len(data)
	for len(m.order) > keepMedia || (m.size > keepMediaSize && len(m.order) > 1) {
		m.size -= len(m.byID[m.order[0]].Data)
		delete(m.byID, m.order[0])
		m.order = slices.Delete(m.order, 0, 1)
	}
	return x
}

// safeType is the content type of a file as far as a browser may be told.
func safeType(data []byte) string {
	t := http.DetectContentType(data)
	for _, safe := range []string{"image/png", "image/jpeg", "image/gif", "image/webp", "audio/mpeg", "audio/wave", "video/mp4"} {
		if t == safe {
			return t
		}
	}
	return "application/octet-stream"
}

// upload is POST /cgi-bin/media/upload.
func upload(c *call) (any, error) {
	typ := c.query.Get("type")
	limit, ok := mediaLimits[typ]
	if !ok || (c.st.IsMiniProgram() && typ != "image") {
		return nil, code(40004)
	}
	data, err := c.file()
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, code(40006)
	}
	x := c.st.media.add(c.deps.Dice, c.st.index, typ, data, c.now.Add(mediaLife))
	if typ == "thumb" {
		return object{"type": typ, "thumb_media_id": x.ID, "created_at": c.now.Unix()}, nil
	}
	return object{"type": typ, "media_id": x.ID, "created_at": c.now.Unix()}, nil
}

// file returns the multipart field "media".
func (c *call) file() ([]byte, error) {
	kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil, code(41005)
	}
	parts := multipart.NewReader(bytes.NewReader(c.body), params["boundary"])
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) || err != nil {
			return nil, code(41005)
		}
		if p.FormName() != "media" {
			continue
		}
		if p.FileName() == "" {
			return nil, code(41005)
		}
		data, err := io.ReadAll(p)
		if err != nil || len(data) == 0 {
			return nil, code(44001)
		}
		return data, nil
	}
}

// getMedia is GET /cgi-bin/media/get: bytes, or JSON with a URL for videos.
func getMedia(c *call) (any, error) {
	id := c.query.Get("media_id")
	if id == "" {
		return nil, code(41006)
	}
	x := c.st.media.get(id, c.now)
	switch {
	case x == nil:
		return nil, code(40007)
	case x.Type == "video":
		return object{"video_url": c.mediaURL(x)}, nil
	}
	return raw{contentType: x.ContentType, disposition: `attachment; filename="` + x.ID[:16] + `"`, body: x.Data}, nil
}

// uploadImage is POST /cgi-bin/media/uploadimg: a picture for articles, which does not expire.
func uploadImage(c *call) (any, error) {
	data, err := c.file()
	if err != nil {
		return nil, err
	}
	if t := safeType(data); t != "image/png" && t != "image/jpeg" {
		return nil, code(40005)
	}
	if len(data) > 1<<20 {
		return nil, code(40006)
	}
	x := c.st.media.add(c.deps.Dice, c.st.index, "image", data, time.Time{})
	return object{"url": c.mediaURL(x)}, nil
}

func (s *Server) mediaURL(x *Medium) string {
	return strings.TrimSuffix(s.cfg.PublicURL, "/") + "/sim/v1/media/" + x.ID
}

// Media returns a medium of any account that has not expired.
func (s *Server) Media(id string) (Medium, bool) {
	now := s.deps.Clock.Now()
	for _, st := range s.accounts {
		st.mu.Lock()
		x := st.media.get(id, now)
		st.mu.Unlock()
		if x != nil {
			return *x, true
		}
	}
	return Medium{}, false
}

// AddMedia stores a file that a fan sends and returns its id and URL. It fails with 40004 and 40006 as an upload does.
func (s *Server) AddMedia(name, typ string, data []byte) (id, url string, err error) {
	st := s.byName[name]
	if st == nil {
		return "", "", code(40013)
	}
	if limit, ok := mediaLimits[typ]; !ok {
		return "", "", code(40004)
	} else if len(data) == 0 || len(data) > limit {
		return "", "", code(40006)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	x := st.media.add(s.deps.Dice, st.index, typ, data, s.deps.Clock.Now().Add(mediaLife))
	return x.ID, s.mediaURL(x), nil
}

// DemoMedia returns a medium for pushes that name none: a small picture, or bytes that stand for sound and film.
func (s *Server) DemoMedia(name, typ string) (id, url string) {
	st := s.byName[name]
	if st == nil {
		return "", ""
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	now := s.deps.Clock.Now()
	x := st.media.get(st.media.demo[typ], now)
	if x == nil {
		data := []byte("demo " + typ)
		if typ == "image" {
			data = demoPicture(s.deps.Dice, uint64(st.index))
		}
		x = st.media.add(s.deps.Dice, st.index, typ, data, now.Add(mediaLife))
		st.media.demo[typ] = x.ID
	}
	return x.ID, s.mediaURL(x)
}

// demoPicture draws a small pattern of quarter discs in two quiet colours.
func demoPicture(d clock.Dice, n uint64) []byte {
	const size, tiles = 120, 4
	hue := d.Uint64("picture", n)
	ink := color.NRGBA{R: 0x20 + uint8(hue%0x60), G: 0x60 + uint8(hue>>8%0x40), B: 0x50 + uint8(hue>>16%0x60), A: 0xff}
	img := image.NewNRGBA(image.Rect(0, 0, size, size))
	const tile = size / tiles
	for y := range size {
		for x := range size {
			corner := binary.BigEndian.Uint16([]byte{0, byte(hue >> (8 * (uint64(x/tile+tiles*(y/tile)) % 8)))}) % 4
			dx, dy := x%tile, y%tile
			if corner&1 == 1 {
				dx = tile - 1 - dx
			}
			if corner&2 == 2 {
				dy = tile - 1 - dy
			}
			img.SetNRGBA(x, y, color.NRGBA{R: 0xe3, G: 0xf1, B: 0xe9, A: 0xff})
			if dx*dx+dy*dy < tile*tile {
				img.SetNRGBA(x, y, ink)
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil // an in-memory picture of a fixed size always encodes
	}
	return b.Bytes()
}

func mediaRoutes(m map[string]endpoint) {
	m["/cgi-bin/media/upload"] = endpoint{method: http.MethodPost, run: upload}
	m["/cgi-bin/media/get"] = endpoint{method: http.MethodGet, run: getMedia}
	m["/cgi-bin/media/uploadimg"] = endpoint{method: http.MethodPost, run: uploadImage}
}
