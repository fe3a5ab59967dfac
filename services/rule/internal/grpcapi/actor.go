package grpcapi

import (
	"context"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/metadata"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/services/rule/internal/draft"
)

const (
	actorKey = "wxbus-actor"
	// nobody is who asks without saying who: the command line.
	nobody = "cli"
)

// actorOf returns who asks.
func actorOf(ctx context.Context) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, actorKey)
	if len(values) == 0 || values[0] == "" {
		return nobody, nil
	}
	actor, err := url.PathUnescape(values[0])
	if err != nil || !utf8.ValidString(actor) || utf8.RuneCountInString(actor) > draft.MaxActor || strings.ContainsFunc(actor, unicode.IsControl) {
		return "", fault.Errorf(fault.Invalid, "%s: must be at most %d characters of percent-encoded UTF-8", actorKey, draft.MaxActor)
	}
	return actor, nil
}
