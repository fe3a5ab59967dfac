package wechat_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/wechat"
)

// classOfCell reads the class column of the protocol's table.
func classOfCell(t *testing.T, cell string, code int) wechat.Class {
	t.Helper()
	switch cell {
	case "P (65408, 65411 = I)":
		if code == 65408 || code == 65411 {
			return wechat.ClassSuccess
		}
		return wechat.ClassRequest
	case "T(component)":
		return wechat.ClassComponentToken
	case "R after next ticket push":
		return wechat.ClassTicket
	case "re-upload, retry once, else P", "P (re-upload)":
		return wechat.ClassMedia
	case "restart login":
		return wechat.ClassLogin
	case "restart authorisation":
		return wechat.ClassAuthorization
	case "ignore":
		return wechat.ClassIgnore
	case "treat as routed; refresh state":
		return wechat.ClassRouted
	case "choose another agent / queue":
		return wechat.ClassAgentOffline
	}
	letter, _, _ := strings.Cut(cell, " ")
	class, ok := map[string]wechat.Class{
		"I": wechat.ClassSuccess, "R": wechat.ClassTransient, "T": wechat.ClassToken, "W": wechat.ClassRate,
		"D": wechat.ClassQuota, "U": wechat.ClassRecipient, "P": wechat.ClassRequest,
		"C": wechat.ClassAccount, "A": wechat.ClassConfirm,
	}[letter]
	require.True(t, ok, "class %q", cell)
	return class
}

// codesOfCell reads the code column: single codes, ranges, and lists of both.
func codesOfCell(t *testing.T, cell string) []int {
	t.Helper()
	var codes []int
	for _, item := range strings.FieldsFunc(cell, func(r rune) bool { return r == '/' || r == ',' }) {
		first, last, isRange := strings.Cut(strings.TrimSpace(item), "–")
		if first == "absent" {
			continue
		}
		from, err := strconv.Atoi(first)
		require.NoError(t, err, cell)
		to := from
		if isRange {
			to, err = strconv.Atoi(last)
			require.NoError(t, err, cell)
		}
		for code := from; code <= to; code++ {
			codes = append(codes, code)
		}
	}
	return codes
}

// TestClassifyFollowsTheProtocolTable reads the table of the protocol sheet, every row of it, and then
// tries all codes around: what is not in the table is unknown.
func TestClassifyFollowsTheProtocolTable(t *testing.T) {
	table, err := os.ReadFile("testdata/errcodes/table.md")
	require.NoError(t, err)
	listed := make(map[int]bool)
	rows := 0
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "code" {
			continue
		}
		code, class := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[3])
		rows++
		if code == "unknown" {
			continue
		}
		for _, c := range codesOfCell(t, code) {
			listed[c] = true
			require.Equal(t, classOfCell(t, class, c), wechat.Classify(c), "code %d: %s", c, line)
			require.NotEmpty(t, wechat.Meaning(c), "code %d", c)
		}
	}
	require.Equal(t, 109, rows, "a row was not read")
	for code := -5; code < 100_000; code++ {
		if !listed[code] {
			require.Equal(t, wechat.ClassUnknown, wechat.Classify(code), "code %d", code)
		}
	}
}

func TestClassNames(t *testing.T) {
	require.Equal(t, "unknown", wechat.ClassUnknown.String())
	require.Equal(t, "agent_offline", wechat.ClassAgentOffline.String())
	require.Equal(t, "unknown", wechat.Class(200).String())
}
