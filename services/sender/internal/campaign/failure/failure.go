// Package failure says in words what an errcode of WeChat means for a recipient of a campaign, what to do about
// it, and whether a replay can help.
package failure

import (
	"cmp"
	"fmt"
	"slices"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/wechat"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/ledger"
)

// Key names a group of failures.
type Key struct {
	State   senderv1.RecipientState
	Errcode int32
}

// Groups returns the groups as they are told, the most frequent first.
func Groups(counts map[Key]uint32) []*senderv1.CampaignFailure {
	var out []*senderv1.CampaignFailure
	for key, n := range counts {
		if n == 0 {
			continue
		}
		text, advice, replayable := explain(key)
		out = append(out, &senderv1.CampaignFailure{
			Errcode: key.Errcode, State: key.State, Recipients: n, Text: text, Advice: advice, Replayable: replayable,
		})
	}
	slices.SortFunc(out, func(a, b *senderv1.CampaignFailure) int {
		return cmp.Or(cmp.Compare(b.GetRecipients(), a.GetRecipients()), cmp.Compare(a.GetErrcode(), b.GetErrcode()), cmp.Compare(a.GetState(), b.GetState()))
	})
	return out
}

func explain(key Key) (text, advice string, replayable bool) {
	switch {
	case key.State == ledger.Ambiguous:
		return "no usable answer of WeChat: the fan may have the message", "ask the fan before sending again; a replay leaves them out", false
	case key.State == ledger.Refused:
		return "refused before WeChat was asked", "see the reason of each recipient; a replay helps those who write again or open their window", true
	case key.Errcode == 0:
		return "not delivered", "see the reason of each recipient", true
	}
	text = wechat.Meaning(int(key.Errcode))
	if text == "" {
		text = fmt.Sprintf("unknown errcode %d", key.Errcode)
	}
	advice, replayable = adviceFor(int(key.Errcode))
	return text, advice, replayable
}

func adviceFor(code int) (advice string, replayable bool) {
	switch code {
	case 45015, 45047:
		return "the fan must act first; replay after that", true
	case 40164:
		return "add our address to the IP whitelist in WeChat's console, then replay", true
	case 48001, 48004, 45087:
		return "the account may not use this API; nothing helps before WeChat allows it", false
	}
	switch wechat.Classify(code) {
	case wechat.ClassTransient, wechat.ClassToken, wechat.ClassTicket:
		return "it goes away by itself; replay", true
	case wechat.ClassRate:
		return "replay at a lower rate", true
	case wechat.ClassQuota:
		return "replay when the quota is renewed, at 00:00 in Shanghai", true
	case wechat.ClassConfirm:
		return "let the administrator confirm in WeChat, then replay", true
	case wechat.ClassRecipient:
		return "do not replay: the fan cannot be reached or does not want it", false
	case wechat.ClassMedia:
		return "upload the media again and make a new campaign", false
	case wechat.ClassRequest:
		return "the message is wrong: make a new campaign with a better one", false
	case wechat.ClassAccount:
		return "repair the account, then replay", true
	default:
		return "look the code up, then replay or not", true
	}
}
