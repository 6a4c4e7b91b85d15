package caddymodule_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// idempotent are headers by which net/http believes that a request may be sent
// again.
var idempotent = map[string]http.Header{
	"without a key":     nil,
	"Idempotency-Key":   {"Idempotency-Key": {"1001"}},
	"X-Idempotency-Key": {"X-Idempotency-Key": {"1001"}},
	"both":              {"Idempotency-Key": {"1001"}, "X-Idempotency-Key": {"1001"}},
}

// replays runs a test over all that could tempt a client to send again.
func replays(t *testing.T, run func(t *testing.T, providerTLS bool, header http.Header)) {
	for _, tls := range []bool{false, true} {
		for name, header := range idempotent {
			t.Run(fmt.Sprintf("tls %v/%s", tls, name), func(t *testing.T) { run(t, tls, header) })
		}
	}
}

// sentFor are the requests of one id that reached the provider.
func sentFor(g *gatewaytest.Gateway, id string) []simulator.Request {
	return slices.DeleteFunc(g.Simulator.Requests(), func(r simulator.Request) bool { return r.RequestID != id })
}

// TestReplayTrap: a kept connection dies after the provider has executed the
// request. It is not sent again.
func TestReplayTrap(t *testing.T) {
	replays(t, func(t *testing.T, providerTLS bool, header http.Header) {
		g := gatewaytest.Start(t, gatewaytest.Options{ProviderTLS: providerTLS})
		first := g.Must(call{Header: header, Body: faulty(gatewaytest.Payout("first", "12.30"), simulator.KeepAliveDeath)})
		if first.Outcome() != "success" {
			t.Fatalf("first payout: %s %s", first.Outcome(), first.Body)
		}
		second := g.Must(call{Header: header, Body: gatewaytest.Payout("second", "12.30")})
		checkSentOnce(t, g, second, "second")
		if a, b := sentFor(g, "first"), sentFor(g, "second"); len(a) != 1 || len(b) != 1 || a[0].Remote != b[0].Remote {
			t.Fatalf("the connection was not kept: %v, %v", a, b)
		}
		// And the next one has a connection of its own.
		third := g.Must(call{Header: header, Body: gatewaytest.Payout("third", "12.30")})
		if third.Outcome() != "success" || g.Simulator.Ledger().Executions["third"] != 1 {
			t.Errorf("third payout: %s %s", third.Outcome(), third.Body)
		}
	})
}

// checkSentOnce: executed once, and answered as pending.
func checkSentOnce(t *testing.T, g *gatewaytest.Gateway, answer gatewaytest.Answer, id string) {
	t.Helper()
	if n := g.Simulator.Ledger().Executions[id]; n != 1 {
		t.Errorf("executions: %d, want 1", n)
	}
	if n := len(sentFor(g, id)); n != 1 {
		t.Errorf("requests that reached the provider: %d, want 1", n)
	}
	if answer.Outcome() != "unknown" {
		t.Errorf("outcome %q, want unknown", answer.Outcome())
	}
	checkOurs(t, answer, "2", "yourrequestid", id)
}

// deadly is a provider that executes the requests of one id, and then ends the
// connection as it likes.
type deadly struct {
	id   string
	end  func(net.Conn)
	dead atomic.Int32
}

func (d *deadly) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !strings.Contains(string(body), strconv.Quote(d.id)) {
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			next.ServeHTTP(w, r)
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		next.ServeHTTP(discard{header: make(http.Header)}, r)
		d.dead.Add(1)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		d.end(conn)
	})
}

