package egress

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// dialer refuses addresses that must not be reached. The check runs on the resolved address of
// each connection, so a name that resolves differently the second time does not get around it.
func dialer(allowPrivate bool) *net.Dialer {
	return &net.Dialer{
		Timeout:   5 * time.Second,
		KeepAlive: 30 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !reachable(at.Addr(), allowPrivate) {
				return &forbiddenError{}
			}
			return nil
		},
	}
}

type forbiddenError struct{}

func (*forbiddenError) Error() string { return "the address is not one that may be called" }

// special are networks that are not private by name and still no business system.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),  // protocol assignments
	netip.MustParsePrefix("198.18.0.0/15"), // benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),   // reserved and broadcast
	netip.MustParsePrefix("64:ff9b::/96"),  // NAT64 and the next two hide an IPv4 address
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("2001::/32"),
	netip.MustParsePrefix("::/96"),
}

// reachable tells whether a call may connect to an address. Link-local addresses, where clouds
// keep their credentials, are never reachable.
func reachable(a netip.Addr, allowPrivate bool) bool {
	a = a.Unmap()
	if a.IsLoopback() || a.IsPrivate() {
		return allowPrivate
	}
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return false
	}
	for _, network := range special {
		if network.Contains(a) {
			return false
		}
	}
	return true
}

// literalPrivate tells whether host is written as an address that is not reachable, or as localhost.
func literalPrivate(host string) bool {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
	}
	return !reachable(a, false)
}
