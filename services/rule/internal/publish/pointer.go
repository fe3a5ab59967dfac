// Package publish keeps published rule sets and makes one of them live for every replica.
//
// A set is two objects in the store rule_sets: the rule file, named by its version, and the same rules
// in a form that loads fast. The key live of the bucket rules points to the live version and lists the
// kept ones; it changes by compare-and-set only. Every replica follows it, loads what it points to beside
// its work, and swaps the compiled set at once.
package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
)

// keyLive is the key of the pointer.
const keyLive = "live"

// Bounds of the versions that can be rolled back to; the last two always can.
const (
	kept      = 50
	keptBytes = 192 << 20 // of the object store, which has a bound of its own
)

// Sources of a set.
const (
	SourceAPI   = "api"
	SourceDraft = "draft"
	SourceFile  = "file"
)

// Info describes one published version.
type Info struct {
	Version   string    `json:"version"`
	Object    string    `json:"object"`   // name in the object store; no two publications share one
	SHA256    string    `json:"sha256"`   // of the rule file
	Compiled  string    `json:"compiled"` // SHA-256 of the form that loads fast
	Rules     int       `json:"rules"`
	Bytes     int64     `json:"bytes"` // of both objects
	Published time.Time `json:"published"`
	Note      string    `json:"note,omitempty"`
	Source    string    `json:"source"`
	By        string    `json:"by,omitempty"` // who published it
}

// Pointer is the value of the key live.
type Pointer struct {
	Live string `json:"live"`
	// Sequence counts publications, so that no two versions have the same name.
	Sequence uint64 `json:"sequence"`
	// Sets are the kept versions, newest first.
	Sets []Info `json:"sets"`
	// RolledBack says who made a kept version live again, and when; nil when Live was published last.
	RolledBack *RollBack `json:"rolled_back,omitempty"`
}

// RollBack is how a version became live again.
type RollBack struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Find returns a kept version.
func (p Pointer) Find(version string) (Info, bool) {
	i := slices.IndexFunc(p.Sets, func(s Info) bool { return s.Version == version })
	if i < 0 {
		return Info{}, false
	}
	return p.Sets[i], true
}

// WantsFile tells whether the rules file of the configuration is to be published: when nothing is live,
// or when what is live came from it and it has changed since it was published last. So rules that were
// published by hand, and roll-backs, survive a restart.
func (p Pointer) WantsFile(file []byte) bool {
	live, ok := p.Find(p.Live)
	if !ok {
		return true
	}
	last := slices.IndexFunc(p.Sets, func(s Info) bool { return s.Source == SourceFile })
	return live.Source == SourceFile && p.Sets[last].SHA256 != sum(file)
}

// with returns the pointer after a publication and the versions that are no longer kept.
func (p Pointer) with(info Info) (next Pointer, dropped []Info) {
	sets := slices.Insert(slices.Clone(p.Sets), 0, info)
	keep, total := 0, int64(0)
	for keep < len(sets) && keep < kept && (keep < 2 || total+sets[keep].Bytes <= keptBytes) {
		total += sets[keep].Bytes
		keep++
	}
	return Pointer{Live: info.Version, Sequence: p.Sequence + 1, Sets: sets[:keep]}, sets[keep:]
}

// sum returns the hash that identifies a rule file.
func sum(file []byte) string {
	h := sha256.Sum256(file)
	return hex.EncodeToString(h[:])
}

// versionOf names a publication: a short hash of the content and its number.
func versionOf(hash string, sequence uint64) string {
	return fmt.Sprintf("%s-%d", hash[:8], sequence)
}

func decodePointer(value []byte) (Pointer, error) {
	var p Pointer
	if err := json.Unmarshal(value, &p); err != nil {
		return Pointer{}, fault.Errorf(fault.Permanent, "decode the pointer to the live rules: %w", err)
	}
	if _, ok := p.Find(p.Live); !ok {
		return Pointer{}, fault.Errorf(fault.Permanent, "the live rules %q are not among the kept ones", p.Live)
	}
	return p, nil
}
