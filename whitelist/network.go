package whitelist

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// anywhere is the word for every address; 0.0.0.0/0 and ::/0 are not accepted
// in its place, so that an open door is seen when the configuration is read.
const anywhere = "anywhere"

// ParseNetwork parses a network in CIDR notation, or a single address, which
// is the network of that address alone. The result is masked, unmapped
// (::ffff:10.0.0.0/104 is 10.0.0.0/8) and has no zone. Refused, each with what
// to write instead: bits set beyond the prefix length, zones, 0.0.0.0/0 and
// ::/0.
func ParseNetwork(s string) (netip.Prefix, error) {
	if s == anywhere {
		return netip.Prefix{}, errors.New("`anywhere` is not one network and stands alone")
	}
	if strings.Contains(s, "%") {
		return netip.Prefix{}, fmt.Errorf("parsing network %q: write it without the zone", s)
	}
	prefix, ok := parsePrefix(s)
	if !ok {
		return netip.Prefix{}, fmt.Errorf("parsing network %q: write a CIDR such as `10.1.0.0/16` or `2001:db8::/32`, or a single address", s)
	}
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, fmt.Errorf("parsing network %q: bits are set beyond the prefix length: write `%v`, or `%v` for the one address",
			s, masked, prefix.Addr())
	}
	prefix = unmapPrefix(prefix)
	if prefix.Bits() == 0 {
		return netip.Prefix{}, fmt.Errorf("parsing network %q: write `anywhere` if every address is meant", s)
	}
	return prefix, nil
}

// ParseNetworks parses several networks, each as [ParseNetwork] does, or the
// single word "anywhere", which gives 0.0.0.0/0 and ::/0.
func ParseNetworks(list []string) ([]netip.Prefix, error) {
	if len(list) == 1 && list[0] == anywhere {
		return []netip.Prefix{
			netip.PrefixFrom(netip.IPv4Unspecified(), 0),
			netip.PrefixFrom(netip.IPv6Unspecified(), 0),
		}, nil
	}
	networks := make([]netip.Prefix, len(list))
	for i, s := range list {
		network, err := ParseNetwork(s)
		if err != nil {
			return nil, err
		}
		networks[i] = network
	}
	return networks, nil
}

// parsePrefix drops netip's errors: what to write says more.
func parsePrefix(s string) (netip.Prefix, bool) {
	if strings.Contains(s, "/") {
		prefix, err := netip.ParsePrefix(s)
		return prefix, err == nil
	}
	addr, err := netip.ParseAddr(s)
	return netip.PrefixFrom(addr, addr.BitLen()), err == nil
}

// unmapPrefix turns a network of IPv4-mapped IPv6 addresses into the IPv4
// network, because [netip.Prefix.Contains] keeps the two apart; one that is
// wider than these, and so means more than IPv4, becomes invalid. Other
// prefixes stay as they are.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// networkName is the network as it is written in a configuration.
func networkName(p netip.Prefix) string {
	if p.Bits() == 0 {
		return anywhere
	}
	return p.String()
}
