package egress_test

import (
	"crypto/tls"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
)

func TestPins(t *testing.T) {
	certs := testCertificates()
	leaf, ca, wrong := certs.pin(certs.leaf), certs.pin(certs.ca), [32]byte{1}
	tests := map[string]struct {
		pins [][32]byte
		good bool
	}{
		"none":              {nil, true},
		"server's own":      {[][32]byte{leaf}, true},
		"CA's":              {[][32]byte{ca}, true},
		"second of two":     {[][32]byte{wrong, leaf}, true},
		"wrong":             {[][32]byte{wrong}, false},
		"two wrong":         {[][32]byte{wrong, {2}}, false},
		"all zero":          {[][32]byte{{}}, false},
		"of the other kind": {[][32]byte{[32]byte(certs.leaf.Raw[:32])}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := serve(t, "127.0.0.1:0", certs.server, answering(answer("{}")))
			c := client(t, p, func(cfg *egress.Config) { cfg.Pins = test.pins })
			if test.good {
				post(t, c)
				return
			}
			_, err := c.Do(t.Context(), request())
			checkError(t, err, false, nil)
			if !strings.Contains(err.Error(), "sha256/"+base64.StdEncoding.EncodeToString(leaf[:])) {
				t.Errorf("error %q does not name the key that the server has", err)
			}
		})
	}
}

// TestPinsOfResumedSessions: a resumed session shows no certificates on the
// wire, but is checked all the same.
func TestPinsOfResumedSessions(t *testing.T) {
	certs := testCertificates()
	eachScheme(t, func(t *testing.T, config *tls.Config) {
		if config == nil {
			t.Skip("no TLS")
		}
		resumed := make(chan bool, 3)
		p := serve(t, "127.0.0.1:0", config, func(c *peer) {
			if c.Receive() != nil {
				resumed <- c.Conn.(*tls.Conn).ConnectionState().DidResume
				c.Say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			}
		})
		c := client(t, p, func(cfg *egress.Config) { cfg.Pins = [][32]byte{certs.pin(certs.ca)} })
		post(t, c)
		post(t, c)
		if first, second := <-resumed, <-resumed; first || !second {
			t.Fatalf("resumed: %v, %v, want false, true", first, second)
		}
		egress.SetPins(c, [][32]byte{{1}})
		_, err := c.Do(t.Context(), request())
		checkError(t, err, false, nil)
		if n := p.Executed.Load(); n != 2 {
			t.Errorf("%d requests executed, want 2", n)
		}
	})
}

func TestProtocolOffered(t *testing.T) {
	offered := make(chan *tls.ClientHelloInfo, 1)
	config := testCertificates().server.Clone()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		offered <- hello
		return nil, nil
	}
	p := serve(t, "127.0.0.9:0", config, answering(answer("{}")))
	c := client(t, p, func(cfg *egress.Config) {
		cfg.URL = p.URL("provider.example")
		cfg.Resolver, cfg.Addresses = lookup{netip9}, loopback
	})
	post(t, c)
	hello := <-offered
	if !slices.Equal(hello.SupportedProtos, []string{"http/1.1"}) || hello.ServerName != "provider.example" {
		t.Errorf("offered %q to %q", hello.SupportedProtos, hello.ServerName)
	}
	if oldest := slices.Min(hello.SupportedVersions); oldest < tls.VersionTLS12 {
		t.Errorf("offered %s", tls.VersionName(oldest))
	}
}

func TestProbe(t *testing.T) {
	certs := testCertificates()
	p := serve(t, "127.0.0.1:0", certs.server, answering(answer("{}")))
	result, err := client(t, p).Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if result.TLSVersion != "TLS 1.3" || result.RemoteAddr.String() != "127.0.0.1" {
		t.Errorf("Probe: %+v", result)
	}
	var pins [][32]byte
	for _, text := range result.PeerSPKI {
		pin, err := egress.ParsePin(text)
		if err != nil {
			t.Errorf("ParsePin(%q): %v", text, err)
		}
		pins = append(pins, pin)
	}
	if want := [][32]byte{certs.pin(certs.leaf), certs.pin(certs.ca)}; !slices.Equal(pins, want) {
		t.Errorf("keys %x, want %x", pins, want)
	}
	if n := p.Executed.Load(); n != 0 {
		t.Errorf("%d requests executed, want none", n)
	}
	_, err = client(t, p, func(cfg *egress.Config) { cfg.Pins = [][32]byte{{1}} }).Probe(t.Context())
	checkError(t, err, false, nil)
}

func TestParsePin(t *testing.T) {
	const good = "sha256/AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	if pin, err := egress.ParsePin(good); err != nil || pin != [32]byte{1, 2, 3} {
		t.Errorf("ParsePin(%q) = %x, %v", good, pin, err)
	}
	for _, bad := range []string{
		"", "sha256/", strings.TrimPrefix(good, "sha256/"), strings.Replace(good, "sha256", "sha1", 1), good[:len(good)-1],
		good + "A", strings.Replace(good, "/AQ", "/-_", 1), strings.Replace(good, "AAA=", "AAB=", 1), "sha256/AQID",
		strings.Replace(good, "256/", "256/\n", 1) + "\n",
	} {
		if pin, err := egress.ParsePin(bad); err == nil {
			t.Errorf("ParsePin(%q) = %x, want an error", bad, pin)
		}
	}
}
