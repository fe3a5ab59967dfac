package allinone

import (
	"crypto/rand"
	_ "embed" // the demo's files are embedded
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed demo/wxbus.yaml
var demoConfig []byte

//go:embed demo/rules.yaml
var demoRules []byte

// DemoConfig returns the configuration of wxbus up --demo. It writes the demo's rule file and a fresh
// master key below dir when they are missing; both may be edited.
func DemoConfig(dir string) ([]byte, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("prepare the data directory: %w", err)
	}
	rules := filepath.Join(dir, "rules.yaml")
	if err := writeOnce(rules, func() ([]byte, error) { return demoRules, nil }); err != nil {
		return nil, err
	}
	key := filepath.Join(dir, "master.key")
	if err := writeOnce(key, newMasterKey); err != nil {
		return nil, err
	}
	own := fmt.Sprintf("data: %q\nrules_file: %q\nmaster_key: %q\n", dir, rules, "file:"+key)
	return append([]byte(own), demoConfig...), nil
}

func newMasterKey() ([]byte, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	return []byte(base64.StdEncoding.EncodeToString(key) + "\n"), nil
}

func writeOnce(name string, content func() ([]byte, error)) error {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b, err := content()
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		return fmt.Errorf("prepare the demo: %w", err)
	}
	return nil
}
