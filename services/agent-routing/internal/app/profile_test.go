package app_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/services/agent-routing/internal/app"
	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

func (w *world) fan(openID string) domain.Fan {
	w.t.Helper()
	f, err := w.desk.Fan(w.ctx, shop, openID)
	require.NoError(w.t, err)
	return f
}

func (w *world) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.met)
}

func TestWeChatIsAskedAboutAFanWhoIsServed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.group(domain.Group{ID: "sales"})
		w.profile = app.Profile{UnionID: "union", Language: "en", Remark: "WeChat's word"}
		require.NoError(t, w.desk.Profile(w.ctx, shop, "fan"))
		q, err := w.store.Query()
		require.NoError(t, err)
		_, known, err := q.Fan(w.ctx, shop, "fan")
		require.NoError(t, err)
		require.False(t, known, "nobody is made known by being asked about: they may have been erased")

		first, err := w.asks("fan", "sales")
		require.NoError(t, err)
		require.Equal(t, []string{"fan"}, w.asked())
		require.Empty(t, w.conversation(first).Language)
		require.NoError(t, w.desk.Profile(w.ctx, shop, "fan"))
		require.Equal(t, "en", w.conversation(first).Language, "the open conversation goes on in the fan's language")
		f := w.fan("fan")
		require.Equal(t, []string{"union", "en", "WeChat's word"}, []string{f.UnionID, f.Language, f.Remark})

		_, err = w.desk.EditFan(w.ctx, shop, "fan", "li", "remark", func(f *domain.Fan) error { f.Remark = ""; return nil })
		require.NoError(t, err)
		w.profile = app.Profile{Remark: "WeChat's word"} // somebody who does not follow any more
		require.NoError(t, w.desk.Profile(w.ctx, shop, "fan"))
		require.Equal(t, f.Profiled, w.fan("fan").Profiled, "asked a short while ago")
		_, err = w.desk.Close(w.ctx, act(first, "li"), true)
		require.NoError(t, err)
		second, err := w.asks("fan", "sales")
		require.NoError(t, err)
		require.Len(t, w.asked(), 1)
		_, err = w.desk.Close(w.ctx, act(second, "li"), true)
		require.NoError(t, err)

		w.clock.Advance(8 * 24 * time.Hour)
		_, err = w.asks("fan", "sales")
		require.NoError(t, err)
		require.Len(t, w.asked(), 2)
		require.NoError(t, w.desk.Profile(w.ctx, shop, "fan"))
		f = w.fan("fan")
		require.Equal(t, []string{"union", "en", ""}, []string{f.UnionID, f.Language, f.Remark}, "what was known stays, and what an agent took away")
	})
}
