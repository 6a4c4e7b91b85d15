package egress_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
)

var (
	netip9   = netip.MustParseAddr("127.0.0.9")
	loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
)

// lookup is a resolver with one answer.
type lookup []netip.Addr

func (l lookup) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return l, nil }

// lookups answers each question with the next of its answers.
type lookups struct {
	answers [][]netip.Addr
	asked   []string
}

func (l *lookups) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	l.asked = append(l.asked, network+" "+host)
	if len(l.answers) == 0 {
		return nil, errors.New("asked too often")
	}
	addrs := l.answers[0]
	l.answers = l.answers[1:]
	return addrs, nil
}

func addrs(texts ...string) []netip.Addr {
	list := make([]netip.Addr, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParseAddr(text)
	}
	return list
}

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestNewRefuses(t *testing.T) {
	certs := testCertificates()
	tests := map[string]struct {
		url    string
		adjust func(*egress.Config)
		want   string // part of the error; "" if the config is good
	}{
		"https":                    {url: "https://nowpay.in"},
		"port":                     {url: "https://nowpay.in:8443"},
		"http to loopback":         {url: "http://127.0.0.9:8080"},
		"http to ::1":              {url: "http://[::1]:8080"},
		"http to localhost":        {url: "http://LOCALHOST"},
		"http to mapped loopback":  {url: "http://[::ffff:127.0.0.1]"},
		"http, wanted":             {url: "http://nowpay.in", adjust: func(c *egress.Config) { c.InsecureHTTP = true }},
		"literal in range":         {url: "https://10.0.0.1", adjust: func(c *egress.Config) { c.Addresses = prefixes("10.0.0.0/8") }},
		"localhost in range":       {url: "https://localhost", adjust: func(c *egress.Config) { c.Addresses = loopback }},
		"literal, private":         {url: "https://10.0.0.1"},
		"underscore":               {url: "https://now_pay.internal"},
		"no URL":                   {want: "no URL"},
		"http to a name":           {url: "http://nowpay.in", want: "readable"},
		"http to other address":    {url: "http://10.0.0.1", want: "readable"},
		"http to a liar":           {url: "http://localhost.example", want: "readable"},
		"http to number":           {url: "http://2130706433", want: "readable"},
		"no scheme":                {url: "nowpay.in", want: "scheme"},
		"other scheme":             {url: "ftp://nowpay.in", want: "scheme"},
		"user":                     {url: "https://a:b@nowpay.in", want: "user"},
		"slash":                    {url: "https://nowpay.in/", want: "path"},
		"path":                     {url: "https://nowpay.in/api", want: "path"},
		"query":                    {url: "https://nowpay.in?a=b", want: "query"},
		"empty query":              {url: "https://nowpay.in?", want: "query"},
		"fragment":                 {url: "https://nowpay.in#a", want: "fragment"},
		"opaque":                   {url: "https:nowpay.in", want: "path"},
		"no host":                  {url: "https://:443", want: "host"},
		"no port":                  {url: "https://nowpay.in:", want: "host"},
		"port 0":                   {url: "https://nowpay.in:0", want: "port"},
		"port too large":           {url: "https://nowpay.in:65536", want: "port"},
		"comma in host":            {url: "https://nowpay,in", want: "host"},
		"letters beyond ASCII":     {url: "https://nowp\u00e4y.in", want: "host"},
		"trailing dot":             {url: "https://nowpay.in.", want: "host"},
		"zone":                     {url: "https://[fe80::1%25eth0]", want: "unicast"},
		"unspecified":              {url: "https://0.0.0.0", want: "unicast"},
		"multicast":                {url: "https://224.0.0.1", want: "unicast"},
		"literal out of range":     {url: "https://127.0.0.1", adjust: func(c *egress.Config) { c.Addresses = prefixes("10.0.0.0/8") }, want: "not in the configured"},
		"localhost out of range":   {url: "https://localhost", adjust: func(c *egress.Config) { c.Addresses = prefixes("10.0.0.0/8") }, want: "not in the configured"},
		"bad range":                {url: "https://nowpay.in", adjust: func(c *egress.Config) { c.Addresses = []netip.Prefix{{}} }, want: "range"},
		"mapped range":             {url: "https://nowpay.in", adjust: func(c *egress.Config) { c.Addresses = prefixes("::ffff:10.0.0.0/104") }, want: "range"},
		"pins without TLS":         {url: "http://localhost", adjust: func(c *egress.Config) { c.Pins = [][32]byte{{}} }, want: "https"},
		"CA without TLS":           {url: "http://localhost", adjust: func(c *egress.Config) { c.RootCAs = certs.roots }, want: "https"},
		"no local address":         {url: "https://nowpay.in", adjust: func(c *egress.Config) { c.LocalAddresses = []netip.Addr{{}} }, want: "local address"},
		"unspecified local":        {url: "https://nowpay.in", adjust: func(c *egress.Config) { c.LocalAddresses = addrs("0.0.0.0") }, want: "local address"},
		"mapped local":             {url: "https://nowpay.in", adjust: func(c *egress.Config) { c.LocalAddresses = addrs("::ffff:1.2.3.4") }, want: "local address"},
		"local with zone":          {url: "https://nowpay.in", adjust: func(c *egress.Config) { c.LocalAddresses = addrs("fe80::1%eth0") }, want: "local address"},
		"local twice":              {url: "https://nowpay.in", adjust: func(c *egress.Config) { c.LocalAddresses = addrs("1.2.3.4", "1.2.3.4") }, want: "twice"},
		"negative timeout":         {url: "https://nowpay.in", adjust: func(c *egress.Config) { c.Timeout = -1 }, want: "negative"},
		"negative size":            {url: "https://nowpay.in", adjust: func(c *egress.Config) { c.MaxResponse = -1 }, want: "negative"},
		"user agent with line end": {url: "https://nowpay.in", adjust: func(c *egress.Config) { c.UserAgent = "a\r\nb" }, want: "user agent"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var cfg egress.Config
			if test.url != "" {
				cfg.URL = mustParse(t, test.url)
			}
			if test.adjust != nil {
				test.adjust(&cfg)
			}
			c, err := egress.New(cfg)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("New: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("New: %v, want an error with %q", err, test.want)
			}
			if c != nil {
				c.Close()
			}
		})
	}
}

