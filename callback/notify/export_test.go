package notify

import (
	"context"
	"net/netip"
	"time"
)

// What only this package's tests may see and do.

const (
	MaxBody   = maxBody
	MaxHeader = maxHeader
)

// CheckAddr is the check before each dial.
func CheckAddr(addr netip.Addr, private bool) error { return checkAddr(addr, private) }

// Lookup is a resolver.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// LookupNetIP implements resolver.
func (l Lookup) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return l(ctx, host)
}

// SetLookup replaces the resolver.
func SetLookup(s *Sender, l Lookup) { s.resolver = l }

// SetLimits replaces the time limits; 0 leaves one as it is.
func SetLimits(s *Sender, connect, header, body, whole time.Duration) {
	for _, l := range []struct {
		limit *time.Duration
		to    time.Duration
	}{{&s.limits.connect, connect}, {&s.limits.header, header}, {&s.limits.body, body}, {&s.limits.whole, whole}} {
		if l.to != 0 {
			*l.limit = l.to
		}
	}
	s.transport = s.newTransport()
}
