package chaos

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"
	"github.com/wxbus/wxbus/pkg/topology"

	"github.com/wxbus/wxbus/tests/chaos/record"
	"github.com/wxbus/wxbus/tests/readback"
	"github.com/wxbus/wxbus/tests/stack"
)

// The accounts: two answer passively, one by the customer-service API only, and so does one whose quota is used up.
const (
	passiveXML  = "one"
	passiveJSON = "two"
	byAPI       = "ack"
	small       = "small"
)

func accounts() []string { return []string{passiveXML, passiveJSON, byAPI} }

const (
	encodingKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	sendPath    = "/cgi-bin/message/custom/send"
	tokenPath   = "/cgi-bin/stable_token"
)

// numbers is how many questions the rules answer; each fan asks them in order.
const numbers = 500

// Limits of the sender, which expectations refer to.
const (
	apiRate     = 500 // calls a second of an account
	apiInFlight = 64
)

// system is a running system in which trials take place.
type system struct {
	*stack.Stack
	world  world
	js     jetstream.JetStream
	stores []string // folders of the NATS servers
	disks  []string // file systems of the NATS servers, in the world of disks
	commit string
}

// replicas of each service.
const replicas = 2

func start(t *testing.T, w world) *system {
	t.Helper()
	began := time.Now()
	s := &system{world: w, commit: commit(t)}
	config := configuration()
	if w == disks {
		for i := range 3 {
			s.disks = append(s.disks, mountDisk(t, i))
		}
		config["nats"] = map[string]any{"max_store": diskStore}
	}
	s.stores = s.folders(t)
	off := map[string]time.Duration{}
	if w == clocks {
		off = wrongClocks()
		config["gateway"] = map[string]any{"timestamp_tolerance": tolerance.String()}
	}
	o := stack.Options{
		Mode: stack.Split, Config: config, Rules: "rules: []\n", Gateways: 3, Balance: true, SQL: sqldbtest.URL(t).Reveal(),
		Replicas: map[string]int{"token": replicas, "sender": replicas, "agent-routing": replicas, "rule": replicas, "console": replicas},
		Network:  w == wires, API: w == usual, Clocks: off, Store: func(i int) string { return s.stores[i] },
	}
	s.Stack = stack.Start(t, o)
	nc, err := nats.Connect(strings.Join(s.NATS, ","), nats.Timeout(5*time.Second), nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	s.js, err = jetstream.New(nc)
	require.NoError(t, err)
	s.PublishNumberedRules(t, passiveXML, numbers)
	t.Logf("started in %s", time.Since(began).Round(time.Millisecond))
	return s
}

// folders returns where the NATS servers keep their data.
func (s *system) folders(t *testing.T) (out []string) {
	if s.disks != nil {
		for _, disk := range s.disks {
			out = append(out, filepath.Join(disk, "data"))
		}
		return out
	}
	dir := t.TempDir()
	for i := range 3 {
		out = append(out, filepath.Join(dir, fmt.Sprintf("nats-%d", i)))
	}
	return out
}

// configuration has WeChat's own times and the defaults of the services, but for the rate of an account: the
// usual 100 calls a second are less than what the load asks for.
func configuration() map[string]any {
	var list []map[string]any
	for i, name := range append(accounts(), small) {
		reply := "passive"
		if name == byAPI || name == small {
			reply = "ack"
		}
		list = append(list, map[string]any{
			"name": name, "appid": appID(name), "original_id": "gh_" + name, "kind": "service",
			"format": []string{"xml", "json"}[i%2], "mode": "secure", "token": "token" + name,
			"encoding_aes_key": encodingKey, "app_secret": "secret-of-" + name, "reply": reply,
		})
	}
	return map[string]any{
		"accounts":  list,
		"simulator": map[string]any{"demo_fans": 0, "keep_pushes": 400_000},
		"sender":    map[string]any{"pace": map[string]any{"rate": apiRate, "burst": apiRate, "in_flight": apiInFlight}},
	}
}

func appID(name string) string { return fmt.Sprintf("wx%016x", 0xc4a05+len(name)*256+int(name[0])) }

func commit(t *testing.T) string {
	out, err := exec.CommandContext(t.Context(), "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// run makes one trial. ok is false when the system cannot be used any more.
func (s *system) run(t *testing.T, r row, n int) (rec record.Record, ok bool) {
	t.Helper()
	t.Run(fmt.Sprintf("row %d trial %d: %s", r.number, n, r.name), func(t *testing.T) {
		x := newTrial(t, s, r, n)
		x.warm()
		x.push()
		x.judge()
		rec, ok = x.record, true // it is at rest, whatever was found
		x.explain()
	})
	return rec, ok
}

// restLimit is after which time a trial is given up as one that never comes to rest. It is no expectation: a
// message whose worker was killed comes again after half a minute, and up to five times.
const restLimit = 6 * time.Minute

// waitForRest returns when no service has anything left to do.
func (s *system) waitForRest(t *testing.T) {
	t.Helper()
	readback.WaitForRest(t, s.js, restLimit, topology.StreamInbound, topology.StreamSpill, topology.StreamDecisions, topology.StreamOutbound, topology.StreamDelivery)
}

// leader returns the server that leads a stream.
func (s *system) leader(t *testing.T, stream string) int {
	t.Helper()
	found := -1
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		info, err := s.js.Stream(ctx, stream)
		if err != nil || info.CachedInfo().Cluster == nil {
			return false
		}
		_, err = fmt.Sscanf(info.CachedInfo().Cluster.Leader, "nats-%d", &found)
		return err == nil
	}, patience, 100*time.Millisecond, "%s has no leader", stream)
	return found
}

// tokens is what WeChat knows about an account's tokens.
type tokens struct {
	Minted int `json:"minted"`
	Forced int `json:"forced_today"`
}

func (x *trial) tokens(account string) tokens {
	x.t.Helper()
	var list []struct {
		Name   string `json:"name"`
		Tokens tokens `json:"tokens"`
	}
	x.Sim(x.t, http.MethodGet, "/sim/v1/accounts", nil, &list)
	for _, a := range list {
		if a.Name == account {
			return a.Tokens
		}
	}
	x.t.Fatalf("the simulator has no account %s", account)
	return tokens{}
}