func TestSpecialRanges(t *testing.T) {
	special := []string{
		"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.0", "127.255.255.255",
		"169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.170", "192.0.0.255",
		"192.0.2.0", "192.0.2.255", "192.88.99.0", "192.88.99.255", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255",
		"198.51.100.0", "198.51.100.255", "203.0.113.0", "203.0.113.255", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255",
		"::", "::1", "::10.0.0.1", "::8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::a00:1", "64:ff9b::ffff:ffff", "64:ff9b:1::", "64:ff9b:1:ffff::",
		"100::", "100::ffff:ffff:ffff:ffff", "100:0:0:1::", "2001::", "2001::1", "2001:1ff:ffff::", "2001:db8::", "2001:db8:ffff::1",
		"2002::", "2002:7f00:1::", "2002:ffff::", "3fff::", "3fff:fff::", "5f00::", "5f00:ffff::", "4000::", "1fff::",
		"fc00::", "fd00:ec2::254", "fdff::", "fe80::", "febf::", "fec0::", "feff::", "ff00::", "ff02::1", "ffff::",
	}
	public := []string{
		"1.0.0.0", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255",
		"192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0",
		"203.0.112.255", "203.0.114.0", "223.255.255.255",
		"2000::", "2001:200::", "2001:4860:4860::8888", "2001:db7:ffff::", "2001:db9::", "2003::", "2606:4700::1111", "3ffe:ffff::",
	}
	for _, addr := range addrs(special...) {
		if egress.SpecialRange(addr) == "" {
			t.Errorf("%s is taken for a public address", addr)
		}
	}
	for _, addr := range addrs(public...) {
		if what := egress.SpecialRange(addr); what != "" {
			t.Errorf("%s is refused: %s", addr, what)
		}
	}
}

