package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// actions are the scenarios of what rules do beyond one text for one keyword.
var actions = map[string]func(*testing.T, *world){
	"what a fan wrote comes back as text and never as a link": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		f.says(t, `回声 <a href="https://evil">x</a>`)
		f.sees(t, `passive:您说：回声 ＜a href="https://evil"＞x＜/a＞`)
	},
	"a rule wins once for a fan, and the tag decides about the next": func(t *testing.T, w *world) {
		f := w.newFan(t, secureJSON)
		f.says(t, "领券")
		f.says(t, "领券")
		f.sees(t, "passive:券给您", "passive:领过了")
		other := w.newFan(t, secureJSON)
		other.says(t, "领券")
		other.sees(t, "passive:券给您")
	},
	"delayed replies come in order": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		begin := time.Now()
		f.says(t, "故事")
		f.sees(t, "passive:从前", "kf:有座山", "kf:山里有座庙")
		require.GreaterOrEqual(t, time.Since(begin), 2*time.Second)
	},
	"who writes again does not wait for a delay": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		f.says(t, "长故事")
		begin := time.Now()
		p := f.says(t, "你好")
		require.Equal(t, "passive", p.Shown, "%+v", p.Attempts)
		f.sees(t, "passive:从前", "kf:很久以后", "passive:你好，朋友")
		require.Less(t, time.Since(begin), 20*time.Second)
	},
	"a business system gives variables, and its failure has a text": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		f.says(t, "价格")
		f.says(t, "坏")
		f.sees(t, "passive:9.9 元，无", "passive:稍后再试")
	},
	"a chat model remembers": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		f.says(t, "问一")
		f.says(t, "问二")
		f.sees(t, "passive:听到 2 条", "passive:听到 4 条")
	},
	"a form is filled in over several pushes": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		for _, text := range []string{"报修", "123", "13800138000", "洗衣机", "是", "你好"} {
			f.says(t, text)
		}
		f.sees(t, "passive:手机？", "passive:请回复 11 位手机号码。\n手机？", "passive:什么？\n1. 空调\n2. 洗衣机", "passive:13800138000，洗衣机？",
			"passive:洗衣机，9.9 元起", "passive:你好，朋友")
	},
	"the nearest place is named": func(t *testing.T, w *world) {
		f := w.newFan(t, secureJSON)
		f.does(t, "location", map[string]any{"Location_X": "39.93", "Location_Y": "116.44"})
		f.does(t, "location", map[string]any{"Location_X": "45", "Location_Y": "90"})
		f.sees(t, "passive:朝阳店 1.1 km 010-1", "passive:附近没有")
	},
	"a scan of a poster and a follow by it have one scene": func(t *testing.T, w *world) {
		f := w.newFan(t, secureXML)
		f.does(t, "SCAN", map[string]any{"EventKey": "poster-7"})
		f.does(t, "unsubscribe", nil)
		f.does(t, "subscribe", map[string]any{"EventKey": "qrscene_poster-8"})
		f.sees(t, "passive:海报 poster-7", "passive:海报 poster-8")
	},
}
