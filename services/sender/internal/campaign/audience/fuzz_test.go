package audience

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzTable checks that no file makes the reader fail, lose count of lines, or return a row that does not fit
// the first line, and that it agrees with encoding/csv on files that both understand.
func FuzzTable(f *testing.F) {
	for _, seed := range []string{
		"openid\noOne\n", "openid,name\r\noOne,\"a,\"\"b\"\r\n", "\xef\xbb\xbfname;openid\nWang;oOne", "name\topenid\nx\ty\n\n\n",
		"openid,name\noOne,\"open\noTwo,b\n", "openid,name,name\n", "openid,name\n\xff,\x00\n", "", "\n", "openid,name\n" + strings.Repeat("a", 9000) + ",b\noTwo,c\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		report := newReport()
		table, err := newTable(bytes.NewReader(file), []string{"name"}, report)
		if err != nil {
			require.ErrorIs(t, err, errHeader)
			require.NotEmpty(t, report.problems)
			return
		}
		var rows []row
		last := uint32(1)
		for {
			r, err := table.row()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.Greater(t, r.line, last)
			last = r.line
			if r.kind == "" {
				require.Len(t, r.values, 1)
			} else {
				require.NotEmpty(t, r.text)
			}
			rows = append(rows, r)
		}
		require.LessOrEqual(t, int(last), bytes.Count(file, []byte("\n"))+1)
		agree(t, file, table, rows)
	})
}

// agree compares with the standard library where no value goes over a line and no line is odd.
func agree(t *testing.T, file []byte, table *table, rows []row) {
	for _, r := range rows {
		if r.kind != "" {
			return
		}
	}
	std := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(file, []byte("\xef\xbb\xbf"))))
	std.Comma, std.FieldsPerRecord = rune(table.comma), -1
	records, err := std.ReadAll()
	if err != nil || bytes.Contains(file, []byte("\r")) || len(records) != len(rows)+1 {
		return // blank lines and values over lines are read differently, on purpose
	}
	for i, r := range rows {
		require.Equal(t, strings.TrimSpace(records[i+1][table.openid]), r.openid)
		require.Equal(t, strings.TrimSpace(records[i+1][table.wanted[0]]), r.values[0])
	}
}