func TestRoutes(t *testing.T) {
	both := addrs("127.0.0.5", "::1")
	tests := map[string]struct {
		url     string
		found   []netip.Addr
		allowed []netip.Prefix
		locals  []netip.Addr
		want    []string // "local remote"
		refused string
	}{
		"public":                  {found: addrs("8.8.8.8", "2606:4700::1111"), want: []string{"- 8.8.8.8:443", "- [2606:4700::1111]:443"}},
		"port":                    {url: "https://nowpay.in:8443", found: addrs("8.8.8.8"), want: []string{"- 8.8.8.8:8443"}},
		"mapped":                  {found: addrs("::ffff:8.8.8.8", "8.8.8.8"), want: []string{"- 8.8.8.8:443"}},
		"mapped private":          {found: addrs("::ffff:10.0.0.1"), refused: "10.0.0.0/8"},
		"private":                 {found: addrs("10.0.0.1"), refused: "10.0.0.0/8"},
		"some private":            {found: addrs("10.0.0.1", "8.8.8.8", "::1"), want: []string{"- 8.8.8.8:443"}},
		"loopback by name":        {found: addrs("127.0.0.1"), refused: "127.0.0.0/8"},
		"zone":                    {found: addrs("fe80::1%eth0"), refused: "plain address"},
		"nothing":                 {refused: "no address"},
		"listed":                  {found: addrs("8.8.8.8", "8.8.4.4"), allowed: prefixes("8.8.4.0/24"), want: []string{"- 8.8.4.4:443"}},
		"listed, private":         {found: addrs("10.0.0.1"), allowed: prefixes("8.8.8.8/32", "10.0.0.0/24"), want: []string{"- 10.0.0.1:443"}},
		"not listed":              {found: addrs("8.8.8.8"), allowed: prefixes("8.8.4.0/24"), refused: "not in the configured"},
		"literal":                 {url: "https://10.0.0.1", want: []string{"- 10.0.0.1:443"}},
		"localhost":               {url: "http://localhost", want: []string{"- 127.0.0.1:80", "- [::1]:80"}},
		"localhost, listed":       {url: "http://localhost", allowed: prefixes("::1/128"), want: []string{"- [::1]:80"}},
		"locals first, by family": {found: addrs("8.8.8.8", "2606:4700::1111", "8.8.4.4"), locals: both, want: []string{"127.0.0.5 8.8.8.8:443", "127.0.0.5 8.8.4.4:443", "::1 [2606:4700::1111]:443"}},
		"no local of the family":  {found: addrs("2606:4700::1111"), locals: addrs("127.0.0.5"), refused: "family"},
		"local not here":          {found: addrs("8.8.8.8"), locals: addrs("192.0.2.7", "127.0.0.5"), want: []string{"127.0.0.5 8.8.8.8:443"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if slices.Contains(test.locals, netip.IPv6Loopback()) {
				need(t, hasIPv6(), "IPv6 on the loopback interface")
			}
			if test.url == "" {
				test.url = "https://nowpay.in"
			}
			resolver := &lookups{answers: [][]netip.Addr{test.found}}
			c, err := egress.New(egress.Config{
				URL: mustParse(t, test.url), Resolver: resolver,
				LocalAddresses: test.locals, Addresses: test.allowed, Pins: nil,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			locals, remotes, err := egress.Routes(c)
			if test.refused != "" {
				if err == nil || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("Routes: %v, want an error with %q", err, test.refused)
				}
				return
			}
			var got []string
			for i := range remotes {
				local := "-"
				if locals[i].IsValid() {
					local = locals[i].String()
				}
				got = append(got, local+" "+remotes[i].String())
			}
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("Routes: %q, %v, want %q", got, err, test.want)
			}
			if strings.Contains(test.url, "nowpay.in") != slices.Equal(resolver.asked, []string{"ip nowpay.in"}) {
				t.Errorf("resolver was asked %q", resolver.asked)
			}
		})
	}
}

func TestRefusedAddressesAreUnsent(t *testing.T) {
	p := serve(t, "127.0.0.1:0", nil, answering(answer("{}")))
	for name, adjust := range map[string]func(*egress.Config){
		"special": func(cfg *egress.Config) { cfg.Resolver = lookup(addrs("127.0.0.1")) },
		"not listed": func(cfg *egress.Config) {
			cfg.Resolver = lookup(addrs("127.0.0.1"))
			cfg.Addresses = prefixes("127.0.0.2/32")
		},
		"not found":     func(cfg *egress.Config) { cfg.Resolver = lookup{} },
		"resolver down": func(cfg *egress.Config) { cfg.Resolver = &lookups{} },
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, p, func(cfg *egress.Config) {
				cfg.URL = p.URL("provider.example")
				cfg.InsecureHTTP = true
				adjust(cfg)
			})
			_, err := c.Do(t.Context(), request())
			checkError(t, err, false, nil)
			if _, err := c.Probe(t.Context()); err == nil {
				t.Error("Probe went through")
			}
		})
	}
	if n := p.Accepted.Load(); n != 0 {
		t.Errorf("%d connections, want none", n)
	}
}

