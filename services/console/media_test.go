package console_test

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	consolev1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/console/v1"

	"github.com/wxbus/wxbus/pkg/fault"
)

// film is larger than one piece of a stream, and every part of it is different.
var film = func() []byte {
	var b bytes.Buffer
	for n := 0; b.Len() < 700_000; n++ {
		b.WriteString(strconv.Itoa(n))
	}
	return b.Bytes()
}()

// kept are the files of shop, by id; a playable one has ".play" behind its id.
var kept = map[string]struct {
	kind    string
	content []byte
}{
	"film":       {"video/mp4", film},
	"voice":      {"audio/amr", []byte("#!AMR\n")},
	"voice.play": {"audio/mpeg", []byte("mp3")},
	"picture":    {"image/png", []byte("png")},
	"page":       {"text/html", []byte("<script>alert(1)</script>")},
	"drawing":    {"image/svg+xml", []byte("<svg onload=alert(1)>")},
	"paper":      {"application/pdf", []byte("%PDF")},
	"empty":      {"image/png", nil},
}

func (b *backend) GetMedia(in *agentroutingv1.GetMediaRequest, stream grpc.ServerStreamingServer[agentroutingv1.GetMediaResponse]) error {
	b.mu.Lock()
	md, _ := metadata.FromIncomingContext(stream.Context())
	b.acted = append(b.acted, md.Get("wxbus-actor")...)
	b.mu.Unlock()
	id := in.GetId()
	if in.GetPlayable() {
		id += ".play"
	}
	f, ok := kept[id]
	if !ok || in.GetAccount() != "shop" {
		return fault.New(fault.NotFound, "id: no such file")
	}
	if in.GetOffset() != 0 && in.GetOffset() >= int64(len(f.content)) {
		return fault.New(fault.Invalid, "offset: is behind the end of the file")
	}
	rest, out := f.content[in.GetOffset():], &agentroutingv1.GetMediaResponse{ContentType: f.kind, Size: int64(len(f.content))}
	for {
		out.Data = rest[:min(len(rest), 64<<10)]
		rest = rest[len(out.Data):]
		if err := stream.Send(out); err != nil || len(rest) == 0 {
			return err
		}
		out = &agentroutingv1.GetMediaResponse{}
	}
}

// file reads a file of shop with the headers of a player.
func (v *visitor) file(t testing.TB, id string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.url+"/api/media/shop/"+id, nil)
	require.NoError(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w, err := v.http.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Body.Close()) }()
	text, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	return answer{w.StatusCode, w.Header, string(text)}
}

func TestAPlayerReadsAFileFromAnyPlace(t *testing.T) {
	s := demoSite(t, busy)
	li := s.as("li")
	whole := li.file(t, "film")
	require.Equal(t, http.StatusOK, whole.status)
	require.Equal(t, string(film), whole.text)
	require.Equal(t, "bytes", whole.header.Get("Accept-Ranges"))
	require.Equal(t, strconv.Itoa(len(film)), whole.header.Get("Content-Length"))

	n := len(film)
	for span, want := range map[string][2]int{
		"bytes=0-":          {0, n},
		"bytes=0-1":         {0, 2}, // how Safari begins
		"bytes=300000-":     {300000, n},
		"bytes=65536-65536": {65536, 65537},
		"bytes=-10":         {n - 10, n},
	} {
		got := li.file(t, "film", "Range", span)
		require.Equal(t, http.StatusPartialContent, got.status, span)
		require.Equal(t, string(film[want[0]:want[1]]), got.text, span)
		require.Equal(t, "bytes "+strconv.Itoa(want[0])+"-"+strconv.Itoa(want[1]-1)+"/"+strconv.Itoa(n), got.header.Get("Content-Range"))
	}
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, li.file(t, "film", "Range", "bytes=99999999-").status)
	require.Equal(t, http.StatusPartialContent, li.file(t, "film", "Range", "bytes=5-", "If-Range", whole.header.Get("ETag")).status)
	require.Equal(t, http.StatusOK, li.file(t, "film", "Range", "bytes=5-", "If-Range", `"another"`).status)
	require.Empty(t, li.file(t, "empty").text)

	require.Equal(t, "audio/mpeg", li.file(t, "voice?playable=1").header.Get("Content-Type"))
	require.Contains(t, s.backend.actors(), "li", "the service is told who reads")
}

func TestAFileOfAFanIsNeverMoreThanAPictureASoundOrAFilm(t *testing.T) {
	s := demoSite(t, busy)
	li := s.as("li")
	for id, want := range map[string][2]string{
		"film":    {"video/mp4", "inline; filename=film.mp4"},
		"picture": {"image/png", "inline; filename=picture.png"},
		"voice":   {"audio/amr", "attachment; filename=voice.amr"},
		"paper":   {"application/pdf", "attachment; filename=paper.pdf"},
		"page":    {"application/octet-stream", "attachment; filename=page.bin"},
		"drawing": {"application/octet-stream", "attachment; filename=drawing.bin"},
	} {
		head := li.file(t, id).header
		require.Equal(t, want[0], head.Get("Content-Type"), id)
		require.Equal(t, want[1], head.Get("Content-Disposition"), id)
		require.Equal(t, "nosniff", head.Get("X-Content-Type-Options"))
		require.Equal(t, "default-src 'none'; sandbox", head.Get("Content-Security-Policy"))
		require.Equal(t, "same-origin", head.Get("Cross-Origin-Resource-Policy"))
		require.Equal(t, "private, no-store", head.Get("Cache-Control"))
	}
}

func TestFilesAreForThoseWhoMayReadConversations(t *testing.T) {
	s := demoSite(t, busy)
	admin := s.as("admin")
	all := []string{"*"}
	for name, test := range map[string]struct {
		who  *visitor
		want int
	}{
		"nobody":                   {s.visit(), http.StatusUnauthorized},
		"agent":                    {s.person(admin, "an-agent", all, consolev1.Role_ROLE_AGENT), http.StatusOK},
		"supervisor":               {s.person(admin, "a-supervisor", all, consolev1.Role_ROLE_SUPERVISOR), http.StatusOK},
		"operator":                 {s.person(admin, "an-operator", all, consolev1.Role_ROLE_OPERATOR), http.StatusForbidden},
		"agent of another account": {s.person(admin, "a-stranger", []string{"club"}, consolev1.Role_ROLE_AGENT), http.StatusNotFound},
		"key that reads the desk":  {s.key(admin, all, "desk:read"), http.StatusOK},
		"key that sends":           {s.key(admin, all, "messages:write"), http.StatusForbidden},
		"wrong key":                {s.visit("Authorization", "Bearer wrong"), http.StatusUnauthorized},
	} {
		got := test.who.file(t, "picture")
		require.Equal(t, test.want, got.status, name)
		if test.want != http.StatusOK {
			require.NotContains(t, got.text, "png", name)
			require.Equal(t, "no-store", got.header.Get("Cache-Control"), name)
		}
	}
	missing := s.as("li").file(t, "nothing")
	require.Equal(t, http.StatusNotFound, missing.status)
	require.Contains(t, missing.text, "no such file")
}
