package logkey_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// Keys are snake_case and mean one thing each.
func TestKeysAreDistinct(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "logkey.go", nil, 0)
	require.NoError(t, err)
	seen := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for _, v := range spec.Values {
			key, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			require.NoError(t, err)
			require.Regexp(t, `^[a-z][a-z_]*$`, key)
			require.False(t, seen[key], "%s is there twice", key)
			seen[key] = true
		}
		return true
	})
	require.NotEmpty(t, seen)
}
