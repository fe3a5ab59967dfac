package codec

import (
	"fmt"
	"strconv"
)

// MaxTextBytes is the longest text a fan can be shown, passively or by a kf message (d, measured).
const MaxTextBytes = 2048

// Types of content that a fan can be shown. Fault prompt and transfer are notices by WeChat itself.
const (
	TypeText     = "text"
	TypeNews     = "news"
	TypeMenu     = "msgmenu"
	TypeMini     = "miniprogrampage"
	TypeTransfer = "transfer_customer_service"
	TypePrompt   = "fault_prompt"
)

// Content is one thing a fan sees.
type Content struct {
	Type         string    `json:"type"`
	Text         string    `json:"text,omitempty"`
	MediaID      string    `json:"media_id,omitempty"`
	ThumbMediaID string    `json:"thumb_media_id,omitempty"`
	Title        string    `json:"title,omitempty"`
	Description  string    `json:"description,omitempty"`
	URL          string    `json:"url,omitempty"`
	HQURL        string    `json:"hq_url,omitempty"`
	PicURL       string    `json:"pic_url,omitempty"`
	AppID        string    `json:"appid,omitempty"`
	PagePath     string    `json:"page_path,omitempty"`
	KfAccount    string    `json:"kf_account,omitempty"`
	Articles     []Article `json:"articles,omitempty"`
	Menu         *Menu     `json:"menu,omitempty"`
}

// Article is one entry of a news message.
type Article struct {
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	URL         string `json:"url,omitempty"`
	PicURL      string `json:"pic_url,omitempty"`
}

// Menu is a message with items to tap.
type Menu struct {
	Head  string     `json:"head"`
	Tail  string     `json:"tail"`
	Items []MenuItem `json:"items"`
}

// MenuItem is one item of a Menu.
type MenuItem struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// passiveContent reads the content part of a passive reply (d).
func passiveContent(root node) (Content, error) {
	c := Content{Type: root.value("MsgType")}
	switch c.Type {
	case TypeText:
		return passiveText(root)
	case "image", "voice":
		body, _ := root.child(map[string]string{"image": "Image", "voice": "Voice"}[c.Type])
		c.MediaID = body.value("MediaId")
		return c, required(c.Type, "MediaId", c.MediaID)
	case "video":
		body, _ := root.child("Video")
		c.MediaID, c.Title, c.Description = body.value("MediaId"), body.value("Title"), body.value("Description")
		return c, required(c.Type, "MediaId", c.MediaID)
	case "music":
		body, _ := root.child("Music")
		c.Title, c.Description = body.value("Title"), body.value("Description")
		c.URL, c.HQURL, c.ThumbMediaID = body.value("MusicUrl"), body.value("HQMusicUrl"), body.value("ThumbMediaId")
		return c, required(c.Type, "ThumbMediaId", c.ThumbMediaID)
	case TypeNews:
		return passiveNews(root)
	case TypeTransfer, "transfer_biz_ai_ivr":
		info, _ := root.child("TransInfo")
		c.KfAccount = info.value("KfAccount")
		return c, nil
	default:
		return c, fmt.Errorf("MsgType %.32q is not a reply type", c.Type)
	}
}

func passiveText(root node) (Content, error) {
	c := Content{Type: TypeText, Text: root.value("Content")}
	if len(c.Text) > MaxTextBytes {
		return c, fmt.Errorf("text has %d bytes, the limit is %d", len(c.Text), MaxTextBytes)
	}
	return c, required(c.Type, "Content", c.Text)
}

func passiveNews(root node) (Content, error) {
	c := Content{Type: TypeNews}
	list, _ := root.child("Articles")
	items := list.all("item")
	if len(items) == 0 {
		items = root.all("Articles") // a JSON array without the item level
	}
	for _, it := range items {
		if len(it.kids) == 0 {
			continue
		}
		a := Article{Title: it.value("Title"), Description: it.value("Description"), URL: it.value("Url"), PicURL: it.value("PicUrl")}
		c.Articles = append(c.Articles, a)
	}
	count, err := strconv.Atoi(root.value("ArticleCount"))
	if err != nil || count != len(c.Articles) {
		return c, fmt.Errorf("ArticleCount %.16q does not match %d articles", root.value("ArticleCount"), len(c.Articles))
	}
	if count == 0 || count > 8 {
		return c, fmt.Errorf("news has %d articles, 1 to 8 are allowed", count)
	}
	c.Articles = c.Articles[:1] // what WeChat shows (appendix 1)
	return c, nil
}

func required(typ, name, value string) error {
	if value == "" {
		return fmt.Errorf("%s reply has no %s", typ, name)
	}
	return nil
}
