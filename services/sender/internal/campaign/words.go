package campaign

import (
	"bytes"
	"io"
	"strings"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"
)

// word is a state in lower case, without its prefix.
func word(s senderv1.CampaignState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "CAMPAIGN_STATE_"))
}

// recipientWord is the state of a recipient in lower case, without its prefix.
func recipientWord(s senderv1.RecipientState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "RECIPIENT_STATE_"))
}

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }
