package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"

	"github.com/wxbus/wxbus/pkg/secret"
)

// Secret is a value that is never printed; see package secret.
type Secret = secret.Value

// KnownSections are the sections that the file may contain for other processes.
var knownSections = []string{"gateway", "rule", "token", "sender", "agent_routing", "console", "simulator"}

// KnownSections returns the names of the sections that a file may contain; those that the
// process does not run are skipped.
func KnownSections() []string { return slices.Clone(knownSections) }

// maxFileSize bounds the configuration file in bytes.
const maxFileSize = 4 << 20

// Section is the part of the file that belongs to one service.
type Section struct {
	// Name is the key at the top of the file, for example "agent_routing".
	Name string
	// Into points to the service's Config, filled with its defaults.
	Into any
	// Validate checks the loaded Config; every error starts with a path inside the section. When it is
	// nil, the method Validate() error of Into is used if there is one. Do not pass a bound
	// method with a value receiver: it would check the copy from before the loading.
	Validate func() error
}

// LoadOptions say where configuration comes from.
type LoadOptions struct {
	// File is the path of the YAML file; "" for none.
	File string
	// Content is used instead of reading File, which then is only a name for errors.
	Content []byte
	// Env is the environment in the form of os.Environ; also env:NAME of secrets is looked up in it.
	Env []string
	// IgnoreEnv are variables with our prefix that are no configuration, exact or ending in *.
	// WXBUS_CONFIG and WXBUS_TEST_* always are.
	IgnoreEnv []string
	// Overrides are flags by dotted path, for example "nats.listen". A list index is a part: "accounts.0.token".
	Overrides map[string]any
	// Known are names of sections that are skipped when no Section is passed for them; nil means KnownSections.
	Known []string
}

// Load reads the layers into shared and the sections, whose current values are the defaults; a
// zero shared is first set to DefaultShared. It then validates everything and returns all errors
// joined, or nil. After an error the targets must not be used.
func Load(ctx context.Context, opts LoadOptions, shared *Shared, sections ...Section) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if reflect.ValueOf(*shared).IsZero() {
		*shared = DefaultShared()
	}
	root, err := rootOf(shared, sections)
	if err != nil {
		return err
	}
	root.skipped = skippedSections(opts.Known, sections)
	l := &loader{opts: opts, root: root, origins: map[string]string{}}
	if err := l.layers(); err != nil {
		return err
	}
	d := decoder{lookup: lookupIn(opts.Env), report: l.problems.add}
	d.object(root, l.values.Raw(), reflect.Value{}, "")
	l.validate(shared, sections)
	return l.problems.join(l.origins)
}

// loader collects values, their origins and problems layer by layer.
type loader struct {
	opts     LoadOptions
	root     *node
	values   *koanf.Koanf
	origins  map[string]string
	problems problems
}

// layers merges file, environment and overrides. Only a file that cannot be read or parsed is
// returned as an error; everything else is collected.
func (l *loader) layers() error {
	l.values = koanf.New(".")
	content, err := l.content()
	if err != nil {
		return err
	}
	for _, layer := range []func(map[string]any) (map[string]any, error){
		func(map[string]any) (map[string]any, error) { return l.fromFile(content) },
		l.fromEnv,
		l.fromOverrides,
	} {
		if err := l.values.Load(provider{base: l.values.Raw(), read: layer}, nil); err != nil {
			return err
		}
	}
	return nil
}

// provider is a layer for koanf. It sees the layers below, because an element of a list can only
// be changed by giving the whole list again.
type provider struct {
	base map[string]any
	read func(base map[string]any) (map[string]any, error)
}

// ReadBytes is never called: layers come parsed.
func (p provider) ReadBytes() ([]byte, error) { return nil, errors.ErrUnsupported }

// Read returns the layer.
func (p provider) Read() (map[string]any, error) { return p.read(p.base) }

func (l *loader) content() ([]byte, error) {
	if l.opts.Content != nil || l.opts.File == "" {
		return l.opts.Content, nil
	}
	f, err := os.Open(l.opts.File)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer func() { _ = f.Close() }() // opened for reading only
	b, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return b, nil
}

// validate runs the checks of shared and of every section, and drops what they say about values
// that already could not be decoded.
func (l *loader) validate(shared *Shared, sections []Section) {
	undecoded := l.problems.covers()
	add := func(section string, err error) {
		for _, e := range flatten(err) {
			path, text := splitPath(e.Error())
			if section != "" {
				path = strings.TrimSuffix(section+"."+path, ".")
			}
			if !undecoded(path) {
				l.problems.add(path, text)
			}
		}
	}
	add("", shared.Validate())
	for _, s := range sections {
		validate := s.Validate
		if v, ok := s.Into.(interface{ Validate() error }); ok && validate == nil {
			validate = v.Validate
		}
		if validate != nil {
			add(s.Name, validate())
		}
	}
}

func skippedSections(known []string, sections []Section) map[string]bool {
	if known == nil {
		known = knownSections
	}
	skipped := map[string]bool{}
	for _, name := range known {
		skipped[name] = true
	}
	for _, s := range sections {
		delete(skipped, s.Name)
	}
	return skipped
}
