package egress_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
)

// provider is a server on a real socket that a test scripts byte by byte.
type provider struct {
	listener net.Listener
	tls      *tls.Config
	script   func(*peer)

	// Executed counts the requests that were received to their last byte,
	// Accepted the connections.
	Executed, Accepted atomic.Int64

	running sync.WaitGroup
	mu      sync.Mutex
	open    map[net.Conn]bool
	sources []netip.Addr
}

// serve runs script for each connection to addr ("127.0.0.1:0"), under TLS if
// there is a config, and closes the connection when script returns.
func serve(t testing.TB, addr string, config *tls.Config, script func(*peer)) *provider {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatalf("listening: %v", err)
	}
	return serveOn(t, l, config, script)
}

func serveOn(t testing.TB, l net.Listener, config *tls.Config, script func(*peer)) *provider {
	t.Helper()
	p := &provider{listener: l, tls: config, script: script, open: make(map[net.Conn]bool)}
	p.running.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// Close stops the server and waits for its goroutines.
func (p *provider) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *provider) accept() {
	for {
		raw, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.open[raw] = true
		p.sources = append(p.sources, raw.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap())
		p.mu.Unlock()
		p.running.Go(func() {
			defer func() {
				_ = raw.Close()
				p.mu.Lock()
				delete(p.open, raw)
				p.mu.Unlock()
			}()
			p.script(p.peer(raw))
		})
	}
}

func (p *provider) peer(raw net.Conn) *peer {
	corked := &corkedConn{Conn: raw}
	c := &peer{Conn: corked, raw: raw.(*net.TCPConn), cork: corked, provider: p, Nth: p.Accepted.Add(1)}
	if p.tls != nil {
		c.Conn = tls.Server(corked, p.tls)
	}
	c.reader = bufio.NewReader(c.Conn)
	return c
}

// Sources are the addresses that connections came from, in order.
func (p *provider) Sources() []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]netip.Addr(nil), p.sources...)
}

// URL of the server; its host may be replaced.
func (p *provider) URL(host string) *url.URL {
	scheme := "http"
	if p.tls != nil {
		scheme = "https"
	}
	addr := p.listener.Addr().(*net.TCPAddr)
	if host == "" {
		host = addr.IP.String()
	}
	return &url.URL{Scheme: scheme, Host: net.JoinHostPort(host, fmt.Sprint(addr.Port))}
}

// peer is one connection as the server sees it.
type peer struct {
	net.Conn
	raw      *net.TCPConn
	cork     *corkedConn
	reader   *bufio.Reader
	provider *provider
	Nth      int64 // which connection it is, from 1
	Body     []byte
	OnWait   func() // called when the server has nothing more to say
}

// Receive reads one request to its last byte; nil when there is none.
func (c *peer) Receive() *http.Request {
	r, err := http.ReadRequest(c.reader)
	if err != nil {
		return nil
	}
	if c.Body, err = io.ReadAll(r.Body); err != nil {
		return nil
	}
	c.provider.Executed.Add(1)
	return r
}

// Say writes to the client; what becomes of it is the client's matter.
func (c *peer) Say(text string) { _, _ = io.WriteString(c.Conn, text) }

// SayAtOnce writes texts so that they leave together, in a TLS record each.
func (c *peer) SayAtOnce(texts ...string) {
	c.cork.hold = true
	for _, text := range texts {
		c.Say(text)
	}
	c.cork.release(c.cork.held.Len())
}

// Reset ends the connection by RST.
func (c *peer) Reset() {
	_ = c.raw.SetLinger(0)
	_ = c.raw.Close()
}

// Wait returns when the client has closed the connection.
func (c *peer) Wait() {
	if c.OnWait != nil {
		c.OnWait()
	}
	_, _ = io.Copy(io.Discard, c.reader)
}

// corkedConn can hold back what is written.
type corkedConn struct {
	net.Conn
	hold bool
	held bytes.Buffer
}

