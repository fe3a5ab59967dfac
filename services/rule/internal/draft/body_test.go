package draft

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

// TestAFileSurvivesBeingTakenApart takes a file with odd texts apart and puts it together again, twice.
func TestAFileSurvivesBeingTakenApart(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`[ \n\t#:'"{}\[\]|>&*!%@\-a-z0-9是的]{0,20}`),
		rapid.SampledFrom([]string{"", " ", "\n", " a\n b\n", "a\n\n\nb", "no", "null", "~", "1", "1e3", "2001-01-01", "- a", "a: b", "\ta", "a\n ", "\u2028", "\ufeffx"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		// JSON, because the encoder of YAML does not survive every text.
		written, err := json.Marshal(map[string]any{
			"fold": map[string]any{"x": text.Draw(t, "section")},
			"rules": []any{
				map[string]any{"do": []any{map[string]any{"reply": text.Draw(t, "reply")}}, "name": "a", "match": map[string]any{"contains": []any{text.Draw(t, "keyword"), text.Draw(t, "keyword")}}},
				map[string]any{"name": "b", "x": text.Draw(t, "x")},
			},
		})
		require.NoError(t, err)
		first, err := split(written)
		if err != nil {
			return // a text that YAML cannot hold was refused
		}
		composed := first.compose()
		second, err := split(composed)
		require.NoError(t, err, "%s", composed)
		require.Equal(t, first, second, "%s", composed)
		require.Equal(t, string(composed), string(second.compose()))
		require.Empty(t, first.compare(second).Changes)
	})
}

func TestTheOrderOfKeysAndTheStyleMeanNothing(t *testing.T) {
	t.Parallel()
	bodies := []string{
		"name: a\naccount: shop\nmatch: {contains: [x, 'y']}\ndo: [{reply: 1}]",
		"# said\ndo:\n  - reply: \"1\" # why\nmatch:\n  contains:\n    - x\n    - y\naccount: shop\nname: a\n",
	}
	var parts []part
	for _, body := range bodies {
		node, err := decode([]byte(body))
		require.NoError(t, err)
		p, err := rulePart(node, "", nil)
		require.NoError(t, err)
		parts = append(parts, p)
	}
	require.Equal(t, parts[0].digest, parts[1].digest)
	require.Equal(t, []string{"shop"}, parts[1].accounts)
	require.Equal(t, "name: a\naccount: shop\nmatch:\n  contains: [x, y]\ndo:\n  - reply: \"1\"\n", parts[1].body)
	require.Equal(t, "name: a\naccount: shop\nmatch:\n  contains: [x, y]\ndo:\n  - reply: 1\n", parts[0].body)
}

func TestMergeAddsAndChanges(t *testing.T) {
	t.Parallel()
	merged, err := Merge([]byte("fold: {a: 1}\nrules: [{name: x, do: 1}, {name: y, do: 1}]"), []byte("places: {b: 2}\nrules: [{name: z, do: 1}, {name: x, do: 2}]"))
	require.NoError(t, err)
	require.Equal(t, "fold:\n  a: 1\nplaces:\n  b: 2\nrules:\n  - name: x\n    do: 2\n  - name: y\n    do: 1\n  - name: z\n    do: 1\n", string(merged))
	_, err = Merge(nil, []byte("rules: [{do: 1}]"))
	require.ErrorContains(t, err, "have no name")
	merged, err = Merge(nil, []byte("rules: [{name: x}]"))
	require.NoError(t, err)
	require.Equal(t, "rules:\n  - name: x\n", string(merged))
}

// FuzzSplit takes files apart that package ruleset accepts: what comes together again must mean the same.
func FuzzSplit(f *testing.F) {
	examples, err := filepath.Glob("../../testdata/*.yaml")
	require.NoError(f, err)
	for _, name := range examples {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte("rules: [{match: any, do: [none]}, {name: 'rule 1', on: click, do: [{reply: |2-\n   x\n  }]}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		before, err := ruleset.Parse(text, ruleset.Options{})
		if err != nil {
			return
		}
		taken, err := split(text)
		if err != nil {
			return // it holds a text that cannot be kept, and that was said
		}
		after, err := ruleset.Parse(taken.compose(), ruleset.Options{})
		require.NoError(t, err, "%s", taken.compose())
		require.Equal(t, before, after)
	})
}
