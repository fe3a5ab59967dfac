// Command vulndb lays the reports of golang.org/x/vulndb out as a database for govulncheck, for machines that reach a
// Go module proxy but not vuln.go.dev:
//
//	vulndb -osv DIR -out DIR
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report is what the index needs of an OSV report.
type report struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Affected []struct {
		Package struct{ Name string }
		Ranges  []struct {
			Events []struct{ Fixed string }
		}
	}
}

type vulnerability struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Fixed    string    `json:"fixed,omitempty"`
}

type module struct {
	Path  string          `json:"path"`
	Vulns []vulnerability `json:"vulns"`
}

func main() {
	osv, out := flag.String("osv", "", "folder with OSV reports, data/osv of golang.org/x/vulndb"), flag.String("out", "", "folder of the database")
	flag.Parse()
	if err := run(*osv, *out); err != nil {
		fmt.Fprintln(os.Stderr, "vulndb:", err)
		os.Exit(1)
	}
}

func run(osv, out string) error {
	files, err := filepath.Glob(filepath.Join(osv, "GO-*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no reports in %q: %w", osv, err)
	}
	for _, dir := range []string{"ID", "index"} {
		if err := os.MkdirAll(filepath.Join(out, dir), 0o750); err != nil {
			return err
		}
	}
	modules, newest := map[string]*module{}, time.Time{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("read %s: %w", f, err)
		}
		if r.Modified.After(newest) {
			newest = r.Modified
		}
		r.enter(modules)
		if err := os.WriteFile(filepath.Join(out, "ID", r.ID+".json"), text, 0o600); err != nil {
			return err
		}
	}
	var list []*module
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		list = append(list, modules[path])
	}
	return write(out, map[string]any{
		"index/db.json": map[string]any{"modified": newest}, "index/modules.json": list,
	})
}

// enter adds the report to the modules that it names.
func (r report) enter(modules map[string]*module) {
	seen := map[string]bool{}
	for _, a := range r.Affected {
		name := a.Package.Name
		if seen[name] {
			continue
		}
		seen[name] = true
		v := vulnerability{ID: r.ID, Modified: r.Modified}
		for _, ranges := range a.Ranges {
			for _, e := range ranges.Events {
				if e.Fixed != "" {
					v.Fixed = strings.TrimPrefix(e.Fixed, "v")
				}
			}
		}
		if modules[name] == nil {
			modules[name] = &module{Path: name}
		}
		modules[name].Vulns = append(modules[name].Vulns, v)
	}
}

func write(out string, files map[string]any) error {
	for name, content := range files {
		b, err := json.Marshal(content)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
