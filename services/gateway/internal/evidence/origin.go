package evidence

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	tokenv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/token/v1"

	"github.com/wxbus/wxbus/pkg/bus"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/telemetry/logkey"
	"github.com/wxbus/wxbus/pkg/topology"
)

// maxForwarded bounds how many hops of X-Forwarded-For are looked at.
const maxForwarded = 16

// Proxies finds out where a request came from. Nobody changes it.
type Proxies []netip.Prefix

// Origin returns the address of the client: that of the connection, or, when that is a trusted proxy, the
// last address of X-Forwarded-For that is none. It is invalid when nobody can tell.
func (p Proxies) Origin(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	from := at.Addr().Unmap()
	if len(p) == 0 || !p.trusts(from) {
		return from
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= max(0, len(hops)-maxForwarded); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return from // what stands before was written by anybody
		}
		if from = hop.Unmap(); !p.trusts(from) {
			return from
		}
	}
	return from
}

func (p Proxies) trusts(a netip.Addr) bool { return contains(p, a) }

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Lists are the addresses that WeChat pushes from, by account, as the bucket callback_ips has them. It is
// safe for concurrent use.
type Lists struct {
	log *slog.Logger

	mu       sync.RWMutex // guards the fields below
	follower *bus.Follower
	lists    map[string][]netip.Prefix
}

// NewLists returns lists that are empty before Start.
func NewLists(log *slog.Logger) *Lists {
	return &Lists{log: log, lists: map[string][]netip.Prefix{}}
}

// Start reads the bucket callback_ips and follows it until Stop.
func (l *Lists) Start(ctx context.Context, js jetstream.JetStream) error {
	kv, err := js.KeyValue(ctx, topology.BucketCallbackIPs)
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("open bucket %s: %w", topology.BucketCallbackIPs, err))
	}
	follower := bus.NewFollower(kv, l.log, l.follow)
	l.mu.Lock()
	l.follower = follower
	l.mu.Unlock()
	return follower.Start(ctx)
}

// Stop ends following the bucket; the lists stay as they are.
func (l *Lists) Stop(ctx context.Context) error {
	l.mu.RLock()
	follower := l.follower
	l.mu.RUnlock()
	if follower == nil {
		return nil
	}
	return follower.Stop(ctx)
}

func (l *Lists) follow(entries []jetstream.KeyValueEntry) {
	for _, e := range entries {
		if e.Operation() != jetstream.KeyValuePut {
			l.set(e.Key(), nil)
			continue
		}
		ips := &tokenv1.CallbackIPs{}
		if err := proto.Unmarshal(e.Value(), ips); err != nil {
			l.log.Error("callback IPs are not readable", logkey.Account, e.Key(), logkey.Error, err)
			continue
		}
		var list []netip.Prefix
		for _, text := range ips.GetPrefixes() {
			if p, err := netip.ParsePrefix(text); err == nil {
				list = append(list, p)
			}
		}
		l.set(e.Key(), list)
	}
}

func (l *Lists) set(name string, list []netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(list) == 0 {
		delete(l.lists, name)
	} else {
		l.lists[name] = list
	}
}

// Look tells whether the account's list has the address, and whether there is a list at all.
func (l *Lists) Look(name string, a netip.Addr) (inside, known bool) {
	l.mu.RLock()
	list := l.lists[name]
	l.mu.RUnlock()
	return contains(list, a), len(list) > 0
}
