package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// minTry is the least time for one address.
const minTry = time.Second

// resolver looks up addresses; net.Resolver does.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// dial opens a connection to the endpoint, with TLS if it has https. It is the
// only way to get one. What the transport wants to be dialled does not matter.
//
// The transport does not end a dial with the request that asked for it, so that
// it is bound here: by time and by Close.
func (s *Sender) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ctx, end, err := s.begin(ctx, s.limits.connect)
	if err != nil {
		return nil, err
	}
	defer end()
	addrs, err := s.addrs(ctx)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, addr := range addrs {
		conn, err := s.open(ctx, addr, len(addrs))
		if err == nil {
			return conn, nil
		}
		if failed == nil {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// addrs returns the addresses that may be dialled, at least one.
func (s *Sender) addrs(ctx context.Context) ([]netip.Addr, error) {
	found := s.target.fixed
	if found == nil {
		var err error
		if found, err = s.resolver.LookupNetIP(ctx, "ip", s.target.host); err != nil {
			return nil, lookupFailure(ctx, err)
		}
	}
	var good []netip.Addr
	refused := fmt.Errorf("%w: it has no address", ErrName)
	for _, addr := range found {
		addr = addr.Unmap()
		if err := checkAddr(addr, s.private); err != nil {
			refused = err
		} else if !slices.Contains(good, addr) {
			good = append(good, addr)
		}
	}
	if len(good) > 0 && s.local.IsValid() {
		good = slices.DeleteFunc(good, func(a netip.Addr) bool { return !sameFamily(s.local)(a) })
		refused = fmt.Errorf("%w: it is not of the family of any address of the host", ErrLocalAddress)
	}
	if len(good) == 0 {
		return nil, refused
	}
	return good, nil
}

func lookupFailure(ctx context.Context, err error) error {
	if ctx.Err() != nil || isTimeout(err) {
		return fmt.Errorf("%w: looking up the host", ErrTimeout)
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return fmt.Errorf("%w: there is no such host", ErrName)
	}
	return ErrName // the text holds the name server's address and more
}

// open connects to one of several addresses, with an even share of the time.
func (s *Sender) open(ctx context.Context, addr netip.Addr, tries int) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, max(s.limits.connect/time.Duration(tries), min(minTry, s.limits.connect)))
	defer cancel()
	var dialer net.Dialer
	if err := s.checkSource(ctx, addr); err != nil {
		return nil, err
	}
	if s.local.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.local, 0))
	}
	tcp, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(addr.String(), strconv.Itoa(int(s.target.port))))
	if err != nil {
		return nil, dialFailure(ctx, err)
	}
	if s.tls == nil {
		return tcp, nil
	}
	conn := tls.Client(tcp, s.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = tcp.Close()
		return nil, handshakeFailure(ctx, err)
	}
	return conn, nil
}

// checkSource refuses an address to which the system would send from one that is
// to be avoided. To connect a UDP socket sends nothing, and tells.
func (s *Sender) checkSource(ctx context.Context, addr netip.Addr) error {
	if s.local.IsValid() || len(s.avoid) == 0 {
		return nil
	}
	var dialer net.Dialer
	probe, err := dialer.DialContext(ctx, "udp", net.JoinHostPort(addr.String(), "9"))
	if err != nil {
		return dialFailure(ctx, err)
	}
	defer probe.Close()
	source, err := netip.ParseAddrPort(probe.LocalAddr().String())
	if err != nil || slices.Contains(s.avoid, source.Addr().Unmap().WithZone("")) {
		return fmt.Errorf("%w: the system would send from an address that is for something else; name another one of this machine", ErrLocalAddress)
	}
	return nil
}

// withoutZones are addresses as they are compared.
func withoutZones(addrs []netip.Addr) (all []netip.Addr) {
	for _, a := range addrs {
		all = append(all, a.Unmap().WithZone(""))
	}
	return all
}
