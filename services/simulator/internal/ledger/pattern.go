package ledger

import (
	"fmt"
	"strconv"
	"strings"
)

// Pattern ties a number to a text, like "k%04d". It needs exactly one verb %d, with or without a width.
type Pattern struct {
	format         string
	prefix, suffix string
}

// NewPattern checks and returns a pattern.
func NewPattern(format string) (Pattern, error) {
	at := strings.IndexByte(format, '%')
	end := strings.IndexByte(format, 'd')
	if at >= 0 {
		end = at + strings.IndexByte(format[at:]+"d", 'd')
	}
	if at < 0 || end >= len(format) || strings.Contains(format[end:], "%") || strings.Trim(format[at+1:end], "0123456789") != "" {
		return Pattern{}, fmt.Errorf("pattern %q: must contain one %%d, for example k%%04d", format)
	}
	p := Pattern{format: format, prefix: format[:at], suffix: format[end+1:]}
	if p.prefix == "" {
		return Pattern{}, fmt.Errorf("pattern %q: must start with a text before the number", format)
	}
	return p, nil
}

// Text returns the text of a number.
func (p Pattern) Text(n int) string { return fmt.Sprintf(p.format, n) }

// Number returns the number of a text that Text could have written, or 0.
func (p Pattern) Number(text string) int {
	if p.format == "" || !strings.HasPrefix(text, p.prefix) || !strings.HasSuffix(text, p.suffix) {
		return 0
	}
	digits := strings.TrimSuffix(text[len(p.prefix):], p.suffix)
	n, err := strconv.Atoi(digits)
	if err != nil || n <= 0 || p.Text(n) != text {
		return 0
	}
	return n
}
