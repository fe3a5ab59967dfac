package wire

import (
	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"
	eventv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/event/v1"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// File is a file of WeChat that a message refers to.
type File struct{ MediaID, Role string }

// The roles of files.
const (
	RoleContent = "content"
	RoleThumb   = "thumb"
)

// Message returns the timeline entry of an event of the fan, and the files that belong to it.
func Message(ev *eventv1.InboundEvent) (*agentroutingv1.Message, []File) {
	m := &agentroutingv1.Message{
		Account: ev.GetAccount(), Openid: ev.GetOpenid(), AuthorKind: agentroutingv1.AuthorKind_AUTHOR_KIND_FAN,
		MsgType: domain.Cut(ev.GetMsgType(), 32), EventId: ev.GetId(), AtUnixMs: ev.GetReceivedUnixMs(),
	}
	var files []File
	switch p := ev.GetPayload().(type) {
	case *eventv1.InboundEvent_Text:
		m.Text = p.Text.GetContent()
	case *eventv1.InboundEvent_Media:
		m.Text = p.Media.GetRecognition()
		if m.Text == "" {
			m.Text = p.Media.GetTitle()
		}
		files = filesOf(p.Media.GetMediaId(), p.Media.GetThumbMediaId())
	case *eventv1.InboundEvent_Location:
		m.Text = p.Location.GetLabel()
		if m.Text == "" {
			m.Text = p.Location.GetPoiName()
		}
		m.Location = &agentroutingv1.Place{Latitude: p.Location.GetLatitude(), Longitude: p.Location.GetLongitude()}
	case *eventv1.InboundEvent_Link:
		m.Text, m.Url = p.Link.GetTitle(), domain.Cut(p.Link.GetUrl(), domain.MaxTextBytes)
		if m.Text == "" {
			m.Text = p.Link.GetUrl()
		}
	case *eventv1.InboundEvent_MiniProgramPage:
		m.Text = p.MiniProgramPage.GetTitle()
		files = filesOf("", p.MiniProgramPage.GetThumbMediaId())
	case *eventv1.InboundEvent_ScanCode:
		m.Text = p.ScanCode.GetScanResult()
	case *eventv1.InboundEvent_SessionFrom:
		m.Text = p.SessionFrom
	default:
		m.Text = ev.GetEventKey()
	}
	m.Text = domain.Cut(m.Text, domain.MaxTextBytes)
	return m, files
}

func filesOf(content, thumb string) []File {
	var out []File
	if content != "" {
		out = append(out, File{content, RoleContent})
	}
	if thumb != "" {
		out = append(out, File{thumb, RoleThumb})
	}
	return out
}

// Sent returns the type and the words of a content to a fan, and the files that it shows.
func Sent(c *eventv1.Content) (msgType, text string, files []File) {
	switch b := c.GetBody().(type) {
	case *eventv1.Content_Text:
		return "text", b.Text.GetContent(), nil
	case *eventv1.Content_Image:
		return "image", "", filesOf(b.Image.GetMediaId(), "")
	case *eventv1.Content_Voice:
		return "voice", "", filesOf(b.Voice.GetMediaId(), "")
	case *eventv1.Content_Video:
		return "video", b.Video.GetTitle(), filesOf(b.Video.GetMediaId(), b.Video.GetThumbMediaId())
	case *eventv1.Content_Music:
		return "music", b.Music.GetTitle(), filesOf("", b.Music.GetThumbMediaId())
	case *eventv1.Content_News:
		title := ""
		if articles := b.News.GetArticles(); len(articles) > 0 {
			title = articles[0].GetTitle()
		}
		return "news", title, nil
	case *eventv1.Content_Menu:
		return "msgmenu", menuText(b.Menu), nil
	case *eventv1.Content_MiniProgram:
		return "miniprogrampage", b.MiniProgram.GetTitle(), filesOf("", b.MiniProgram.GetThumbMediaId())
	case *eventv1.Content_Link:
		return "link", b.Link.GetTitle(), nil
	case *eventv1.Content_Raw:
		return b.Raw.GetMsgType(), "", nil
	default:
		return "", "", nil
	}
}

func menuText(m *eventv1.MenuContent) string {
	text := m.GetHead()
	for _, item := range m.GetItems() {
		text += "\n" + item.GetContent()
	}
	if m.GetTail() != "" {
		text += "\n" + m.GetTail()
	}
	return text
}

// Text returns a plain text content.
func Text(s string) *eventv1.Content {
	return &eventv1.Content{Body: &eventv1.Content_Text{Text: &eventv1.TextContent{Content: s}}}
}
