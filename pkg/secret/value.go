// Package secret keeps secrets from being printed, and seals bytes that are stored at rest.
//
// A Value never shows what it holds: fmt, log/slog, JSON, YAML and text encoders print
// "[redacted]". Only Reveal returns the secret, so a search for Reveal finds every use.
// In configuration a Value is a literal, "file:/path" or "env:NAME".
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Redacted is what a Value that holds a secret prints. An empty Value prints the empty string.
const Redacted = "[redacted]"

// maxFileSize bounds a secret file; a larger one is a wrong path.
const maxFileSize = 64 << 10

// Value holds a secret. The zero Value is empty. Values are immutable and safe for concurrent use.
type Value struct {
	// fmt prints the unexported fields of other structs by reflection, without calling our methods.
	// It follows pointers to structs, also when only a verb does not fit, but never pointers to strings.
	text   *string
	source string // "file:/path" or "env:NAME"; empty for a literal
}

// New returns a Value that holds s literally.
func New(s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{text: &s}
}

// Parse reads the configuration form: "file:/path" is the content of that file without one
// trailing newline, "env:NAME" is what lookup returns for NAME (nil means os.LookupEnv), anything
// else is the secret itself. Errors name the path or the variable, never the secret.
func Parse(text string, lookup func(string) (string, bool)) (Value, error) {
	switch {
	case text == Redacted:
		return Value{}, errors.New("is the printed form of a secret; put the secret, file:/path or env:NAME")
	case strings.HasPrefix(text, "file:"):
		s, err := readFile(strings.TrimPrefix(text, "file:"))
		if err != nil {
			return Value{}, err
		}
		return Value{text: &s, source: text}, nil
	case strings.HasPrefix(text, "env:"):
		if lookup == nil {
			lookup = os.LookupEnv
		}
		name := strings.TrimPrefix(text, "env:")
		s, ok := lookup(name)
		if !ok || s == "" {
			return Value{}, fmt.Errorf("environment variable %q is not set", name)
		}
		return Value{text: &s, source: text}, nil
	default:
		return New(text), nil
	}
}

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read secret file: %w", err)
	}
	defer func() { _ = f.Close() }() // opened for reading only
	b, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return "", fmt.Errorf("read secret file: %w", err)
	}
	if len(b) > maxFileSize {
		return "", fmt.Errorf("read secret file: %s is larger than %d bytes", path, maxFileSize)
	}
	s, cut := strings.CutSuffix(string(b), "\n")
	if cut {
		s = strings.TrimSuffix(s, "\r")
	}
	if s == "" {
		return "", fmt.Errorf("read secret file: %s is empty", path)
	}
	return s, nil
}

// Reveal returns the secret.
func (v Value) Reveal() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// Source returns "file:/path" or "env:NAME" when the secret came from there, otherwise "".
func (v Value) Source() string { return v.source }

// IsZero reports whether the Value is empty. YAML's omitempty uses it too.
func (v Value) IsZero() bool { return v.text == nil }

// Equal compares in constant time, whatever the lengths.
func (v Value) Equal(other Value) bool {
	a, b := sha256.Sum256([]byte(v.Reveal())), sha256.Sum256([]byte(other.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String returns Redacted, or "" when empty.
func (v Value) String() string {
	if v.IsZero() {
		return ""
	}
	return Redacted
}

// GoString is for %#v.
func (v Value) GoString() string { return fmt.Sprintf("secret.Value(%q)", v.String()) }

// Format covers every verb of fmt, also those that fit no string, such as %d.
func (v Value) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'v' && f.Flag('#'):
		_, _ = io.WriteString(f, v.GoString())
	case verb == 'q':
		_, _ = fmt.Fprintf(f, "%q", v.String())
	default:
		_, _ = io.WriteString(f, v.String())
	}
}

// LogValue is for log/slog.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }

// MarshalText is for encoders of text, JSON and XML.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// MarshalYAML is for YAML.
func (v Value) MarshalYAML() (any, error) { return v.String(), nil }

// UnmarshalText reads the configuration form, as Parse does with the process's environment.
func (v *Value) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text), nil)
	if err != nil {
		return err
	}
	*v = parsed
	return nil
}
