package egress

import (
	"net"
	"net/netip"
	"net/url"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLateBind: a connection from a given address has not taken its port before it
// was known where it goes to.
func TestLateBind(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		local := netip.MustParseAddr(address)
		c, err := New(Config{URL: &url.URL{Scheme: "http", Host: listener.Addr().String()}, LocalAddresses: []netip.Addr{local}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conn, err := c.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.close()
		var late int
		if err := conn.fd.Control(func(fd uintptr) {
			late, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT)
		}); err != nil || late != 1 {
			t.Errorf("%s: %d, %v", address, late, err)
		}
		if conn.local != local {
			t.Errorf("%s: it comes from %v", address, conn.local)
		}
	}
}
