package image

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// own is the path below which modules belong to this repository; they have the version of the release.
const own = "github.com/wxbus/wxbus"

// opencoreAMR is the decoder of voices, which is no Go module: its source was translated (scripts/amr).
var opencoreAMR = cdx.Component{
	BOMRef: "opencore-amr", Type: cdx.ComponentTypeLibrary, Name: "opencore-amr", Version: "0.1.6", PackageURL: "pkg:generic/opencore-amr@0.1.6",
	Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
}

// translated are the binaries with it.
var translated = map[string]bool{"agent-routing": true, "wxbus": true}

// billOfMaterials lists what the linker put into the binary: the program, each module, and the standard library.
func billOfMaterials(s Spec, info *buildinfo.BuildInfo, content []byte) ([]byte, error) {
	sum := sha256.Sum256(content)
	name := path.Base(filepath.ToSlash(s.Binary))
	main := cdx.Component{
		BOMRef: name, Type: cdx.ComponentTypeApplication, Name: name, Version: s.Version, Description: s.Description,
		PackageURL: packageURL(info.Main.Path, s.Version),
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
		Licenses:   &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
	}
	components := []cdx.Component{component("std", strings.TrimPrefix(info.GoVersion, "go"))}
	for _, m := range info.Deps {
		if m.Replace != nil && m.Replace.Version != "" {
			m = m.Replace
		}
		version := m.Version
		if strings.HasPrefix(m.Path, own) {
			version = s.Version
		}
		components = append(components, component(m.Path, version))
	}
	if translated[name] {
		components = append(components, opencoreAMR)
	}
	needs := make([]string, len(components))
	for i, c := range components {
		needs[i] = c.BOMRef
	}
	bom := cdx.NewBOM()
	bom.SerialNumber = serialNumber(sum)
	bom.Metadata = &cdx.Metadata{Timestamp: s.Created.UTC().Format(time.RFC3339), Component: &main}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: name, Dependencies: &needs}}
	var b bytes.Buffer
	if err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return nil, fmt.Errorf("write bill of materials: %w", err)
	}
	return b.Bytes(), nil
}

func component(module, version string) cdx.Component {
	return cdx.Component{BOMRef: module, Type: cdx.ComponentTypeLibrary, Name: module, Version: version, PackageURL: packageURL(module, version)}
}

func packageURL(module, version string) string { return "pkg:golang/" + module + "@" + version }

// serialNumber is a UUID that follows from the binary, so that the same binary has the same bill.
func serialNumber(sum [sha256.Size]byte) string {
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80 // version 8: made by the application's own rule
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
