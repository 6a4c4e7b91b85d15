package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const (
	dialTimeout = 10 * time.Second // resolving, connecting and TLS together
	minTry      = 2 * time.Second  // for one address, if there is so much
)

// route is one way to the upstream.
type route struct {
	rank   int        // of the local address
	local  netip.Addr // not valid: the system's choice
	remote netip.AddrPort
}

// dial opens a connection, TLS included. It is the only way to get one.
func (c *Client) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	ways, err := c.routes(ctx)
	if err != nil {
		return nil, err
	}
	var failed error
	for i, way := range ways {
		conn, err := c.open(ctx, way, len(ways)-i)
		if err == nil {
			return conn, nil
		}
		if failed == nil {
			failed = err
		} else {
			failed = fmt.Errorf("%w; %w", failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if c.locals.checkAll(); c.Ready() != nil { // the last one has just gone
		return nil, fmt.Errorf("%w: %w", ErrEgressAddress, failed)
	}
	return nil, failed
}

// routes lists the ways to the upstream, best first: by local address, then as
// the resolver sorted the remote ones.
func (c *Client) routes(ctx context.Context) ([]route, error) {
	var locals []route
	for rank, addr := range c.locals.addrs {
		if c.locals.present(rank) {
			locals = append(locals, route{rank: rank, local: addr})
		}
	}
	if len(c.locals.addrs) == 0 {
		locals = []route{{}}
	}
	if len(locals) == 0 {
		return nil, ErrEgressAddress // before the lookup, which would fail for the same reason
	}
	remotes, err := c.resolve(ctx)
	if err != nil {
		return nil, err
	}
	var ways []route
	for _, way := range locals {
		for _, remote := range remotes {
			if !way.local.IsValid() || way.local.Is4() == remote.Is4() {
				way.remote = netip.AddrPortFrom(remote, c.upstream.port)
				ways = append(ways, way)
			}
		}
	}
	if len(ways) == 0 {
		return nil, errors.New("no local address is of the same family as an address of the upstream")
	}
	return ways, nil
}

// resolve returns the addresses that may be dialled.
func (c *Client) resolve(ctx context.Context) ([]netip.Addr, error) {
	addrs := c.upstream.fixed
	if addrs == nil {
		var err error
		if addrs, err = c.resolver.LookupNetIP(ctx, "ip", c.upstream.host); err != nil {
			return nil, fmt.Errorf("resolving: %w", err)
		}
	}
	return c.upstream.permitted(addrs)
}

// open takes one way, with an even share of the time that is left for tries.
func (c *Client) open(ctx context.Context, way route, tries int) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, share(ctx, tries))
	defer cancel()
	opened := c.now()
	var dialer net.Dialer
	if way.local.IsValid() {
		dialer.LocalAddr, dialer.Control = net.TCPAddrFromAddrPort(netip.AddrPortFrom(way.local, 0)), lateBind
	}
	tcp, err := dialer.DialContext(ctx, "tcp", way.remote.String())
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	conn, err := newConn(tcp.(*net.TCPConn)) //nolint:forcetypeassert // by documentation of "tcp"
	if err != nil {
		_ = tcp.Close()
		return nil, err
	}
	conn.rank, conn.opened = way.rank, opened
	if err := conn.begin(ctx, c.tls); err != nil {
		conn.close()
		return nil, err
	}
	return conn, nil
}

func share(ctx context.Context, tries int) time.Duration {
	deadline, _ := ctx.Deadline()
	rest := time.Until(deadline)
	return max(rest/time.Duration(tries), min(rest, minTry))
}
