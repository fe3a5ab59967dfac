package load

import (
	"bufio"
	"fmt"
	"io"

	"github.com/wxbus/wxbus/services/simulator/internal/ledger"
)

// WriteRules writes a rules file with one rule for each number from 1 to count: the numbered text and its reply.
// An empty account means every account.
func WriteRules(w io.Writer, count int, account string, ask, reply ledger.Pattern) error {
	if count < 1 {
		return fmt.Errorf("count: must be above 0, is %d", count)
	}
	b := bufio.NewWriter(w)
	rule := []byte("rules:\n")
	for n := 1; n <= count; n++ {
		text := ask.Text(n)
		rule = fmt.Appendf(rule, "  - name: %q\n", text)
		if account != "" {
			rule = fmt.Appendf(rule, "    account: %q\n", account)
		}
		rule = fmt.Appendf(rule, "    match: {exact: [%q]}\n    do: [{reply: {text: %q}}]\n", text, reply.Text(n))
		if _, err := b.Write(rule); err != nil {
			return fmt.Errorf("write rules: %w", err)
		}
		rule = rule[:0]
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	return nil
}