func (c *corkedConn) Write(p []byte) (int, error) {
	if c.hold {
		return c.held.Write(p)
	}
	return c.Conn.Write(p)
}

func (c *corkedConn) release(n int) {
	_, _ = c.Conn.Write(c.held.Next(n))
	c.hold = c.held.Len() > 0
}

// answer is a plain answer of the provider.
func answer(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// answering answers every request of a connection with text.
func answering(text string) func(*peer) {
	return func(c *peer) {
		for c.Receive() != nil {
			c.Say(text)
		}
	}
}

// certificates are a CA and a server certificate of it.
type certificates struct {
	ca, leaf *x509.Certificate
	server   *tls.Config
	roots    *x509.CertPool
}

func (c certificates) pin(cert *x509.Certificate) [32]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

var testCertificates = sync.OnceValue(func() certificates {
	certs, err := makeCertificates()
	if err != nil {
		panic(err)
	}
	return certs
})

func makeCertificates() (certificates, error) {
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return certificates{}, err
	}
	caTemplate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leafTemplate := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "provider"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost", "provider.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 9)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, caTemplate, caTemplate, caKey.Public(), caKey)
	if err != nil {
		return certificates{}, err
	}
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		return certificates{}, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leafTemplate, ca, key.Public(), caKey)
	if err != nil {
		return certificates{}, err
	}
	leaf, err := x509.ParseCertificate(leafDER)
	if err != nil {
		return certificates{}, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	server := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leafDER}, PrivateKey: key}},
		NextProtos:   []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12,
	}
	return certificates{ca: ca, leaf: leaf, server: server, roots: roots}, nil
}

// eachScheme runs a test over plain HTTP, TLS 1.3 and TLS 1.2.
func eachScheme(t *testing.T, test func(t *testing.T, config *tls.Config)) {
	t.Helper()
	tls12 := testCertificates().server.Clone()
	tls12.MaxVersion = tls.VersionTLS12
	for _, scheme := range []struct {
		name   string
		config *tls.Config
	}{{"http", nil}, {"tls13", testCertificates().server}, {"tls12", tls12}} {
		t.Run(scheme.name, func(t *testing.T) { test(t, scheme.config) })
	}
}

// client makes a client of p and closes it with the test.
func client(t testing.TB, p *provider, adjust ...func(*egress.Config)) *egress.Client {
	t.Helper()
	cfg := egress.Config{URL: p.URL("")}
	if p.tls != nil {
		cfg.RootCAs = testCertificates().roots
	}
	for _, f := range adjust {
		f(&cfg)
	}
	c, err := egress.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

func request() *egress.Request {
	return &egress.Request{
		Target:      "/api/index.php?route=/api/bank/payout",
		ContentType: "application/json",
		Body:        []byte(`{"username":"2000","key":"0123456789abcdef","amount":"1.50"}`),
	}
}

// post does one exchange that has to succeed.
func post(t *testing.T, c *egress.Client) *egress.Response {
	t.Helper()
	resp, err := c.Do(context.Background(), request())
	if err != nil {
		t.Fatalf("Do: %v", err)
	}
	return resp
}

// checkError compares the error of an exchange with what it should be; cause
// may be nil.
func checkError(t *testing.T, err error, sent bool, cause error) {
	t.Helper()
	var failed *egress.Error
	if !errors.As(err, &failed) {
		t.Fatalf("Do: %v, want an *Error", err)
	}
	if failed.Sent != sent {
		t.Errorf("Sent = %v, want %v (%v)", failed.Sent, sent, err)
	}
	if cause != nil && !errors.Is(err, cause) {
		t.Errorf("error %q is not %q", err, cause)
	}
	for _, other := range []error{egress.ErrTimeout, egress.ErrTooLarge, egress.ErrEgressAddress} {
		if !errors.Is(cause, other) && errors.Is(err, other) {
			t.Errorf("error %q is taken for %q", err, other)
		}
	}
}
