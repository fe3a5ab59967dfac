package wechat

import (
	"context"
	"net/netip"
)

// CallbackIPs returns where WeChat's pushes come from. The list lags behind, so an address that is not
// in it is a reason for an alarm and not for a refusal. Entries that cannot be read are left out.
func (c *Client) CallbackIPs(ctx context.Context, token string) ([]netip.Prefix, error) {
	return c.addresses(ctx, "/cgi-bin/getcallbackip", token)
}

// APIDomainIPs returns the addresses of WeChat's API.
func (c *Client) APIDomainIPs(ctx context.Context, token string) ([]netip.Prefix, error) {
	return c.addresses(ctx, "/cgi-bin/get_api_domain_ip", token)
}

func (c *Client) addresses(ctx context.Context, path, token string) ([]netip.Prefix, error) {
	var answer struct {
		List []string `json:"ip_list"`
	}
	if err := c.callInto(ctx, Request{Path: path, Token: token}, &answer); err != nil {
		return nil, err
	}
	prefixes := make([]netip.Prefix, 0, len(answer.List))
	for _, entry := range answer.List {
		if p, err := netip.ParsePrefix(entry); err == nil {
			prefixes = append(prefixes, p.Masked())
		} else if a, err := netip.ParseAddr(entry); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return prefixes, nil
}

// CallbackReport is what WeChat sees of our callback address.
type CallbackReport struct {
	DNS []struct {
		IP       string `json:"ip"`
		Operator string `json:"real_operator"`
	} `json:"dns"`
	Ping []struct {
		IP       string `json:"ip"`
		Operator string `json:"from_operator"`
		Loss     string `json:"package_loss"`
		Time     string `json:"time"`
	} `json:"ping"`
}

// CallbackCheck lets WeChat resolve and ping the callback address: action is "dns", "ping" or "all",
// operator is "CHINANET", "UNICOM", "CAP" or "DEFAULT".
func (c *Client) CallbackCheck(ctx context.Context, token, action, operator string) (CallbackReport, error) {
	var report CallbackReport
	r := Request{Path: "/cgi-bin/callback/check", Token: token}
	err := c.post(ctx, r, map[string]string{"action": action, "check_operator": operator}, &report)
	return report, err
}