// TestRebinding: the name answers with a good address first and a bad one
// next. Whoever asks twice dials what was not checked.
func TestRebinding(t *testing.T) {
	good := serve(t, "127.0.0.9:0", nil, answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ngood"))
	resolver := &lookups{answers: [][]netip.Addr{addrs("127.0.0.9"), addrs("127.0.0.1"), addrs("127.0.0.9")}}
	c := client(t, good, func(cfg *egress.Config) {
		cfg.URL = good.URL("provider.example")
		cfg.InsecureHTTP = true
		cfg.Addresses = prefixes("127.0.0.9/32")
		cfg.Resolver = resolver
	})
	post(t, c)
	if n := len(resolver.asked); n != 1 {
		t.Errorf("name resolved %d times for one connection", n)
	}
	_, err := c.Do(t.Context(), request())
	checkError(t, err, false, nil)
	post(t, c)
	if n := good.Executed.Load(); n != 2 {
		t.Errorf("%d requests executed, want 2", n)
	}
}

func TestHostHeader(t *testing.T) {
	host := make(chan string, 1)
	p := serve(t, "127.0.0.9:0", nil, func(c *peer) {
		if r := c.Receive(); r != nil {
			host <- r.Host
			c.Say(answer("{}"))
		}
	})
	c := client(t, p, func(cfg *egress.Config) {
		cfg.URL = p.URL("Provider.EXAMPLE")
		cfg.InsecureHTTP = true
		cfg.Resolver, cfg.Addresses = lookup{netip9}, loopback
	})
	post(t, c)
	if got, want := <-host, p.URL("provider.example").Host; got != want {
		t.Errorf("Host %q, want %q", got, want)
	}
}

func TestSourceAddress(t *testing.T) {
	tests := []struct {
		locals []string
		want   string // "" if the request is refused
	}{
		{[]string{"127.0.0.5"}, "127.0.0.5"},
		{[]string{"127.0.0.6", "127.0.0.5"}, "127.0.0.6"},
		{[]string{"192.0.2.7", "127.0.0.5"}, "127.0.0.5"},
		{[]string{"192.0.2.7", "2001:db8::7", "127.0.0.6", "127.0.0.5"}, "127.0.0.6"},
		{[]string{"192.0.2.7"}, ""},
		{[]string{"192.0.2.7", "2001:db8::7"}, ""},
	}
	for _, test := range tests {
		for _, started := range []bool{false, true} {
			t.Run(fmt.Sprint(test.locals, started), func(t *testing.T) {
				p := serve(t, "127.0.0.9:0", nil, answering(answer("{}")))
				c := client(t, p, func(cfg *egress.Config) { cfg.LocalAddresses = addrs(test.locals...) })
				if started {
					c.Start()
					if ready := c.Ready(); (ready == nil) != (test.want != "") || ready != nil && !errors.Is(ready, egress.ErrEgressAddress) {
						t.Errorf("Ready: %v", ready)
					}
				}
				resp, err := c.Do(t.Context(), request())
				if test.want == "" {
					checkError(t, err, false, egress.ErrEgressAddress)
					if n := p.Accepted.Load(); n != 0 {
						t.Errorf("%d connections, want none", n)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				want := addrs(test.want)
				if got := p.Sources(); !slices.Equal(got, want) || resp.LocalAddr != want[0] {
					t.Errorf("server saw %v, response says %v, want %v", got, resp.LocalAddr, want)
				}
				result, err := c.Probe(t.Context())
				if err != nil || result.LocalAddr != want[0] || result.RemoteAddr != netip9 {
					t.Errorf("Probe: %+v, %v", result, err)
				}
			})
		}
	}
}

// TestNextRemoteAddress: the first address of the upstream does not answer.
func TestNextRemoteAddress(t *testing.T) {
	p := serve(t, "127.0.0.9:0", nil, answering(answer("{}")))
	c := client(t, p, func(cfg *egress.Config) {
		cfg.URL = p.URL("provider.example")
		cfg.InsecureHTTP = true
		cfg.LocalAddresses = addrs("127.0.0.5")
		cfg.Resolver, cfg.Addresses = lookup(addrs("127.0.0.8", "127.0.0.9")), loopback
	})
	if resp := post(t, c); resp.Status != http.StatusOK {
		t.Errorf("status %d", resp.Status)
	}
	if n := p.Executed.Load(); n != 1 {
		t.Errorf("%d requests executed, want 1", n)
	}
}

// TestLastRemoteAddressTimesOut: a failure that is no timeout comes before it.
func TestLastRemoteAddressTimesOut(t *testing.T) {
	p := serve(t, "127.0.0.9:0", nil, func(c *peer) { c.Wait() })
	c := client(t, p, func(cfg *egress.Config) {
		cfg.URL = p.URL("provider.example")
		cfg.URL.Scheme = "https"
		cfg.Timeout = 100 * time.Millisecond
		cfg.Resolver, cfg.Addresses = lookup(addrs("127.0.0.8", "127.0.0.9")), loopback
	})
	_, err := c.Do(t.Context(), request())
	checkError(t, err, false, egress.ErrTimeout)
}

func TestIPv6(t *testing.T) {
	need(t, hasIPv6(), "IPv6 on the loopback interface")
	p := serve(t, "[::1]:0", testCertificates().server, answering(answer("{}")))
	c := client(t, p, func(cfg *egress.Config) {
		cfg.URL = p.URL("localhost")
		cfg.LocalAddresses = addrs("127.0.0.5", "::1") // 127.0.0.1 refuses, ::1 does not
	})
	if resp := post(t, c); resp.LocalAddr != netip.IPv6Loopback() {
		t.Errorf("from %v, want ::1", resp.LocalAddr)
	}
}
