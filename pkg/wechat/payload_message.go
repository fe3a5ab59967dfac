package wechat

import "strings"

// Text is a text of a fan.
type Text struct {
	// Content is the text, unchanged and not trimmed.
	Content string
	// MenuID is bizmsgmenuid: set when the fan tapped an item of a menu message.
	MenuID string
	// BusinessID tells the business of a Mini Program with several.
	BusinessID string
	// ArticleID and ArticleIndex are MsgDataId and Idx: set when the text came from an article.
	ArticleID, ArticleIndex string
}

// Media is an image, voice, video or short video. Media ids expire after three days.
type Media struct {
	MediaID      string
	PicURL       string // of an image; untrusted
	ThumbMediaID string // of a video
	Format       string // of a voice, for example "amr"
	Recognition  string // of a voice, when the account has recognition switched on
	MediaID16K   string // of a voice: the same in 16 kHz
	// ArticleID and ArticleIndex are MsgDataId and Idx: set when the message came from an article.
	ArticleID, ArticleIndex string
}

// File is a file; no page documents it.
type File struct {
	Title, Description, FileKey, MD5 string
	Size                             int64
}

// Location is a place: a location message, a choice in a menu (with PoiName) or a reported position
// (with Precision, without Label).
type Location struct {
	Latitude, Longitude float64 // degrees
	Scale               int     // zoom level of the map
	Label, PoiName      string
	Precision           float64 // metres
}

// Link is a link of a fan; every field is untrusted.
type Link struct {
	Title, Description, URL string
}

// MiniProgramPage is a card of a Mini Program page.
type MiniProgramPage struct {
	Title, AppID, PagePath, ThumbURL, ThumbMediaID string
}

// Device is a push of the old device platform.
type Device struct {
	DeviceType, DeviceID, SessionID, OpenID string
	// Content is base64, as it was sent.
	Content string
}

// trimmed returns the trimmed text of a child.
func trimmed(t Tree, name string) string { return strings.TrimSpace(t.Child(name).Text()) }

func textOf(t Tree) Text {
	return Text{
		Content:      t.Child("Content").Text(),
		MenuID:       trimmed(t, "bizmsgmenuid"),
		BusinessID:   trimmed(t, "BusinessId"),
		ArticleID:    trimmed(t, "MsgDataId"),
		ArticleIndex: trimmed(t, "Idx"),
	}
}

func mediaOf(t Tree) Media {
	return Media{
		MediaID:      trimmed(t, "MediaId"),
		PicURL:       trimmed(t, "PicUrl"),
		ThumbMediaID: trimmed(t, "ThumbMediaId"),
		Format:       trimmed(t, "Format"),
		Recognition:  t.Child("Recognition").Text(),
		MediaID16K:   trimmed(t, "MediaId16K"),
		ArticleID:    trimmed(t, "MsgDataId"),
		ArticleIndex: trimmed(t, "Idx"),
	}
}

func fileOf(t Tree) File {
	return File{
		Title:       t.Child("Title").Text(),
		Description: t.Child("Description").Text(),
		FileKey:     trimmed(t, "FileKey"),
		MD5:         trimmed(t, "FileMd5"),
		Size:        parseInt(t.Child("FileTotalLen").Text()),
	}
}

// locationOf reads a location message or SendLocationInfo.
func locationOf(t Tree) Location {
	return Location{
		Latitude:  parseFloat(t.Child("Location_X").Text()),
		Longitude: parseFloat(t.Child("Location_Y").Text()),
		Scale:     int(parseInt(t.Child("Scale").Text())),
		Label:     t.Child("Label").Text(),
		PoiName:   t.Child("Poiname").Text(),
	}
}

func reportedLocationOf(t Tree) Location {
	return Location{
		Latitude:  parseFloat(t.Child("Latitude").Text()),
		Longitude: parseFloat(t.Child("Longitude").Text()),
		Precision: parseFloat(t.Child("Precision").Text()),
	}
}

func linkOf(t Tree) Link {
	return Link{
		Title:       t.Child("Title").Text(),
		Description: t.Child("Description").Text(),
		URL:         trimmed(t, "Url"),
	}
}

func miniProgramPageOf(t Tree) MiniProgramPage {
	return MiniProgramPage{
		Title:        t.Child("Title").Text(),
		AppID:        trimmed(t, "AppId"),
		PagePath:     trimmed(t, "PagePath"),
		ThumbURL:     trimmed(t, "ThumbUrl"),
		ThumbMediaID: trimmed(t, "ThumbMediaId"),
	}
}

func deviceOf(t Tree) Device {
	return Device{
		DeviceType: trimmed(t, "DeviceType"),
		DeviceID:   trimmed(t, "DeviceID"),
		SessionID:  trimmed(t, "SessionID"),
		OpenID:     trimmed(t, "OpenID"),
		Content:    t.Child("Content").Text(),
	}
}