// discard is a writer of answers that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// TestReplayTrapRaw ends connections in every way that the wire knows.
func TestReplayTrapRaw(t *testing.T) {
	closing := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}
	resetting := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			if inner, ok := conn.(interface{ NetConn() net.Conn }); ok {
				conn = inner.NetConn() // without a TLS goodbye
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	ends := map[string]func(net.Conn){
		"closed":                        closing(""),
		"reset":                         resetting(""),
		"closed in the status line":     closing("HTTP/1."),
		"reset in the status line":      resetting("HTTP/1."),
		"closed after an interim one":   closing("HTTP/1.1 100 Continue\r\n\r\n"),
		"closed in the header":          closing(head),
		"closed in the body":            closing(head + "Content-Length: 100\r\n\r\n{\"success\":"),
		"closed in a chunk":             closing(head + "Transfer-Encoding: chunked\r\n\r\n10\r\n{\"success\":"),
		"reset in the body":             resetting(head + "Content-Length: 100\r\n\r\n{\"success\":"),
		"told to send again":            closing("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"),
		"told to send elsewhere":        closing("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n"),
		"told to send later":            closing("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"),
		"answered with another's words": closing("SSH-2.0-OpenSSH_9.6\r\n"),
	}
	for _, providerTLS := range []bool{false, true} {
		for name, end := range ends {
			for _, kept := range []bool{false, true} {
				t.Run(fmt.Sprintf("tls %v/%s/kept %v", providerTLS, name, kept), func(t *testing.T) {
					provider := &deadly{id: "deadly", end: end}
					g := gatewaytest.Start(t, gatewaytest.Options{ProviderTLS: providerTLS, Provider: provider.wrap})
					if kept {
						if first := g.Must(call{Body: gatewaytest.Payout("first", "12.30")}); first.Outcome() != "success" {
							t.Fatalf("first payout: %s %s", first.Outcome(), first.Body)
						}
					}
					answer := g.Must(call{Header: idempotent["both"], Body: gatewaytest.Payout("deadly", "12.30")})
					checkSentOnce(t, g, answer, "deadly")
					if n := provider.dead.Load(); n != 1 {
						t.Errorf("connections ended: %d, want 1", n)
					}
				})
			}
		}
	}
}

// TestIdleConnectionCloses: the provider closes a connection that nobody uses.
// Nothing was on it, so the next payout takes another and succeeds.
func TestIdleConnectionCloses(t *testing.T) {
	replays(t, func(t *testing.T, providerTLS bool, header http.Header) {
		closed := make(chan string, 100)
		g := gatewaytest.Start(t, gatewaytest.Options{ProviderTLS: providerTLS, ProviderServer: func(s *http.Server) {
			s.IdleTimeout = time.Millisecond
			s.ConnState = func(conn net.Conn, state http.ConnState) {
				if state == http.StateClosed {
					closed <- conn.RemoteAddr().String()
				}
			}
		}})
		for i := range 3 {
			id := fmt.Sprintf("idle%d", i)
			answer := g.Must(call{Header: header, Body: gatewaytest.Payout(id, "12.30")})
			if answer.Outcome() != "success" || g.Simulator.Ledger().Executions[id] != 1 || len(sentFor(g, id)) != 1 {
				t.Fatalf("payout %s: %s %s, executed %d times", id, answer.Outcome(), answer.Body, g.Simulator.Ledger().Executions[id])
			}
			select {
			case conn := <-closed:
				if want := sentFor(g, id)[0].Remote.String(); conn != want {
					t.Fatalf("the provider closed %s, not %s", conn, want)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("the provider did not close the idle connection")
			}
		}
	})
}

// TestRedirects: an answer that says where to go is an answer.
func TestRedirects(t *testing.T) {
	replays(t, func(t *testing.T, providerTLS bool, header http.Header) {
		g := gatewaytest.Start(t, gatewaytest.Options{ProviderTLS: providerTLS})
		for _, kind := range []simulator.Kind{simulator.Redirect307, simulator.Redirect} {
			id := strings.ReplaceAll(string(kind), "-", "")
			answer := g.Must(call{Header: header, Body: faulty(gatewaytest.Payout(id, "12.30"), kind)})
			checkSentOnce(t, g, answer, id)
			if location := answer.Header.Get("Location"); location != "" {
				t.Errorf("%s: the merchant was sent to %q", kind, location)
			}
		}
		if n := len(g.Simulator.Requests()); n != 2 {
			t.Errorf("requests that reached the provider: %d, want 2", n)
		}
	})
}
