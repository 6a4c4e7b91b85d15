package notify

import (
	"fmt"
	"net/netip"
)

// ranges are the addresses that are not public, by IANA's registries for special
// purposes, and those where clouds tell machines their credentials. The first
// that holds an address decides.
var ranges = []struct {
	prefix  netip.Prefix
	what    string
	private bool // may be dialled where private addresses are allowed
}{
	// Metadata, in ranges that are otherwise allowed.
	{netip.MustParsePrefix("100.100.100.200/32"), "cloud metadata", false},
	{netip.MustParsePrefix("168.63.129.16/32"), "cloud metadata", false},
	{netip.MustParsePrefix("fd00:ec2::/32"), "cloud metadata", false},
	{netip.MustParsePrefix("fd00:42::42/128"), "cloud metadata", false},
	{netip.MustParsePrefix("fd20:ce::254/128"), "cloud metadata", false},

	{netip.MustParsePrefix("10.0.0.0/8"), "private", true},
	{netip.MustParsePrefix("172.16.0.0/12"), "private", true},
	{netip.MustParsePrefix("192.168.0.0/16"), "private", true},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by carriers", true},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback", true},
	{netip.MustParsePrefix("::1/128"), "loopback", true},
	{netip.MustParsePrefix("fc00::/7"), "private", true},

	{netip.MustParsePrefix("0.0.0.0/8"), "this network", false},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local", false},
	{netip.MustParsePrefix("192.0.0.0/24"), "for protocols", false}, // and one cloud's metadata
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation", false},
	{netip.MustParsePrefix("192.31.196.0/24"), "AS112", false},
	{netip.MustParsePrefix("192.52.193.0/24"), "AMT", false},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4", false},
	{netip.MustParsePrefix("192.175.48.0/24"), "AS112", false},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarks", false},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation", false},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation", false},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast", false},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved", false},

	{netip.MustParsePrefix("::/96"), "unspecified or carrying IPv4", false},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64", false},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "NAT64", false},
	{netip.MustParsePrefix("2001::/23"), "for protocols, or Teredo", false},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation", false},
	{netip.MustParsePrefix("2002::/16"), "6to4", false},
	{netip.MustParsePrefix("2620:4f:8000::/48"), "AS112", false},
	{netip.MustParsePrefix("3fff::/20"), "documentation", false},
	{netip.MustParsePrefix("fe80::/10"), "link-local", false},
	{netip.MustParsePrefix("fec0::/10"), "site-local", false},
	{netip.MustParsePrefix("ff00::/8"), "multicast", false},

	// What IANA has not given out as unicast, all but 2000::/3, is nobody's.
	{netip.MustParsePrefix("::/3"), "not given out", false},
	{netip.MustParsePrefix("4000::/2"), "not given out", false},
	{netip.MustParsePrefix("8000::/1"), "not given out", false},
}

// checkAddr says why addr may not be dialled. addr is one that went through
// Unmap. The error wraps ErrAddress.
func checkAddr(addr netip.Addr, private bool) error {
	if !addr.IsValid() || addr.Is4In6() || addr.Zone() != "" {
		return fmt.Errorf("%w: it is no plain address", ErrAddress)
	}
	for _, r := range ranges {
		if r.prefix.Contains(addr) {
			if r.private && private {
				return nil
			}
			return fmt.Errorf("%w: %s is in %s (%s)", ErrAddress, addr, r.prefix, r.what)
		}
	}
	return nil
}
