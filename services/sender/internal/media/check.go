package media

import (
	"bytes"
	"path"
	"strings"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
)

// words are the types as WeChat writes them.
var words = map[senderv1.MediaType]string{
	senderv1.MediaType_MEDIA_TYPE_IMAGE: "image",
	senderv1.MediaType_MEDIA_TYPE_VOICE: "voice",
	senderv1.MediaType_MEDIA_TYPE_VIDEO: "video",
	senderv1.MediaType_MEDIA_TYPE_THUMB: "thumb",
}

// format is what the first bytes of a file say.
type format struct {
	name, extension, contentType string
	is                           func(content []byte) bool
}

func starts(magic string) func([]byte) bool {
	return func(content []byte) bool { return bytes.HasPrefix(content, []byte(magic)) }
}

var (
	jpg = format{"JPG", ".jpg", "image/jpeg", starts("\xff\xd8\xff")}
	png = format{"PNG", ".png", "image/png", starts("\x89PNG\r\n\x1a\n")}
	gif = format{"GIF", ".gif", "image/gif", starts("GIF8")}
	bmp = format{"BMP", ".bmp", "image/bmp", starts("BM")}
	amr = format{"AMR", ".amr", "audio/amr", starts("#!AMR")}
	mp3 = format{"MP3", ".mp3", "audio/mpeg", func(content []byte) bool {
		return starts("ID3")(content) || (len(content) > 1 && content[0] == 0xff && content[1]&0xe0 == 0xe0)
	}}
	mp4 = format{"MP4", ".mp4", "video/mp4", func(content []byte) bool {
		return len(content) > 8 && string(content[4:8]) == "ftyp"
	}}
)

// limits are WeChat's sizes and formats by type (protocol g.4).
var limits = map[senderv1.MediaType]struct {
	most    int
	formats []format
}{
	senderv1.MediaType_MEDIA_TYPE_IMAGE: {10 << 20, []format{jpg, png, gif, bmp}},
	senderv1.MediaType_MEDIA_TYPE_VOICE: {2 << 20, []format{amr, mp3}},
	senderv1.MediaType_MEDIA_TYPE_VIDEO: {10 << 20, []format{mp4}},
	senderv1.MediaType_MEDIA_TYPE_THUMB: {64 << 10, []format{jpg}},
}

// check refuses what WeChat would refuse, with a text that says why.
func check(kind account.Kind, f File) (format, error) {
	limit, ok := limits[f.Type]
	if !ok {
		return format{}, fault.New(fault.Invalid, "type: must be image, voice, video or thumb")
	}
	if kind == account.KindMiniProgram && f.Type != senderv1.MediaType_MEDIA_TYPE_IMAGE {
		return format{}, fault.New(fault.Invalid, "type: a Mini Program has images only")
	}
	if len(f.Name) > 255 {
		return format{}, fault.New(fault.Invalid, "filename: at most 255 bytes")
	}
	if n := len(f.Content); n == 0 || n > limit.most {
		return format{}, fault.Errorf(fault.Invalid, "content: a file of type %s has 1 to %d bytes, this has %d", words[f.Type], limit.most, n)
	}
	var names []string
	for _, format := range limit.formats {
		if format.is(f.Content) {
			return format, nil
		}
		names = append(names, format.name)
	}
	return format{}, fault.Errorf(fault.Invalid, "content: a file of type %s is %s, this is something else", words[f.Type], strings.Join(names, ", "))
}

// nameFor gives the file the ending of its format: WeChat tells the format from it.
func nameFor(name string, f format) string {
	base := strings.TrimSuffix(path.Base(strings.ReplaceAll(name, `\`, "/")), path.Ext(name))
	if base == "" || base == "." || base == "/" {
		base = "file"
	}
	return base + f.extension
}
