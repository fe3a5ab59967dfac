package wechat

import "strings"

// Follow is a subscribe event.
type Follow struct {
	// Source tells what the fan followed from.
	Source FollowSource
	// Key is the EventKey without the prefix that tells the source: the scene of a QR code, the order
	// of a payment, the standard and key of a product ("std|key").
	Key string
	// Ticket is the ticket of the QR code.
	Ticket string
}

// FollowSource tells what a fan followed from.
type FollowSource string

// The sources of a follow. Unknown is any other way, for example a search.
const (
	FollowUnknown FollowSource = ""
	FollowQR      FollowSource = "qr"
	FollowPayment FollowSource = "payment"
	FollowBarcode FollowSource = "barcode"
	FollowImage   FollowSource = "image"
)

// followPrefixes are the prefixes of EventKey in a subscribe event.
var followPrefixes = []struct {
	prefix string
	source FollowSource
}{
	{"qrscene_", FollowQR},
	{"last_trade_no_", FollowPayment},
	{"scanbarcode|", FollowBarcode},
	{"scanimage|", FollowImage},
}

// Scan is a scan of a parametric QR code by a fan who follows already.
type Scan struct{ Scene, Ticket string }

// MenuView is a tap on a menu button that opens a page.
type MenuView struct {
	// Target is the URL, or the page path of a Mini Program.
	Target string
	// MenuID is set for conditional menus.
	MenuID string
}

// ScanCode is the result of a scan started from the menu; Result is untrusted.
type ScanCode struct{ Type, Result string }

// Pictures announces pictures sent from the menu; they follow as image messages.
type Pictures struct {
	// Count is what WeChat claims; it need not be len(MD5).
	Count int
	MD5   []string
}

// TempSession is a fan entering the customer-service window of a Mini Program.
type TempSession struct{ SessionFrom string }

// KfSession is a change of a session in WeChat's own customer-service desk.
type KfSession struct {
	// KfAccount is the agent who has the session now, or had it last; ToKfAccount of a switch.
	KfAccount string
	// FromKfAccount is set for a switch.
	FromKfAccount string
	// CloseType is set for a close; its values are not documented.
	CloseType string
}

// UserData tells that a fan changed or withdrew personal data. OpenID is the fan; FromUserName of
// such a push is WeChat's.
type UserData struct {
	OpenID, AppID, PluginID string
	// Revoked lists RevokeInfo: "1" name and avatar, "2" address, "3" invoice, …
	Revoked []string
}

// Authorization is a push to an Open Platform component: a ticket, or a change of an authorization.
type Authorization struct {
	AppID, Ticket                               string
	AuthorizerAppID, Code, Expires, PreAuthCode string
}

func followOf(p *Push) Follow {
	for _, f := range followPrefixes {
		if key, ok := strings.CutPrefix(p.EventKey, f.prefix); ok {
			return Follow{Source: f.source, Key: key, Ticket: p.Ticket}
		}
	}
	return Follow{Key: p.EventKey, Ticket: p.Ticket}
}

func scanCodeOf(root Tree) ScanCode {
	info := root.Child("ScanCodeInfo")
	return ScanCode{Type: trimmed(info, "ScanType"), Result: info.Child("ScanResult").Text()}
}

func picturesOf(root Tree) Pictures {
	info := root.Child("SendPicsInfo")
	pics := Pictures{Count: int(parseInt(info.Child("Count").Text()))}
	for item := range listOf(info, "PicList") {
		pics.MD5 = append(pics.MD5, trimmed(item, "PicMd5Sum"))
	}
	return pics
}

func kfSessionOf(root Tree) KfSession {
	s := KfSession{
		KfAccount:     trimmed(root, "KfAccount"),
		FromKfAccount: trimmed(root, "FromKfAccount"),
		CloseType:     trimmed(root, "CloseType"),
	}
	if to := trimmed(root, "ToKfAccount"); to != "" {
		s.KfAccount = to
	}
	return s
}

func userDataOf(p *Push, root Tree) UserData {
	data := UserData{OpenID: p.OpenID}
	for c := range root.Children() {
		value := strings.TrimSpace(c.Text())
		switch strings.ToLower(c.Name()) {
		case "appid":
			data.AppID = value
		case "pluginid":
			data.PluginID = value
		case "revokeinfo":
			data.Revoked = append(data.Revoked, strings.FieldsFunc(value, isListSeparator)...)
		}
	}
	return data
}

func isListSeparator(r rune) bool { return r == ',' || r == ';' || r == '|' || r == ' ' }

func authorizationOf(root Tree) Authorization {
	return Authorization{
		AppID:           trimmed(root, "AppId"),
		Ticket:          trimmed(root, "ComponentVerifyTicket"),
		AuthorizerAppID: trimmed(root, "AuthorizerAppid"),
		Code:            trimmed(root, "AuthorizationCode"),
		Expires:         trimmed(root, "AuthorizationCodeExpiredTime"),
		PreAuthCode:     trimmed(root, "PreAuthCode"),
	}
}
