// Package templates keeps the lists of templates that accounts have at WeChat.
package templates

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/account"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"

	"github.com/wxbus/wxbus/services/sender/internal/api"
)

// kept is how long a list is used without asking again.
const kept = 10 * time.Minute

// Templates is safe for concurrent use.
type Templates struct {
	api *api.API
	now func() time.Time

	mu    sync.Mutex
	lists map[key]*list // by account and kind: bounded by configuration
}

type key struct {
	account string
	kind    senderv1.TemplateKind
}

// list is read by one caller at a time.
type list struct {
	mu        sync.Mutex
	templates []*senderv1.Template
	read      time.Time
}

// New returns empty lists.
func New(a *api.API, now func() time.Time) *Templates {
	return &Templates{api: a, now: now, lists: map[key]*list{}}
}

const (
	ofTemplates  = senderv1.TemplateKind_TEMPLATE_KIND_TEMPLATE
	ofSubscribes = senderv1.TemplateKind_TEMPLATE_KIND_SUBSCRIBE
)

// kindsOf returns the families that an account can have.
func kindsOf(kind account.Kind) []senderv1.TemplateKind {
	if kind == account.KindService {
		return []senderv1.TemplateKind{ofTemplates, ofSubscribes}
	}
	return []senderv1.TemplateKind{ofSubscribes}
}

// List returns the templates of a kind, or of every kind that the account can have, and when the oldest list was read.
// An account that may not use one family has none of it.
func (t *Templates) List(ctx context.Context, a account.Account, kind senderv1.TemplateKind, refresh bool) ([]*senderv1.Template, time.Time, error) {
	kinds := kindsOf(a.Kind)
	if kind != senderv1.TemplateKind_TEMPLATE_KIND_UNSPECIFIED {
		if !slices.Contains(kinds, kind) {
			return nil, time.Time{}, fault.New(fault.Invalid, "kind: the account cannot have such templates")
		}
		kinds = []senderv1.TemplateKind{kind}
	}
	var out []*senderv1.Template
	var oldest time.Time
	for _, k := range kinds {
		found, read, err := t.one(ctx, a, k, refresh)
		if err != nil {
			if len(kinds) > 1 && wechat.ClassOf(err) == wechat.ClassAccount {
				continue
			}
			return nil, time.Time{}, err
		}
		out = append(out, found...)
		if oldest.IsZero() || read.Before(oldest) {
			oldest = read
		}
	}
	return out, oldest, nil
}

// Get returns one template. One that is not in a list is asked for once more: it may be new.
func (t *Templates) Get(ctx context.Context, a account.Account, id string) (*senderv1.Template, error) {
	if id == "" {
		return nil, fault.New(fault.Invalid, "template_id: required")
	}
	for _, refresh := range []bool{false, true} {
		found, _, err := t.List(ctx, a, senderv1.TemplateKind_TEMPLATE_KIND_UNSPECIFIED, refresh)
		if err != nil {
			return nil, err
		}
		for _, one := range found {
			if one.GetTemplateId() == id {
				return one, nil
			}
		}
	}
	return nil, fault.New(fault.NotFound, "the account has no such template")
}

// patience is how young a list must be that is not read again, even on demand: WeChat counts these calls.
const patience = 5 * time.Second

func (t *Templates) one(ctx context.Context, a account.Account, kind senderv1.TemplateKind, refresh bool) ([]*senderv1.Template, time.Time, error) {
	l := t.list(key{a.Name, kind})
	l.mu.Lock()
	defer l.mu.Unlock()
	age := t.now().Sub(l.read)
	if !l.read.IsZero() && (age < patience || (!refresh && age < kept)) {
		return l.templates, l.read, nil
	}
	var infos []wechat.TemplateInfo
	err := t.api.Do(ctx, a, func(ctx context.Context, c *wechat.Client, token string) (err error) {
		if kind == ofTemplates {
			infos, err = c.Templates(ctx, token)
		} else {
			infos, err = c.SubscribeTemplates(ctx, token)
		}
		return err
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read templates: %w", err)
	}
	l.templates, l.read = make([]*senderv1.Template, len(infos)), t.now()
	for n, info := range infos {
		l.templates[n] = &senderv1.Template{
			TemplateId: info.ID, Kind: kind, Title: info.Title, Content: info.Content, Example: info.Example, Fields: fieldsOf(info.Content),
		}
	}
	return l.templates, l.read, nil
}

func (t *Templates) list(k key) *list {
	t.mu.Lock()
	defer t.mu.Unlock()
	l, ok := t.lists[k]
	if !ok {
		l = &list{}
		t.lists[k] = l
	}
	return l
}

var field = regexp.MustCompile(`\{\{\s*([A-Za-z0-9_]{1,64})\.DATA\s*\}\}`)

// fieldsOf returns the names in the text of a template, in their order.
func fieldsOf(content string) []string {
	var out []string
	for _, m := range field.FindAllStringSubmatch(content, -1) {
		if !slices.Contains(out, m[1]) {
			out = append(out, m[1])
		}
	}
	return out
}
