package egress

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// AddressStatus tells whether a configured local address is on this machine.
type AddressStatus struct {
	Addr netip.Addr
	Up   bool
}

// Addresses returns the configured local addresses, in order of preference, as
// they were found by the last check. Before [Client.Start] none is up.
func (c *Client) Addresses() []AddressStatus { return c.locals.status() }

// Ready returns nil if a configured local address was on this machine at the
// last check, or if none is configured; otherwise [ErrEgressAddress].
func (c *Client) Ready() error {
	status := c.locals.status()
	if len(status) == 0 || slices.ContainsFunc(status, func(s AddressStatus) bool { return s.Up }) {
		return nil
	}
	return ErrEgressAddress
}

// watch checks the local addresses and clears the pool until Close.
func (c *Client) watch() {
	tick := time.NewTicker(c.interval)
	defer tick.Stop()
	for {
		select {
		case <-c.ended:
			return
		case <-tick.C:
			c.locals.checkAll()
			c.pool.reap(c.now())
		}
	}
}

// addressChanged keeps the pool to what is right after a change: nothing bound
// to an address that is gone, nothing bound to a lesser one once a better one
// is there.
func (c *Client) addressChanged(rank int, up bool) {
	if !up {
		c.pool.retire(rank, c.now())
		return
	}
	for lesser := rank + 1; lesser < len(c.locals.addrs); lesser++ {
		c.pool.retire(lesser, c.now())
	}
}

// presence knows which of the local addresses are on this machine.
type presence struct {
	addrs   []netip.Addr
	changed func(rank int, up bool)

	mu sync.Mutex
	up []bool
}

func newPresence(addrs []netip.Addr, changed func(rank int, up bool)) *presence {
	return &presence{addrs: addrs, changed: changed, up: make([]bool, len(addrs))}
}

func (p *presence) status() []AddressStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := make([]AddressStatus, len(p.addrs))
	for i, addr := range p.addrs {
		status[i] = AddressStatus{Addr: addr, Up: p.up[i]}
	}
	return status
}

func (p *presence) checkAll() {
	for rank := range p.addrs {
		p.check(rank)
	}
}

// check looks whether an address is here now.
func (p *presence) check(rank int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	up, err := isHere(p.addrs[rank])
	if err != nil {
		return p.up[rank] // out of file descriptors, say: nothing new is known
	}
	if up != p.up[rank] {
		p.up[rank] = up
		p.changed(rank, up)
	}
	return up
}

// present tells whether an address may be used: it is looked for again if the
// last check did not find it, so that one that comes back works at once.
func (p *presence) present(rank int) bool {
	p.mu.Lock()
	up := p.up[rank]
	p.mu.Unlock()
	return up || p.check(rank)
}

// isHere reports whether addr is an address of this machine.
func isHere(addr netip.Addr) (bool, error) {
	if bound, err := canBind(addr); !bound {
		return false, err
	}
	if onInterface(addr) {
		return true, nil
	}
	// Where addresses move between machines, the system is often told to bind
	// to absent ones too (ip_nonlocal_bind). Then only the interfaces know.
	anything, err := canBind(never(addr))
	return !anything, err
}

// canBind takes no connections: the socket is closed before anyone can know
// its port.
func canBind(addr netip.Addr) (bool, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	switch {
	case err == nil:
		return true, l.Close()
	case isAbsent(err):
		return false, nil
	default:
		return false, fmt.Errorf("binding to %s: %w", addr, err)
	}
}

// never is an address of addr's family that no machine has: RFC 5737, RFC 3849.
func never(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: 1})
}

// onInterface reports whether an interface has addr, or has it in its loopback
// network.
func onInterface(addr netip.Addr) bool {
	networks, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(networks, func(a net.Addr) bool {
		network, ok := a.(*net.IPNet)
		return ok && (network.IP.Equal(addr.AsSlice()) || addr.IsLoopback() && network.Contains(addr.AsSlice()))
	})
}

func checkLocals(addrs []netip.Addr) error {
	for i, addr := range addrs {
		switch {
		case !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() || addr.Is4In6() || addr.Zone() != "":
			return fmt.Errorf("local address %s: not a single unicast address", addr)
		case slices.Contains(addrs[:i], addr):
			return fmt.Errorf("local address %s: given twice", addr)
		}
	}
	return nil
}
