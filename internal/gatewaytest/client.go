package gatewaytest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TokenHash is a token's hash as the Caddyfile has it.
func TokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Payout is a payout's body as a merchant sends it.
func Payout(requestID, amount string) string {
	return fmt.Sprintf(`{"accountnumber":"50100012345678","ifsc":"HDFC0000001","amount":%q,"yourrequestid":%q,"name":"Asha Rao","transferMode":"IMPS"}`, amount, requestID)
}

// Call is a merchant's request. The zero value is shop's payout, to be given a
// body.
type Call struct {
	Method string      // default POST
	Path   string      // default /api/bank/payout; written to the wire as it stands
	Token  string      // default ShopToken; "-" sends none
	Header http.Header // further headers; a nil value removes a default
	Body   string
}

// Answer is what came back.
type Answer struct {
	*http.Response
	Body string
}

// Outcome is the header of that name.
func (a Answer) Outcome() string { return a.Header.Get("Nowpay-Gateway-Outcome") }

// Problem is the code that the gateway refused with, "" if it did not.
func (a Answer) Problem() string { return a.Header.Get("Nowpay-Gateway-Error") }

// Client makes a client that speaks "http/1.1" or "h2", from 127.0.0.1. Its
// connections are closed when the test ends.
func (g *Gateway) Client(protocol string) *http.Client { return g.ClientFrom(protocol, "127.0.0.1") }

// ClientFrom is Client from another address.
func (g *Gateway) ClientFrom(protocol, ip string, certificates ...tls.Certificate) *http.Client {
	g.tb.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 10 * time.Second}
	transport := &http.Transport{
		DialContext:     dialer.DialContext,
		TLSClientConfig: &tls.Config{RootCAs: g.Authorities, Certificates: certificates},
		Protocols:       new(http.Protocols),
	}
	switch protocol {
	case "http/1.1":
		transport.Protocols.SetHTTP1(true)
	case "h2":
		transport.Protocols.SetHTTP2(true)
	default:
		g.tb.Fatalf("no such protocol: %s", protocol)
	}
	g.tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: 2 * time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Do sends a call to base (URL or TLSURL) and reads the whole answer.
func (g *Gateway) Do(client *http.Client, base string, c Call) (Answer, error) {
	if c.Method == "" {
		c.Method = http.MethodPost
	}
	if c.Path == "" {
		c.Path = "/api/bank/payout"
	}
	request, err := http.NewRequestWithContext(context.Background(), c.Method, base, strings.NewReader(c.Body))
	if err != nil {
		return Answer{}, fmt.Errorf("making the request: %w", err)
	}
	// Opaque goes to the wire byte for byte, unlike a parsed path.
	request.URL.Opaque = "//" + request.URL.Host + c.Path
	if strings.HasPrefix(c.Path, "/") && !strings.HasPrefix(c.Path, "//") {
		request.URL.Opaque = c.Path
	}
	request.Header.Set("Content-Type", "application/json")
	switch c.Token {
	case "":
		request.Header.Set("Authorization", "Bearer "+ShopToken)
	case "-":
	default:
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	for name, values := range c.Header {
		request.Header[name] = values
	}
	response, err := client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	return Answer{response, string(body)}, nil
}

// Must is Do for calls that must be answered, with HTTP/1.1 over plain http.
func (g *Gateway) Must(c Call) Answer {
	g.tb.Helper()
	client := g.Client("http/1.1")
	defer client.CloseIdleConnections()
	answer, err := g.Do(client, g.URL, c)
	if err != nil {
		g.tb.Fatalf("calling the gateway: %v", err)
	}
	return answer
}

// Eventually waits until condition holds, and fails the test with what if it
// does not within half a minute.
func Eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if condition() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	tb.Fatalf("timed out waiting: %s", what)
}

// freePort is a port of 127.0.0.1 that was free a moment ago.
func freePort(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	return port
}
