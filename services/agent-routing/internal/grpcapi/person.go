package grpcapi

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// ListPersonEntries returns a page of the timeline of a person.
func (s *Conversations) ListPersonEntries(ctx context.Context, in *agentroutingv1.ListPersonEntriesRequest) (*agentroutingv1.ListPersonEntriesResponse, error) {
	page, err := personPage(in)
	if err != nil {
		return nil, err
	}
	if err := s.check.fan(in.GetAccount(), in.GetOpenid()); err != nil {
		return nil, err
	}
	fan, err := s.desk.Fan(ctx, in.GetAccount(), in.GetOpenid())
	if err != nil {
		return nil, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	linked, err := linkedTo(ctx, q, fan)
	if err != nil {
		return nil, err
	}
	fans := append([]domain.Fan{fan}, linked...)
	found, more, err := q.Person(ctx, fans, page)
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.ListPersonEntriesResponse{More: more}
	for _, f := range fans {
		out.Fans = append(out.Fans, linkOf(f))
	}
	out.Entries, more = fitting(found, page.After != nil)
	out.More = out.GetMore() || more
	return out, nil
}

// linkedTo returns the same person in the other accounts that the caller may see.
func linkedTo(ctx context.Context, q store.Q, f domain.Fan) ([]domain.Fan, error) {
	found, err := q.Linked(ctx, f.UnionID)
	may := accountsOf(ctx)
	return slices.DeleteFunc(found, func(l domain.Fan) bool {
		return l.Account == f.Account && l.OpenID == f.OpenID || !may(l.Account)
	}), err
}

func linkOf(f domain.Fan) *agentroutingv1.LinkedFan {
	return &agentroutingv1.LinkedFan{Account: f.Account, Openid: f.OpenID, Name: f.Name()}
}

func personPage(in *agentroutingv1.ListPersonEntriesRequest) (store.PersonPage, error) {
	limit, err := pageSize("limit", in.GetLimit(), 50, 200)
	if err != nil {
		return store.PersonPage{}, err
	}
	page := store.PersonPage{Limit: limit}
	if in.GetBefore() != "" && in.GetAfter() != "" {
		return page, fault.New(fault.Invalid, "after: cannot be set with before")
	}
	if page.Before, err = placeOf("before", in.GetBefore()); err != nil {
		return page, err
	}
	page.After, err = placeOf("after", in.GetAfter())
	return page, err
}

// fitting returns the entries that fit into one answer, those nearest to where the page begins, and whether some were left out.
func fitting(found []store.PersonEntry, forward bool) ([]*agentroutingv1.PersonEntry, bool) {
	if !forward {
		slices.Reverse(found)
	}
	var out []*agentroutingv1.PersonEntry
	size, cut := 0, false
	for _, e := range found {
		entry := personEntry(e)
		if size += proto.Size(entry); size > maxAnswer && len(out) > 0 {
			cut = true
			break
		}
		out = append(out, entry)
	}
	if !forward {
		slices.Reverse(out)
	}
	return out, cut
}

func personEntry(e store.PersonEntry) *agentroutingv1.PersonEntry {
	out := &agentroutingv1.PersonEntry{Cursor: cursorAt(e.Place)}
	if e.Message != nil {
		out.Entry = &agentroutingv1.PersonEntry_Message{Message: e.Message}
	} else {
		out.Entry = &agentroutingv1.PersonEntry_Change{Change: e.Change}
	}
	return out
}

// cursorAt names a place; the parts cannot hold the separator.
func cursorAt(p store.Place) string {
	parts := []string{strconv.FormatInt(p.AtMs, 10), p.Account, p.OpenID, p.Conversation, strconv.FormatUint(p.Number, 10)}
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(parts, "\x00")))
}

func placeOf(field, cursor string) (*store.Place, error) {
	if cursor == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	parts := strings.Split(string(raw), "\x00")
	if err != nil || len(parts) != 5 {
		return nil, fault.Errorf(fault.Invalid, "%s: is not one of ours", field)
	}
	at, err1 := strconv.ParseInt(parts[0], 10, 64)
	number, err2 := strconv.ParseUint(parts[4], 10, 63)
	if err1 != nil || err2 != nil {
		return nil, fault.Errorf(fault.Invalid, "%s: is not one of ours", field)
	}
	return &store.Place{AtMs: at, Account: parts[1], OpenID: parts[2], Conversation: parts[3], Number: number}, nil
}
