package api

import (
	"net/http"
	"slices"

	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

type tag struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

const (
	maxTags       = 100
	maxTagsPerFan = 20
	firstOwnTag   = 3 // 0, 1 and 2 belong to WeChat
)

type tagBody struct {
	Tag        tag      `json:"tag"`
	TagID      int      `json:"tagid"`
	OpenID     string   `json:"openid"`
	OpenIDs    []string `json:"openid_list"`
	NextOpenID string   `json:"next_openid"`
}

func (c *call) tagName(name string) error {
	switch {
	case name == "":
		return code(45157)
	case len(name) > 30:
		return code(45158)
	case slices.ContainsFunc(c.st.tags, func(t tag) bool { return t.Name == name }):
		return code(45157)
	}
	return nil
}

func (c *call) tagIndex(id int) int {
	return slices.IndexFunc(c.st.tags, func(t tag) bool { return t.ID == id })
}

// createTag is POST /cgi-bin/tags/create (g.6).
func createTag(c *call) (any, error) {
	var b tagBody
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	if err := c.tagName(b.Tag.Name); err != nil {
		return nil, err
	}
	if len(c.st.tags) >= maxTags {
		return nil, code(45056)
	}
	t := tag{ID: c.st.nextTag, Name: b.Tag.Name}
	c.st.nextTag++
	c.st.tags = append(c.st.tags, t)
	return object{"tag": t}, nil
}

func listTags(c *call) (any, error) {
	counts := map[int]int{}
	for _, f := range c.deps.Ledger.Fans(c.st.Name) {
		for _, t := range f.Tags {
			counts[t]++
		}
	}
	out := []object{}
	for _, t := range c.st.tags {
		out = append(out, object{"id": t.ID, "name": t.Name, "count": counts[t.ID]})
	}
	return object{"tags": out}, nil
}

// changeTag renames (update) or removes (delete) a tag.
func changeTag(remove bool) func(*call) (any, error) {
	return func(c *call) (any, error) {
		var b tagBody
		if err := c.decode(&b); err != nil {
			return nil, err
		}
		at := c.tagIndex(b.Tag.ID)
		switch {
		case b.Tag.ID < firstOwnTag:
			return nil, code(45058)
		case at < 0:
			return nil, code(45159)
		}
		if !remove {
			if err := c.tagName(b.Tag.Name); err != nil {
				return nil, err
			}
			c.st.tags[at].Name = b.Tag.Name
			return done, nil
		}
		c.st.tags = slices.Delete(c.st.tags, at, at+1)
		for _, f := range c.deps.Ledger.Fans(c.st.Name) {
			c.setTag(f.OpenID, b.Tag.ID, false)
		}
		return done, nil
	}
}

// setTag reports the errcode.
func (c *call) setTag(openID string, id int, on bool) int {
	result := 0
	err := c.deps.Ledger.EditFan(c.st.Name, openID, func(f *ledger.FanEdit) {
		switch {
		case !on:
			delete(f.Tags, id)
		case len(f.Tags) >= maxTagsPerFan && !f.Tags[id]:
			result = 45059
		default:
			f.Tags[id] = true
		}
	})
	if err != nil {
		return 40003
	}
	return result
}

// tagFans is POST /cgi-bin/tags/members/batchtagging and batchuntagging.
func tagFans(on bool) func(*call) (any, error) {
	return func(c *call) (any, error) {
		var b tagBody
		if err := c.decode(&b); err != nil {
			return nil, err
		}
		switch {
		case c.tagIndex(b.TagID) < 0:
			return nil, code(45159)
		case len(b.OpenIDs) == 0 || len(b.OpenIDs) > 50:
			return nil, code(40032)
		}
		for _, id := range b.OpenIDs {
			if err := code(c.setTag(id, b.TagID, on)); err != nil {
				return nil, err
			}
		}
		return done, nil
	}
}

func fansOfTag(c *call) (any, error) {
	var b tagBody
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	return c.page(b.NextOpenID, func(f ledger.FanView) bool { return slices.Contains(f.Tags, b.TagID) })
}

func tagsOfFan(c *call) (any, error) {
	var b tagBody
	if err := c.decode(&b); err != nil {
		return nil, err
	}
	f, ok := c.deps.Ledger.Fan(c.st.Name, b.OpenID)
	if !ok {
		return nil, code(40003)
	}
	if f.Tags == nil {
		f.Tags = []int{}
	}
	return object{"tagid_list": f.Tags}, nil
}

func tagRoutes(m map[string]endpoint) {
	m["/cgi-bin/tags/create"] = endpoint{method: http.MethodPost, run: createTag}
	m["/cgi-bin/tags/get"] = endpoint{method: http.MethodGet, run: listTags}
	m["/cgi-bin/tags/update"] = endpoint{method: http.MethodPost, run: changeTag(false)}
	m["/cgi-bin/tags/delete"] = endpoint{method: http.MethodPost, run: changeTag(true)}
	m["/cgi-bin/tags/members/batchtagging"] = endpoint{method: http.MethodPost, run: tagFans(true)}
	m["/cgi-bin/tags/members/batchuntagging"] = endpoint{method: http.MethodPost, run: tagFans(false)}
	m["/cgi-bin/tags/getidlist"] = endpoint{method: http.MethodPost, run: tagsOfFan}
	m["/cgi-bin/user/tag/get"] = endpoint{method: http.MethodPost, run: fansOfTag}
}
