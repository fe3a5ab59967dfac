package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// privacy are the scenarios of forgetting a fan.
var privacy = map[string]func(*testing.T, *world){
	"an erased fan is forgotten by the desk and by the rules": func(t *testing.T, w *world) {
		admin, f := w.logIn(t), w.newFan(t, secureXML)
		f.says(t, "领券")  // a tag and a cool-down
		f.says(t, "问一")  // a conversation with a model
		f.says(t, "报修")  // a form
		f.says(t, "转人工") // leaves the form as it is
		f.sees(t, "passive:券给您", "passive:听到 2 条", "passive:手机？", "passive:请回复 11 位手机号码。\n手机？")
		require.True(t, eventually(t, 30*time.Second, func() bool {
			known := f.remembered(t, admin)
			return known["record"] != nil && known["chat"] != nil && known["form"] != nil
		}), "%v", f.remembered(t, admin))

		proof := f.erased(t, admin)
		for _, place := range []string{"bucket fans", "bucket dialogs (chat)", "bucket dialogs (form)"} {
			require.Equal(t, "1", proof[place], place)
		}
		require.True(t, eventually(t, 30*time.Second, func() bool { return len(f.remembered(t, admin)) == 0 }), "%v", f.remembered(t, admin))
		for place, erased := range f.erased(t, admin) {
			require.Contains(t, []any{nil, "0"}, erased, "the second time there is nothing: %s", place)
		}
		f.says(t, "领券")
		f.sees(t, "passive:券给您", "passive:听到 2 条", "passive:手机？", "passive:请回复 11 位手机号码。\n手机？", "passive:券给您")
	},
	"a fan who unfollows is forgotten by the rules": func(t *testing.T, w *world) {
		admin, f := w.logIn(t), w.newFan(t, secureJSON)
		f.says(t, "领券")
		require.True(t, eventually(t, 30*time.Second, func() bool { return f.remembered(t, admin)["record"] != nil }))
		f.does(t, "unsubscribe", nil)
		require.True(t, eventually(t, 60*time.Second, func() bool { return len(f.remembered(t, admin)) == 0 }), "%v", f.remembered(t, admin))
	},
}

// remembered returns what rules know about a fan.
func (f *fan) remembered(t testing.TB, p *person) map[string]any {
	t.Helper()
	return p.must(t, "rule.v1.RuleService/GetFanMemory", map[string]any{"account": f.account, "openid": f.openid})
}

// erased erases a fan and returns how much there was, by place.
func (f *fan) erased(t testing.TB, p *person) map[string]any {
	t.Helper()
	out := p.must(t, "agentrouting.v1.PrivacyService/EraseFan", map[string]any{"account": f.account, "openid": f.openid, "reason": "request of the fan"})
	erasure := out["erasure"].(map[string]any)
	require.Equal(t, true, erasure["verified"])
	counts := map[string]any{}
	for _, it := range erasure["items"].([]any) {
		item := it.(map[string]any)
		require.Contains(t, []any{nil, "0"}, item["left"], "%v", item)
		counts[item["place"].(string)] = item["erased"]
	}
	return counts
}
