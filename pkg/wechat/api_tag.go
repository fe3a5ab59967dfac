package wechat

import "context"

// TagFans returns up to 10 000 fans of a tag after one of them, and the openid to go on after; it is empty at the end.
func (c *Client) TagFans(ctx context.Context, token string, tag int64, after string) (openids []string, next string, err error) {
	var answer struct {
		Data struct {
			OpenIDs []string `json:"openid"`
		} `json:"data"`
		Next string `json:"next_openid"`
	}
	in := struct {
		TagID int64  `json:"tagid"`
		Next  string `json:"next_openid,omitempty"`
	}{tag, after}
	err = c.post(ctx, Request{Path: "/cgi-bin/user/tag/get", Token: token}, in, &answer)
	return answer.Data.OpenIDs, answer.Next, err
}
