package wechat_test

import (
	"fmt"

	"github.com/wxbus/wxbus/pkg/wechat"
)

// A push in secure mode, from the request to the answer.
func Example() {
	keyring, err := wechat.NewKeyring(wechat.KeyringConfig{
		AppID: "wx2c2769f8efd9abc2", Token: "spamtest", EncodingAESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	rawQuery := "encrypt_type=aes&timestamp=1409735669&nonce=1320562132&msg_signature=5d197aaffba7e9b25a30732f161a50dee96bd5fa"
	body := []byte("<xml><ToUserName><![CDATA[gh_10f6c3c3ac5a]]></ToUserName><Encrypt><![CDATA[hyzAe4OzmOMbd6TvGdIOO6uBmdJoD0Fk53REIHvxYtJlE2B655HuD0m8KUePWB3+LrPXo87wzQ1QLvbeUgmBM4x6F8PGHQHFVAFmOD2LdJF9FrXpbUAh0B5GIItb52sn896wVsMSHGuPE328HnRGBcrS7C41IzDWyWNlZkyyXwon8T332jisa+h6tEDYsVticbSnyU8dKOIbgU6ux5VTjg3yt+WGzjlpKn6NPhRjpA912xMezR4kw6KWwMrCVKSVCZciVGCgavjIQ6X8tCOp3yZbGpy0VxpAe+77TszTfRd5RJSVO/HTnifJpXgCSUdUue1v6h0EIBYYI1BD1DlD+C0CR8e6OewpusjZ4uBl9FyJvnhvQl+q5rv1ixrcpCumEPo5MJSgM9ehVsNPfUM669WuMyVWQLCzpu9GhglF2PE=]]></Encrypt></xml>")

	query, err := wechat.ParseQuery(rawQuery)
	if err != nil {
		fmt.Println(err)
		return
	}
	opened, err := keyring.Open(query, body, wechat.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	push, err := wechat.Parse(opened.Plain, wechat.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if text, ok := push.Payload().(wechat.Text); ok {
		fmt.Println(push.Kind(), push.OpenID, text.Content, push.DedupeKey("main"))
	}
	reply, err := wechat.EncodeReply(push.Format, wechat.Reply{
		ToUserName: push.FromUserName, FromUserName: push.ToUserName, CreateTime: 1409735670,
		Body: wechat.TextReply{Content: "hello"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	sealed, err := keyring.Seal(opened, reply, 1409735670, "n")
	fmt.Println(len(sealed) > len(reply), err)
	// Output:
	// message oyORnuP8q7ou2gfYjqLzSIWZf0rs abcdteT 4b3ca3db633d7f645c6b726ab8f38401
	// true <nil>
}
