package notify_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
)

// Where messages may go: always, where private addresses are allowed, never.
func TestAddresses(t *testing.T) {
	const (
		always = iota
		private
		never
	)
	for text, want := range map[string]int{
		"1.1.1.1": always, "9.255.255.255": always, "11.0.0.0": always, "172.15.0.1": always, "172.32.0.1": always,
		"192.167.0.1": always, "100.63.255.255": always, "100.128.0.0": always, "126.0.0.1": always, "223.255.255.255": always,
		"2606:4700::1111": always, "2a00::1": always, "2001:4860::8888": always,

		"10.0.0.1": private, "10.255.255.255": private, "172.16.0.1": private, "172.31.255.255": private, "192.168.1.1": private,
		"127.0.0.1": private, "127.255.255.254": private, "100.64.0.1": private, "100.127.255.255": private,
		"::1": private, "fc00::1": private, "fd12:3456::1": private, "fdff::1": private,

		"0.0.0.0": never, "0.1.2.3": never, "169.254.0.1": never, "169.254.169.254": never, "169.254.170.2": never,
		"100.100.100.200": never, "168.63.129.16": never, "192.0.0.192": never, "fd00:ec2::254": never, "fd00:ec2::23": never,
		"fd20:ce::254": never, "fd00:42::42": never, "192.0.2.1": never, "198.51.100.1": never, "203.0.113.1": never,
		"198.18.0.1": never, "192.88.99.1": never, "224.0.0.1": never, "239.255.255.255": never, "240.0.0.1": never,
		"255.255.255.255": never,
		"::":              never, "::7f00:1": never, "::169.254.169.254": never, "64:ff9b::a9fe:a9fe": never, "64:ff9b::101:101": never,
		"64:ff9b:1::a00:1": never, "2002:a9fe:a9fe::1": never, "2001::1": never, "2001:db8::1": never, "3fff::1": never,
		"fe80::1": never, "fe80::a9fe:a9fe": never, "fec0::1": never, "ff02::1": never, "100::1": never, "5f00::1": never,
		"4000::1": never, "8000::1": never, "fe00::1": never, "200::1": never,
	} {
		addr := netip.MustParseAddr(text)
		for allowed, limit := range map[bool]int{false: always, true: private} {
			err := notify.CheckAddr(addr, allowed)
			if (err == nil) != (want <= limit) || err != nil && !errors.Is(err, notify.ErrAddress) {
				t.Errorf("%s with private %t: %v", text, allowed, err)
			}
		}
	}
	for _, addr := range []netip.Addr{{}, netip.MustParseAddr("::ffff:1.1.1.1"), netip.MustParseAddr("2a00::1%eth0")} {
		if err := notify.CheckAddr(addr, true); !errors.Is(err, notify.ErrAddress) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// What a name leads to is checked each time, and the checked address is the one
// that is dialled: a server that listens on all of this machine gets nothing.
func TestNameLeadsElsewhere(t *testing.T) {
	r := newReceiver(t, func(s *httptest.Server) {
		s.Listener.Close()
		listener, err := net.Listen("tcp", ":0") // all addresses
		if err != nil {
			t.Fatal(err)
		}
		s.Listener = listener
		s.Start()
	}, status(http.StatusOK))
	_, port, _ := net.SplitHostPort(r.Listener.Addr().String())
	for _, c := range []struct {
		private bool
		addrs   string
		want    string
	}{
		{false, "127.0.0.1", "address not allowed"},
		{false, "127.0.0.1,10.0.0.1,::1", "address not allowed"},
		{false, "::ffff:127.0.0.1", "address not allowed"},
		{false, "::1", "address not allowed"},
		{false, "::", "address not allowed"},
		{true, "0.0.0.0", "address not allowed"},
		{true, "::", "address not allowed"},
		{true, "::ffff:0.0.0.0", "address not allowed"},
		{true, "::127.0.0.1", "address not allowed"},
		{true, "169.254.169.254", "address not allowed"},
		{true, "::ffff:169.254.169.254", "address not allowed"},
		{true, "64:ff9b::7f00:1", "address not allowed"},
		{true, "fe80::1%lo", "address not allowed"},
		{true, "169.254.169.254,127.0.0.1", "HTTP 200"}, // by the second
		{true, "::ffff:127.0.0.1", "HTTP 200"},
	} {
		before := len(r.all())
		e := endpoint(t, "http://merchant.test:"+port)
		e.InsecureHTTP, e.Private = true, c.private
		s := newSender(t, e)
		notify.SetLookup(s, resolvesTo(strings.Split(c.addrs, ",")...))
		got := s.Send(t.Context(), message("msg_1"))
		if got.String() != c.want {
			t.Errorf("%s with private %t: %v, %v", c.addrs, c.private, got, got.Err)
		}
		if came := len(r.all()) - before; came != 0 && !got.Delivered() {
			t.Errorf("%s with private %t: %d came", c.addrs, c.private, came)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for _, c := range []struct {
		url            string
		private, plain bool
		want           string // of the error; "" if there is none
	}{
		{"https://merchant.test/hook?a=b", false, false, ""},
		{"https://MERCHANT.test:8443", false, false, ""},
		{"https://1.1.1.1", false, false, ""},
		{"https://10.0.0.1", true, false, ""},
		{"https://[fd12::1]:8443/x", true, false, ""},
		{"http://127.0.0.1:8080", true, false, ""},
		{"http://[::1]:8080", true, false, ""},
		{"http://localhost", true, false, ""},
		{"http://merchant.test", false, true, ""},
		{"http://10.0.0.1", true, true, ""},

		{"http://merchant.test", true, false, "plain http"},
		{"http://10.0.0.1", true, false, "plain http"},
		{"http://localhost.merchant.test", true, false, "plain http"},
		{"http://127.0.0.1", false, true, "address not allowed"},
		{"https://localhost", false, false, "address not allowed"},
		{"https://10.0.0.1", false, false, "address not allowed"},
		{"https://[::ffff:10.0.0.1]", false, false, "address not allowed"},
		{"https://169.254.169.254/latest", true, true, "address not allowed"},
		{"https://[fd00:ec2::254]", true, true, "address not allowed"},
		{"https://[fe80::1%25lo]", true, true, "address not allowed"},
		{"https://0.0.0.0", true, true, "address not allowed"},
		{"ftp://merchant.test", true, true, "scheme"},
		{"//merchant.test", true, true, "scheme"},
		{"https:merchant.test", true, true, "begin with"},
		{"https:///hook", true, true, "incomplete"},
		{"https://merchant.test:", true, true, "incomplete"},
		{"https://merchant.test:0", true, true, "port"},
		{"https://merchant.test:65536", true, true, "port"},
		{"https://merchant.test./", true, true, "host name"},
		{"https://mer chant.test/", true, true, "host name"},
		{"https://münchen.test/", true, true, "host name"},
		{"https://u:tok-4711@merchant.test", true, true, "user"},
		{"https://merchant.test/#tok-4711", true, true, "fragment"},
		{"https://merchant.test/?tok-4711 b", true, true, "printable"},
	} {
		e := endpoint(t, "https://replaced.test")
		e.Private, e.InsecureHTTP = c.private, c.plain
		u, err := httpURL(c.url)
		if err != nil {
			t.Fatalf("%s: %v", c.url, err)
		}
		e.URL = u
		s, err := notify.New(e)
		switch {
		case err == nil && c.want != "":
			t.Errorf("New(%s) is accepted", c.url)
		case err != nil && (c.want == "" || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "tok-4711")):
			t.Errorf("New(%s): %v, want %q", c.url, err, c.want)
		}
		if s != nil {
			s.Close()
		}
	}
}

func TestEndpointsIncomplete(t *testing.T) {
	for name, change := range map[string]func(*notify.Endpoint){
		"no URL":             func(e *notify.Endpoint) { e.URL = nil },
		"no secrets":         func(e *notify.Endpoint) { e.Secrets = nil },
		"local unspecified":  func(e *notify.Endpoint) { e.LocalAddress = netip.IPv4Unspecified() },
		"local multicast":    func(e *notify.Endpoint) { e.LocalAddress = netip.MustParseAddr("224.0.0.1") },
		"local of a zone":    func(e *notify.Endpoint) { e.LocalAddress = netip.MustParseAddr("fe80::1%lo") },
		"local of no family": func(e *notify.Endpoint) { e.LocalAddress = netip.MustParseAddr("::ffff:127.0.0.1") },
		"local of another": func(e *notify.Endpoint) {
			e.URL, e.LocalAddress = parse(t, "https://127.0.0.1"), netip.IPv6Loopback()
		},
	} {
		e := endpoint(t, "https://merchant.test")
		change(&e)
		if s, err := notify.New(e); err == nil {
			s.Close()
			t.Errorf("%s is accepted", name)
		}
	}
}

// httpURL also makes URLs that url.Parse refuses.
func httpURL(text string) (*url.URL, error) {
	if strings.Contains(text, "mer chant") {
		return &url.URL{Scheme: "https", Host: "mer chant.test", Path: "/"}, nil
	}
	return url.Parse(text)
}
