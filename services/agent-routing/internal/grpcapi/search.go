package grpcapi

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
	"github.com/wxbus/wxbus/services/agent-routing/internal/wire"
)

// Search finds messages.
func (s *Conversations) Search(ctx context.Context, in *agentroutingv1.SearchRequest) (*agentroutingv1.SearchResponse, error) {
	limit, err := pageSize("page_size", in.GetPageSize(), 20, 100)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkText("query", strings.TrimSpace(in.GetQuery()), 1, 100), s.check.anyAccount(in.GetAccount())); err != nil {
		return nil, err
	}
	if in.GetOpenid() != "" && in.GetAccount() == "" {
		return nil, fault.New(fault.Invalid, "account: is required with openid")
	}
	f := store.Find{
		Account: in.GetAccount(), OpenID: in.GetOpenid(), Agent: in.GetAgent(), From: wire.Time(in.GetFromUnixMs()), To: wire.Time(in.GetToUnixMs()), Limit: limit + 1,
	}
	f.Words, f.Grams = domain.Words(in.GetQuery())
	if len(f.Words) == 0 {
		return nil, fault.New(fault.Invalid, "query: has nothing to look for")
	}
	if f.Before, err = cursorOf(in.GetPageToken()); err != nil {
		return nil, err
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	found, err := q.Search(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &agentroutingv1.SearchResponse{}
	for i, m := range found {
		if i == limit {
			out.NextPageToken = tokenOf(found[i-1])
			break
		}
		fan, _, err := q.Fan(ctx, m.GetAccount(), m.GetOpenid())
		if err != nil {
			return nil, err
		}
		_, seed := domain.Friendly(m.GetAccount(), m.GetOpenid())
		out.Hits = append(out.Hits, &agentroutingv1.SearchHit{Message: m, FanName: fan.Name(), PatternSeed: seed})
	}
	return out, nil
}

// maxMentions bounds an answer of ListMentions, and what is read for each name.
const maxMentions = 100

// ListMentions finds the notes that name an agent, and tells where they stand.
func (s *Conversations) ListMentions(ctx context.Context, in *agentroutingv1.ListMentionsRequest) (*agentroutingv1.ListMentionsResponse, error) {
	if err := checkAgent("agent", in.GetAgent()); err != nil {
		return nil, err
	}
	if len(in.GetNames()) == 0 || len(in.GetNames()) > 5 {
		return nil, fault.New(fault.Invalid, "names: needs 1 to 5 entries")
	}
	q, err := s.desk.Store().Query()
	if err != nil {
		return nil, err
	}
	newest := map[[2]string]*agentroutingv1.Mention{}
	for i, name := range in.GetNames() {
		if err := checkText(fmt.Sprintf("names[%d]", i), strings.TrimSpace(name), 1, 99); err != nil {
			return nil, err
		}
		f := store.Find{From: wire.Time(in.GetFromUnixMs()), Limit: maxMentions}
		f.Words, f.Grams = domain.Words("@" + name)
		found, err := q.Search(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			if m.GetAuthorKind() != agentroutingv1.AuthorKind_AUTHOR_KIND_NOTE || m.GetAuthor() == in.GetAgent() || m.GetConversation() == "" || !strings.Contains(m.GetText(), "@"+name) {
				continue // the search folds letters, and looks at everything that was said
			}
			key := [2]string{m.GetAccount(), m.GetConversation()}
			if known := newest[key]; known == nil || known.GetAtUnixMs() < m.GetAtUnixMs() {
				newest[key] = &agentroutingv1.Mention{Account: m.GetAccount(), Conversation: m.GetConversation(), AtUnixMs: m.GetAtUnixMs()}
			}
		}
	}
	mentions := slices.SortedFunc(maps.Values(newest), func(a, b *agentroutingv1.Mention) int {
		return cmp.Or(cmp.Compare(b.GetAtUnixMs(), a.GetAtUnixMs()), cmp.Compare(a.GetConversation(), b.GetConversation()))
	})
	return &agentroutingv1.ListMentionsResponse{Mentions: mentions[:min(len(mentions), maxMentions)]}, nil
}

// tokenOf names the place after a hit; the parts cannot hold the separator.
func tokenOf(m *agentroutingv1.Message) string {
	parts := []string{strconv.FormatInt(m.GetAtUnixMs(), 10), m.GetAccount(), strconv.FormatUint(m.GetSeq(), 10), m.GetOpenid()}
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(parts, "\x00")))
}

func cursorOf(token string) (store.Cursor, error) {
	if token == "" {
		return store.Cursor{}, nil
	}
	bad := fault.New(fault.Invalid, "page_token: is not one of ours")
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return store.Cursor{}, bad
	}
	parts := strings.SplitN(string(raw), "\x00", 4)
	if len(parts) != 4 {
		return store.Cursor{}, bad
	}
	at, err1 := strconv.ParseInt(parts[0], 10, 64)
	seq, err2 := strconv.ParseUint(parts[2], 10, 63)
	if err1 != nil || err2 != nil {
		return store.Cursor{}, bad
	}
	return store.Cursor{AtMs: at, Account: parts[1], Seq: seq, OpenID: parts[3]}, nil
}
