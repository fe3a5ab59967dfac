package pusher

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// checkTargets refuses targets that are not on this machine, unless the configuration names their host.
func checkTargets(cfg Config) error {
	var errs []error
	for i, t := range cfg.Targets {
		at := "targets[" + strconv.Itoa(i) + "]: "
		u, err := url.Parse(t)
		switch {
		case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
			errs = append(errs, errors.New(at+"must be an http or https URL"))
		case !isLoopback(u.Hostname()) && !slices.Contains(cfg.AllowRemote, u.Hostname()):
			errs = append(errs, fmt.Errorf("%shost %q is not this machine; the simulator pushes to other hosts only when simulator.allow_remote names them", at, u.Hostname()))
		}
	}
	return errors.Join(errs...)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// idleTime is below the time after which servers close a connection that never carried a request (Go's ReadHeaderTimeout,
// often 2 s): an attempt on such a connection would fail by our own doing.
const idleTime = 1500 * time.Millisecond

// newClient returns a client that keeps connections as WeChat does and follows no redirect.
// With onlyLoopback the dialler refuses every other address, whatever a name resolves to.
func newClient(onlyLoopback bool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	if onlyLoopback {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil || !ap.Addr().IsLoopback() {
				return errors.New("address is not loopback")
			}
			return nil
		}
	}
	return &http.Client{
		Transport:     &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 1024, IdleConnTimeout: idleTime, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
