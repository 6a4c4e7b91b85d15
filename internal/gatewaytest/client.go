package gatewaytest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
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
	// Chunked sends the body without announcing its length.
	Chunked bool
}

// Answer is what came back.
type Answer struct {
	*http.Response
	Body string
	// Reused tells that the request went over a connection kept from before.
	Reused bool
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
	return g.DoContext(context.Background(), client, base, c)
}

// DoContext is Do for a merchant that hangs up when the context ends.
func (g *Gateway) DoContext(ctx context.Context, client *http.Client, base string, c Call) (Answer, error) {
	var answer Answer
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(conn httptrace.GotConnInfo) { answer.Reused = conn.Reused },
	})
	request, err := newRequest(ctx, base, c)
	if err != nil {
		return Answer{}, err
	}
	if answer.Response, err = client.Do(request); err != nil { //nolint:bodyclose // closed below
		return Answer{}, err
	}
	defer answer.Response.Body.Close()
	body, err := io.ReadAll(answer.Response.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	answer.Body = string(body)
	return answer, nil
}

func newRequest(ctx context.Context, base string, c Call) (*http.Request, error) {
	if c.Method == "" {
		c.Method = http.MethodPost
	}
	if c.Path == "" {
		c.Path = "/api/bank/payout"
	}
	var body io.Reader = strings.NewReader(c.Body)
	if c.Chunked {
		body = io.MultiReader(body) // of a type whose length is not known
	}
	request, err := http.NewRequestWithContext(ctx, c.Method, base, body)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	// Opaque goes to the wire byte for byte, unless it begins with two slashes.
	if strings.HasPrefix(c.Path, "//") {
		request.URL.Path = c.Path
	} else {
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
	maps.Copy(request.Header, c.Header)
	return request, nil
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

// freePorts gives each name a port that was free a moment ago, for TCP and UDP.
// They lie below those that systems give to outgoing connections, which would
// otherwise take one of them before it is listened on.
func freePorts(tb testing.TB, names ...string) map[string]string {
	tb.Helper()
	const lowest, highest, tries = 10_000, 30_000, 1000
	ports := make(map[string]string, len(names))
	for range tries {
		if len(ports) == len(names) {
			return ports
		}
		port := strconv.Itoa(lowest + rand.IntN(highest-lowest))
		stream, err := net.Listen("tcp", ":"+port)
		if err != nil {
			continue
		}
		defer stream.Close() // at the end, so that they are all different
		packets, err := net.ListenPacket("udp", ":"+port)
		if err != nil {
			continue
		}
		defer packets.Close()
		ports[names[len(ports)]] = port
	}
	tb.Fatal("no free ports")
	return nil
}

// FreePort is a port that was free a moment ago, for TCP and UDP.
func FreePort(tb testing.TB) string {
	tb.Helper()
	return freePorts(tb, "the one")["the one"]
}
