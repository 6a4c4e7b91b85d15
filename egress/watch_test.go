package egress_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
)

func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func TestAddresses(t *testing.T) {
	p := serve(t, "127.0.0.1:0", nil, answering(answer("{}")))
	c := client(t, p, func(cfg *egress.Config) { cfg.LocalAddresses = addrs("192.0.2.7", "127.0.0.5") })
	gone := egress.AddressStatus{Addr: netip.MustParseAddr("192.0.2.7")}
	want := []egress.AddressStatus{gone, {Addr: netip.MustParseAddr("127.0.0.5")}}
	if got := c.Addresses(); !slices.Equal(got, want) || c.Ready() == nil {
		t.Errorf("before Start: %v, %v", got, c.Ready())
	}
	c.Start()
	c.Start()
	want[1].Up = true
	if got := c.Addresses(); !slices.Equal(got, want) || c.Ready() != nil {
		t.Errorf("after Start: %v, %v", got, c.Ready())
	}
}

func TestNoLocalAddress(t *testing.T) {
	p := serve(t, "127.0.0.1:0", nil, answering(answer("{}")))
	c := client(t, p, func(cfg *egress.Config) { cfg.WatchInterval = time.Microsecond })
	if got := c.Addresses(); len(got) != 0 || c.Ready() != nil {
		t.Errorf("before Start: %v, %v", got, c.Ready())
	}
	c.Start()
	post(t, c)
	if c.Ready() != nil {
		t.Errorf("Ready: %v", c.Ready())
	}
}
