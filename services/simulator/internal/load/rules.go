package load

import (
	"bufio"
	"fmt"
	"io"
	"strconv"

	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

// WriteRules writes a rules file with one rule for each number from 1 to count: the numbered text and its reply.
// An empty account means every account.
func WriteRules(w io.Writer, count int, account string, ask, reply ledger.Pattern) error {
	if count < 1 {
		return fmt.Errorf("count: must be above 0, is %d", count)
	}
	b := bufio.NewWriter(w)
	b.WriteString("rules:\n")
	for n := 1; n <= count; n++ {
		text := strconv.Quote(ask.Text(n))
		b.WriteString("  - name: " + text + "\n")
		if account != "" {
			b.WriteString("    account: " + strconv.Quote(account) + "\n")
		}
		b.WriteString("    match: {exact: [" + text + "]}\n    do: [{reply: {text: " + strconv.Quote(reply.Text(n)) + "}}]\n")
	}
	if err := b.Flush(); err != nil { // keeps the first error of all writes
		return fmt.Errorf("write rules: %w", err)
	}
	return nil
}
