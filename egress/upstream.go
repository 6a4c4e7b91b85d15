package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// upstream is where requests go, parsed and checked once.
type upstream struct {
	host     string // lower case, without brackets
	hostport string // for the Host header
	port     uint16
	tls      bool
	fixed    []netip.Addr   // of a literal address or localhost; nil: host is resolved
	allowed  []netip.Prefix // empty: any public address
}

func parseUpstream(cfg Config) (upstream, error) {
	if err := checkURL(cfg.URL); err != nil {
		return upstream{}, err
	}
	port := cfg.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[cfg.URL.Scheme]
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || port[0] == '0' { // which would make another name of the same place
		return upstream{}, fmt.Errorf("bad port %q", port)
	}
	up := upstream{
		host:     strings.ToLower(cfg.URL.Hostname()),
		hostport: strings.ToLower(cfg.URL.Host),
		port:     uint16(number),
		tls:      cfg.URL.Scheme == "https",
		allowed:  slices.Clone(cfg.Addresses),
	}
	if up.fixed, err = fixedAddresses(up.host); err != nil {
		return upstream{}, err
	}
	for _, prefix := range up.allowed {
		if !prefix.IsValid() || prefix.Addr().Is4In6() {
			return upstream{}, fmt.Errorf("bad address range %s", prefix)
		}
	}
	if up.fixed != nil {
		if _, err := up.permitted(up.fixed); err != nil {
			return upstream{}, err
		}
	}
	return up, up.checkTLS(cfg)
}

func checkURL(u *url.URL) error {
	switch {
	case u == nil:
		return errors.New("no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("URL scheme %q: only https and http are possible", u.Scheme)
	case u.User != nil:
		return errors.New("URL must not hold a user or password")
	case u.Path != "" || u.RawPath != "" || u.Opaque != "":
		return errors.New("URL must not have a path: operations bring their own")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("URL must not have a query or fragment")
	case u.Hostname() == "" || strings.HasSuffix(u.Host, ":"):
		return fmt.Errorf("URL host %q is incomplete", u.Host)
	}
	return nil
}

// checkTLS wants https, or to be told that it is not wanted.
func (u *upstream) checkTLS(cfg Config) error {
	loopback := u.fixed != nil && !slices.ContainsFunc(u.fixed, func(a netip.Addr) bool { return !a.IsLoopback() })
	switch {
	case u.tls:
		return nil
	case len(cfg.Pins) > 0 || cfg.RootCAs != nil:
		return errors.New("pins and CAs need https")
	case !loopback && !cfg.InsecureHTTP:
		return errors.New("plain http would send the key readable: use https, or allow it with insecure_http")
	}
	return nil
}

// fixedAddresses returns the addresses of hosts that need no lookup. localhost
// is one of them by RFC 6761, section 6.3: no resolver can send it elsewhere.
func fixedAddresses(host string) ([]netip.Addr, error) {
	if host == "localhost" {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil, checkName(host)
	}
	if addr = addr.Unmap(); addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "" {
		return nil, fmt.Errorf("address %s is not a single unicast address", addr)
	}
	return []netip.Addr{addr}, nil
}

// checkName accepts what can stand in a certificate and in a Host header.
func checkName(host string) error {
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return fmt.Errorf("bad host name %q", host)
		}
	}
	return nil
}

// permitted returns those of addrs that may be dialled, or why there is none.
func (u *upstream) permitted(addrs []netip.Addr) ([]netip.Addr, error) {
	var good []netip.Addr
	refused := errors.New("it has no address")
	for _, addr := range addrs {
		addr = addr.Unmap()
		if err := u.check(addr); err != nil {
			refused = err
		} else if !slices.Contains(good, addr) {
			good = append(good, addr)
		}
	}
	if len(good) == 0 {
		return nil, fmt.Errorf("refusing to dial %s: %w", u.host, refused)
	}
	return good, nil
}

func (u *upstream) check(addr netip.Addr) error {
	switch {
	case !addr.IsValid() || addr.Zone() != "":
		return fmt.Errorf("%s is not a plain address", addr)
	case len(u.allowed) > 0:
		if !slices.ContainsFunc(u.allowed, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			return fmt.Errorf("%s is not in the configured address ranges", addr)
		}
	case u.fixed == nil:
		if what := specialRange(addr); what != "" {
			return fmt.Errorf("%s is not a public address (%s)", addr, what)
		}
	}
	return nil
}
