package whitelist

import (
	"net/netip"
	"slices"
	"strings"
)

// networkTable finds the network that an address is in. It takes as long for
// thousands of networks as for a few: one look for each length of a prefix.
type networkTable struct {
	lengths  [2][]int // of prefixes of IPv4 and of IPv6, longest first
	networks map[netip.Prefix]struct{}
}

func newNetworkTable(networks []netip.Prefix) networkTable {
	t := networkTable{networks: make(map[netip.Prefix]struct{}, len(networks))}
	for _, network := range networks {
		lengths := &t.lengths[familyOf(network.Addr())]
		if !slices.Contains(*lengths, network.Bits()) {
			*lengths = append(*lengths, network.Bits())
		}
		t.networks[network.Masked()] = struct{}{}
	}
	for _, lengths := range t.lengths {
		slices.SortFunc(lengths, func(a, b int) int { return b - a })
	}
	return t
}

func familyOf(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}

// find returns the smallest network that contains the address, which must be
// unmapped and without a zone.
func (t *networkTable) find(addr netip.Addr) (netip.Prefix, bool) {
	for _, bits := range t.lengths[familyOf(addr)] {
		network, err := addr.Prefix(bits)
		if err != nil {
			continue // cannot happen: it is a length of the family
		}
		if _, ok := t.networks[network]; ok {
			return network, true
		}
	}
	return netip.Prefix{}, false
}

// patternTable finds the pattern that an operation is named by.
type patternTable struct {
	operations map[string]string // text of the rule by operation
	groups     map[string]string // and by group
}

// newPatternTable makes the table of patterns whose rules begin with a text.
func newPatternTable(rule string, patterns []Pattern) patternTable {
	t := patternTable{operations: make(map[string]string), groups: make(map[string]string)}
	for _, p := range patterns {
		if group, whole := strings.CutSuffix(p.text, "/*"); whole {
			t.groups[group] = rule + p.text
		} else {
			t.operations[p.text] = rule + p.text
		}
	}
	return t
}

// find returns the rule for a well-formed operation: the one that names it, or
// else its group.
func (t *patternTable) find(operation string) (rule string, ok bool) {
	if rule, ok = t.operations[operation]; !ok {
		group, _, _ := strings.Cut(operation, "/")
		rule, ok = t.groups[group]
	}
	return rule, ok
}
