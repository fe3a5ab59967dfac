package content

import (
	"fmt"
	"strings"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/wechat"
)

// FieldError is one wrong field.
type FieldError struct {
	// Path names the field, for example "news.articles[0].title".
	Path string
	// Reason says what is wrong with it, without its value.
	Reason string
}

func (e FieldError) Error() string { return e.Path + ": " + e.Reason }

// FieldErrors are all wrong fields of a content. errors.As finds it in the errors of this package.
type FieldErrors []FieldError

// Error joins the texts with "; ".
func (p FieldErrors) Error() string {
	texts := make([]string, len(p))
	for i, e := range p {
		texts[i] = e.Error()
	}
	return strings.Join(texts, "; ")
}

// err returns the list as fault.Invalid, or nil when it is empty.
func (p FieldErrors) err() error {
	if len(p) == 0 {
		return nil
	}
	return fault.Wrap(fault.Invalid, p)
}

// maxFieldErrors keeps the error for a hostile body short.
const maxFieldErrors = 32

func (p *FieldErrors) add(path, format string, a ...any) {
	if len(*p) == maxFieldErrors {
		return
	}
	*p = append(*p, FieldError{Path: path, Reason: fmt.Sprintf(format, a...)})
}

// require adds an error when nothing of value would be seen.
func (p *FieldErrors) require(path, value string) {
	if wechat.IsBlank(value) {
		p.add(path, "required")
	}
}
