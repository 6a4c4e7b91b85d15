package notify

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Endpoint says where a merchant takes notifications, and how it is reached. It
// prints as its scheme and host only, since a query may hold a token.
type Endpoint struct {
	// URL is posted to: https, or http as InsecureHTTP says. It has a host, and
	// neither user nor fragment.
	URL *url.URL
	// Private allows addresses within an organization too: private ranges,
	// loopback, those shared by carriers, unique local IPv6. False: only public
	// addresses. Some are never allowed, see the package's description.
	Private bool
	// InsecureHTTP permits plain http to anything but localhost and literal
	// loopback addresses. The message can then be read by everyone on the way.
	InsecureHTTP bool
	// LocalAddress is the source address. Zero: the operating system picks.
	LocalAddress netip.Addr
	// Avoid are source addresses that are somebody else's to see: nothing leaves
	// from them unless LocalAddress is one.
	Avoid []netip.Addr
	// RootCAs verify the merchant's certificate. Nil: the system's.
	RootCAs *x509.CertPool
	// Secrets returns what messages are signed with, newest first: one, or two
	// while the merchant changes over. It is called for every message, possibly
	// by several at once. Its errors must not hold a secret.
	Secrets func() ([]Secret, error)
}

// Format implements fmt.Formatter for every verb.
func (e Endpoint) Format(f fmt.State, _ rune) {
	if e.URL == nil {
		_, _ = io.WriteString(f, "endpoint without URL")
		return
	}
	_, _ = io.WriteString(f, e.URL.Scheme+"://"+e.URL.Host)
}

// target is a checked URL.
type target struct {
	url   *url.URL
	host  string // lower case, without brackets
	port  uint16
	tls   bool
	fixed []netip.Addr // of a literal address or localhost; nil: host is resolved
}

// check makes a target of an endpoint, or says what is wrong with it, without
// quoting path or query.
func (e Endpoint) check() (target, error) {
	if e.Secrets == nil {
		return target{}, errors.New("no secrets to sign with")
	}
	if err := checkURL(e.URL); err != nil {
		return target{}, err
	}
	t := target{url: new(*e.URL), host: strings.ToLower(e.URL.Hostname()), tls: e.URL.Scheme == "https"}
	var err error
	if t.port, err = port(e.URL); err != nil {
		return target{}, err
	}
	if t.fixed, err = fixedAddrs(t.host); err != nil {
		return target{}, err
	}
	for _, addr := range t.fixed {
		if err := checkAddr(addr, e.Private); err != nil {
			return target{}, fmt.Errorf("checking the host: %w", err)
		}
	}
	if err := e.checkTLS(t); err != nil {
		return target{}, err
	}
	return t, e.checkLocal(t)
}

func checkURL(u *url.URL) error {
	switch {
	case u == nil:
		return errors.New("no URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("URL scheme %q: only https and http are possible", u.Scheme)
	case u.User != nil:
		return errors.New("URL must not hold a user or password")
	case u.Fragment != "" || u.Opaque != "":
		return errors.New("URL must not have a fragment, and begin with its scheme and host")
	case u.Hostname() == "" || strings.HasSuffix(u.Host, ":"):
		return fmt.Errorf("URL host %q is incomplete", u.Host)
	case strings.ContainsFunc(u.RequestURI(), func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return errors.New("path and query of the URL must be printable ASCII without spaces: use percent encoding")
	}
	return nil
}

func port(u *url.URL) (uint16, error) {
	text := u.Port()
	if text == "" {
		text = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 {
		return 0, fmt.Errorf("bad port %q", text)
	}
	return uint16(number), nil
}

// fixedAddrs returns the addresses of hosts that need no lookup. localhost is
// one of them, by RFC 6761, section 6.3: no resolver can send it elsewhere.
func fixedAddrs(host string) ([]netip.Addr, error) {
	if host == "localhost" {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return nil, fmt.Errorf("bad host name %q", host)
		}
	}
	return nil, nil
}

func (e Endpoint) checkTLS(t target) error {
	loopback := t.fixed != nil && !slices.ContainsFunc(t.fixed, func(a netip.Addr) bool { return !a.IsLoopback() })
	switch {
	case t.tls:
		return nil
	case e.RootCAs != nil:
		return errors.New("CAs need https")
	case !loopback && !e.InsecureHTTP:
		return errors.New("plain http could be read on the way: use https, or allow it with insecure_http")
	}
	return nil
}

func (e Endpoint) checkLocal(t target) error {
	local := e.LocalAddress
	switch {
	case !local.IsValid():
		return nil
	case local.IsUnspecified() || local.IsMulticast() || local.Zone() != "" || local.Is4In6():
		return fmt.Errorf("local address %s is not a plain unicast address", local)
	case t.fixed != nil && !slices.ContainsFunc(t.fixed, sameFamily(local)):
		return fmt.Errorf("local address %s is not of the host's family", local)
	}
	return nil
}

func sameFamily(as netip.Addr) func(netip.Addr) bool {
	return func(a netip.Addr) bool { return a.Is4() == as.Is4() }
}
