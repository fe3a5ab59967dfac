package api_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMediaLive3Days(t *testing.T) {
	w := newWorld(t)
	png := []byte("\x89PNG\r\n\x1a\n and more")
	up := w.upload(w.token("wxshop"), "image", png)
	id, _ := up["media_id"].(string)
	require.NotEmpty(t, id)
	require.EqualValues(t, start.Unix(), up["created_at"])
	_, data := w.do(http.MethodGet, "/cgi-bin/media/get", query("access_token", w.token("wxshop"), "media_id", id), nil, "")
	require.Equal(t, png, data)
	w.says("shop")
	image := `{"touser":"oFan1","msgtype":"image","image":{"media_id":"` + id + `"}}`
	require.Zero(t, w.post("/cgi-bin/message/custom/send", w.token("wxshop"), image).code())
	w.clock.Advance(72 * time.Hour)
	w.says("shop")
	require.Equal(t, 40007, w.post("/cgi-bin/message/custom/send", w.token("wxshop"), image).code())

	require.Equal(t, 40004, w.upload(w.token("wxshop"), "hologram", png).code())
	require.Equal(t, 40006, w.upload(w.token("wxshop"), "thumb", bytes.Repeat([]byte{1}, 65<<10)).code())
	require.Equal(t, 44001, w.upload(w.token("wxshop"), "image", nil).code())
	require.Equal(t, 40004, w.upload(w.token("wxmini"), "voice", png).code(), "Mini Programs upload images only")
}

func TestUploadsNeedAFile(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, 41005, w.post("/cgi-bin/media/uploadimg", w.token("wxshop"), "no multipart").code())
}

func TestDemoMediaCanBeFetched(t *testing.T) {
	w := newWorld(t)
	id, address := w.api.DemoMedia("shop", "image")
	again, _ := w.api.DemoMedia("shop", "image")
	require.Equal(t, id, again)
	require.Equal(t, "http://sim/sim/v1/media/"+id, address)
	m, ok := w.api.Media(id)
	require.True(t, ok)
	require.Equal(t, "image/png", m.ContentType)
	id, _, err := w.api.AddMedia("shop", "image", []byte("<script>alert(1)</script>"))
	require.NoError(t, err)
	m, _ = w.api.Media(id)
	require.Equal(t, "application/octet-stream", m.ContentType, "no type that a browser would run")
}
