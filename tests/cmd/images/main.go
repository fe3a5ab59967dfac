// Command images makes the OCI image of each static binary that it is given:
//
//	images -out bin/images -registry wxbus.local -tag dev -version v1.2.3 -created 1764300000 bin/static/gateway ...
//
// For each it writes an OCI layout OUT/NAME, and beside it the bill of materials OUT/NAME.cdx.json. It prints name,
// digest and size.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/wxbus/wxbus/tests/image"
)

// descriptions of the images, by binary.
var descriptions = map[string]string{
	"gateway":       "takes the pushes of WeChat and answers them",
	"rule":          "decides about each push",
	"token":         "keeps access tokens and accounts",
	"sender":        "sends messages to WeChat",
	"agent-routing": "the desk: queues, agents, conversations",
	"console":       "page, API and events out",
	"simulator":     "plays WeChat for tests",
	"wxbus":         "every service in one process, and the command line",
	"nats-server":   "the NATS server that wxbus is tested with",
}

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("images", flag.ContinueOnError)
	fs.SetOutput(stderr)
	out := fs.String("out", "bin/images", "`folder` for the layouts")
	registry := fs.String("registry", "wxbus.local", "`prefix` of the names of the images")
	tag := fs.String("tag", "dev", "tag of the images")
	version := fs.String("version", "dev", "version for the labels")
	revision := fs.String("revision", "", "commit for the labels")
	created := fs.Int64("created", 0, "time of the commit in Unix `seconds`")
	if err := fs.Parse(args); err != nil {
		return err
	}
	for _, binary := range fs.Args() {
		name := filepath.Base(binary)
		img, bom, err := image.Build(image.Spec{
			Binary: binary, Title: "wxbus " + name, Description: descriptions[name],
			Version: *version, Revision: *revision, Created: time.Unix(*created, 0).UTC(),
		})
		if err != nil {
			return err
		}
		ref := fmt.Sprintf("%s/%s:%s", *registry, name, *tag)
		if err := image.Write(filepath.Join(*out, name), ref, img); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(*out, name+".cdx.json"), bom, 0o644); err != nil {
			return fmt.Errorf("write bill of materials: %w", err)
		}
		if err := describe(stdout, ref, img); err != nil {
			return err
		}
	}
	return nil
}

func describe(w io.Writer, ref string, img v1.Image) error {
	digest, err := img.Digest()
	if err != nil {
		return fmt.Errorf("digest of %s: %w", ref, err)
	}
	layers, err := img.Layers()
	if err != nil {
		return fmt.Errorf("layers of %s: %w", ref, err)
	}
	var packed int64
	for _, l := range layers {
		n, err := l.Size()
		if err != nil {
			return fmt.Errorf("size of %s: %w", ref, err)
		}
		packed += n
	}
	fmt.Fprintf(w, "%-32s %s %6.1f MB\n", ref, digest, float64(packed)/1e6)
	return nil
}
