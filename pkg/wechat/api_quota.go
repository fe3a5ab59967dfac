package wechat

import "context"

// Quota is what is left of the quota of one API.
type Quota struct {
	// Daily quota; zero limits mean that there is none.
	DailyLimit, Used, Remaining int64
	// Rate quota: Calls in each RefreshSeconds.
	Calls, RefreshSeconds int64
}

// QuotaGet returns the quota of the API at path, for example "/cgi-bin/message/custom/send".
func (c *Client) QuotaGet(ctx context.Context, token, path string) (Quota, error) {
	var answer struct {
		Quota struct {
			Limit  LooseInt `json:"daily_limit"`
			Used   LooseInt `json:"used"`
			Remain LooseInt `json:"remain"`
		} `json:"quota"`
		Rate struct {
			Calls   LooseInt `json:"call_count"`
			Refresh LooseInt `json:"refresh_second"`
		} `json:"rate_limit"`
	}
	r := Request{Path: "/cgi-bin/openapi/quota/get", Token: token}
	if err := c.post(ctx, r, map[string]string{"cgi_path": path}, &answer); err != nil {
		return Quota{}, err
	}
	return Quota{
		DailyLimit: int64(answer.Quota.Limit), Used: int64(answer.Quota.Used), Remaining: int64(answer.Quota.Remain),
		Calls: int64(answer.Rate.Calls), RefreshSeconds: int64(answer.Rate.Refresh),
	}, nil
}
