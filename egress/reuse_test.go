package egress_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
)

// TestReplayTrap: a kept connection dies after the server has read the second
// request. HTTP clients like to send such a request again.
func TestReplayTrap(t *testing.T) {
	deaths := map[string]func(*peer){
		"close": func(*peer) {},
		"reset": func(c *peer) { c.Reset() },
		"half":  func(c *peer) { c.Say("HTTP/1.1 200 OK\r\n") },
	}
	eachScheme(t, func(t *testing.T, config *tls.Config) {
		for name, die := range deaths {
			for _, header := range []http.Header{nil, {"Idempotency-Key": {"1"}}, {"X-Idempotency-Key": {"1"}}} {
				t.Run(name, func(t *testing.T) {
					p := serve(t, "127.0.0.1:0", config, func(c *peer) {
						c.Receive()
						c.Say(answer("{}"))
						c.Receive()
						die(c)
					})
					c := client(t, p)
					post(t, c)
					r := request()
					r.Header = header
					_, err := c.Do(t.Context(), r)
					checkError(t, err, true, nil)
					if n := p.Executed.Load(); n != 2 {
						t.Errorf("%d requests executed, want 2: each once", n)
					}
					if n := p.Accepted.Load(); n != 1 {
						t.Errorf("%d connections, want 1", n)
					}
				})
			}
		}
	})
}

// TestDeadKeptConnection: the server ends a kept connection, or speaks on it,
// between two exchanges.
func TestDeadKeptConnection(t *testing.T) {
	ends := map[string]func(*peer){
		"close": func(c *peer) { _ = c.raw.Close() },
		"half":  func(c *peer) { _ = c.raw.CloseWrite() },
		"reset": func(c *peer) { c.Reset() },
		"late":  func(c *peer) { c.Say(answer("stale")) },
		"byte":  func(c *peer) { _, _ = c.raw.Write([]byte{'x'}) },
		"408":   func(c *peer) { c.Say("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"); _ = c.Close() },
	}
	eachScheme(t, func(t *testing.T, config *tls.Config) {
		for name, end := range ends {
			t.Run(name, func(t *testing.T) {
				proceed := make(chan struct{})
				p := serve(t, "127.0.0.1:0", config, func(c *peer) {
					c.Receive()
					c.Say(answer(fmt.Sprint(c.Nth)))
					if c.Nth == 1 {
						<-proceed
						end(c)
					}
					c.Wait()
				})
				c := client(t, p)
				post(t, c)
				if n := egress.Idle(c); n != 1 {
					t.Fatalf("%d connections kept, want 1", n)
				}
				close(proceed)
				eventually(t, "the client's socket tells", func() bool { return !egress.IdleAlive(c) })
				if got := string(post(t, c).Body); got != "2" {
					t.Errorf("answer %q, want that of a new connection", got)
				}
				if n := p.Executed.Load(); n != 2 {
					t.Errorf("%d requests executed, want 2", n)
				}
			})
		}
	})
}

// TestStaleAnswerHidesNowhere: a second answer arrives together with the
// first, in a TLS record of its own, whole or in part.
func TestStaleAnswerHidesNowhere(t *testing.T) {
	tls12 := testCertificates().server.Clone()
	tls12.MaxVersion = tls.VersionTLS12
	stale := answer("stale")
	for name, config := range map[string]*tls.Config{"tls13": testCertificates().server, "tls12": tls12} {
		for _, missing := range []int{0, 1, 10, 60} {
			t.Run(fmt.Sprint(name, " missing ", missing), func(t *testing.T) {
				p := serve(t, "127.0.0.1:0", config, func(c *peer) {
					c.Receive()
					if c.Nth > 1 {
						c.Say(answer("true"))
						c.Wait()
						return
					}
					c.cork.hold = true
					c.Say(answer("true"))
					c.Say(stale)
					c.cork.release(c.cork.held.Len() - missing)
					c.Receive()
					c.cork.release(missing)
					c.Wait()
				})
				c := client(t, p)
				for range 2 {
					if got := string(post(t, c).Body); got != "true" {
						t.Errorf("answer %q, want that of this exchange", got)
					}
				}
				if n := p.Accepted.Load(); n != 2 {
					t.Errorf("%d connections, want 2", n)
				}
			})
		}
	}
}

// TestStaleAnswerWithinRecord: a second answer in the TLS record of the first,
// whose body is large enough to be read past our buffer.
func TestStaleAnswerWithinRecord(t *testing.T) {
	config := testCertificates().server.Clone()
	config.DynamicRecordSizingDisabled = true
	for _, size := range []int{10, 4000, 4096, 8192, 12000, 16000} {
		p := serve(t, "127.0.0.1:0", config, func(c *peer) {
			for c.Receive() != nil {
				c.Say(answer(strings.Repeat("x", size)) + answer("stale"))
			}
		})
		c := client(t, p)
		for range 2 {
			if got := len(post(t, c).Body); got != size {
				t.Errorf("answer of %d bytes, want %d", got, size)
			}
		}
		if n := p.Accepted.Load(); n != 2 {
			t.Errorf("body of %d bytes: %d connections, want 2", size, n)
		}
	}
}

// brokenConn takes the first n bytes that are written and then fails.
type brokenConn struct {
	net.Conn
	n int
}

func (c *brokenConn) Write(p []byte) (int, error) {
	n, _ := c.Conn.Write(p[:min(c.n, len(p))])
	return n, &net.OpError{Op: "write", Err: syscall.EPIPE}
}

// TestBreaksAtWriting: a kept connection turns out dead only when it is
// written to. With no byte taken the request goes out on a new one; with the
// first byte it never does.
func TestBreaksAtWriting(t *testing.T) {
	eachScheme(t, func(t *testing.T, config *tls.Config) {
		for _, taken := range []int{0, 1, 50} {
			t.Run(fmt.Sprint(taken, " bytes"), func(t *testing.T) {
				p := serve(t, "127.0.0.1:0", config, answering(answer("{}")))
				c := client(t, p)
				post(t, c)
				egress.WrapIdle(c, func(conn net.Conn) net.Conn { return &brokenConn{Conn: conn, n: taken} })
				_, err := c.Do(t.Context(), request())
				if taken == 0 {
					if err != nil {
						t.Errorf("Do: %v", err)
					}
					if n := p.Executed.Load(); n != 2 {
						t.Errorf("%d requests executed, want 2", n)
					}
					return
				}
				checkError(t, err, true, syscall.EPIPE)
				if n := p.Accepted.Load(); n != 1 {
					t.Errorf("%d connections, want 1", n)
				}
			})
		}
		t.Run("cancelled meanwhile", func(t *testing.T) {
			p := serve(t, "127.0.0.1:0", config, answering(answer("{}")))
			c := client(t, p)
			post(t, c)
			ctx, cancel := context.WithCancel(t.Context())
			egress.WrapIdle(c, func(conn net.Conn) net.Conn { return cancellingConn{Conn: conn, cancel: cancel} })
			_, err := c.Do(ctx, request())
			checkError(t, err, false, context.Canceled)
			if n := p.Accepted.Load(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	})
}

// cancellingConn takes nothing, and ends the context of who writes.
type cancellingConn struct {
	net.Conn
	cancel func()
}

func (c cancellingConn) Write([]byte) (int, error) {
	c.cancel()
	return 0, syscall.EPIPE
}

// lateConn ends the context of who reads, once the answer is there.
type lateConn struct {
	net.Conn
	cancel func()
}

func (c lateConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.cancel()
	return n, err
}

// TestCancelWithAnswerInHand: the answer counts, but the connection has got a
// deadline that would fail the next exchange.
func TestCancelWithAnswerInHand(t *testing.T) {
	c := client(t, serve(t, "127.0.0.1:0", nil, answering(answer("{}"))))
	post(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	egress.WrapIdle(c, func(conn net.Conn) net.Conn { return lateConn{conn, cancel} })
	if _, err := c.Do(ctx, request()); err != nil {
		t.Errorf("Do: %v", err)
	}
	if n := egress.Idle(c); n != 0 {
		t.Errorf("%d interrupted connections kept", n)
	}
}

// keepingConn remembers the buffers that were written.
type keepingConn struct {
	net.Conn
	written *[][]byte
	seen    *bytes.Buffer
}

func (c keepingConn) Write(p []byte) (int, error) {
	*c.written = append(*c.written, p)
	c.seen.Write(p)
	return c.Conn.Write(p)
}

func TestRequestIsWiped(t *testing.T) {
	c := client(t, serve(t, "127.0.0.1:0", nil, answering(answer("{}"))))
	post(t, c)
	var written [][]byte
	var seen bytes.Buffer
	egress.WrapIdle(c, func(conn net.Conn) net.Conn { return keepingConn{conn, &written, &seen} })
	post(t, c)
	if len(written) != 1 || !bytes.Contains(seen.Bytes(), request().Body) {
		t.Fatalf("request written in %d parts, want 1", len(written))
	}
	if left := bytes.Trim(written[0], "\x00"); len(left) > 0 {
		t.Errorf("left in memory: %q", left)
	}
}

// TestManyAtOnce: under load, with cancellations at any moment, an answer is
// always that of its own request and none is executed twice.
func TestManyAtOnce(t *testing.T) {
	eachScheme(t, func(t *testing.T, config *tls.Config) {
		var executed sync.Map
		p := serve(t, "127.0.0.1:0", config, func(c *peer) {
			for c.Receive() != nil {
				if _, again := executed.LoadOrStore(string(c.Body), true); again {
					t.Errorf("request %s executed twice", c.Body)
				}
				c.Say(answer(string(c.Body)))
			}
		})
		c := client(t, p)
		var answered atomic.Int64
		var running sync.WaitGroup
		for worker := range 16 {
			running.Go(func() {
				for i := range 60 {
					ctx, cancel := context.WithCancel(t.Context())
					if i%3 == 0 {
						time.AfterFunc(time.Duration(i*worker)*time.Microsecond, cancel)
					}
					r := request()
					r.Body = fmt.Appendf(nil, `{"yourrequestid":"%d-%d"}`, worker, i)
					resp, err := c.Do(ctx, r)
					switch {
					case err == nil && !bytes.Equal(resp.Body, r.Body):
						t.Errorf("answer %s to request %s", resp.Body, r.Body)
					case err == nil:
						answered.Add(1)
					case i%3 != 0:
						t.Errorf("Do: %v", err)
					}
					cancel()
				}
			})
		}
		running.Wait()
		if n := answered.Load(); n < 16*40 {
			t.Errorf("%d answers", n)
		}
	})
}

// clock is a time that a test moves.
type clock struct{ nanoseconds atomic.Int64 }

func (c *clock) now() time.Time            { return time.Unix(1e9, c.nanoseconds.Add(1)) }
func (c *clock) advance(d time.Duration)   { c.nanoseconds.Add(int64(d)) }
func (c *clock) use(client *egress.Client) { egress.SetClock(client, c.now) }

func TestConnectionsGrowOld(t *testing.T) {
	p := serve(t, "127.0.0.1:0", nil, answering(answer("{}")))
	c := client(t, p)
	var clock clock
	clock.use(c)
	expect := func(connections int64, what string) {
		t.Helper()
		post(t, c)
		if n := p.Accepted.Load(); n != connections {
			t.Errorf("%s: %d connections, want %d", what, n, connections)
		}
	}
	expect(1, "at first")
	clock.advance(egress.MaxIdleTime - time.Second)
	expect(1, "almost too long idle")
	clock.advance(egress.MaxIdleTime)
	expect(2, "too long idle")
	for range egress.MaxAge / (egress.MaxIdleTime - time.Second) {
		clock.advance(egress.MaxIdleTime - time.Second)
		expect(2, "never idle")
	}
	clock.advance(egress.MaxIdleTime - time.Second)
	expect(3, "too old")
	clock.advance(egress.MaxIdleTime)
	egress.CheckAddresses(c)
	if n := egress.Idle(c); n != 0 {
		t.Errorf("%d idle connections outlived the watcher's tick", n)
	}
}

// together runs n exchanges that are all under way at the same time.
func together(t *testing.T, c *egress.Client, n int, arrived <-chan struct{}, proceed chan<- struct{}) {
	t.Helper()
	var running sync.WaitGroup
	for range n {
		running.Go(func() {
			if _, err := c.Do(t.Context(), request()); err != nil {
				t.Errorf("Do: %v", err)
			}
		})
	}
	for range n {
		<-arrived
	}
	for range n {
		proceed <- struct{}{}
	}
	running.Wait()
}

func gate() (script func(*peer), arrived, proceed chan struct{}) {
	arrived, proceed = make(chan struct{}), make(chan struct{})
	return func(c *peer) {
		for c.Receive() != nil {
			arrived <- struct{}{}
			<-proceed
			c.Say(answer("{}"))
		}
	}, arrived, proceed
}

func TestPoolIsBounded(t *testing.T) {
	script, arrived, proceed := gate()
	p := serve(t, "127.0.0.1:0", nil, script)
	c := client(t, p)
	const most = 64
	egress.SetMaxIdle(c, most)
	together(t, c, most+5, arrived, proceed)
	if n := egress.Idle(c); n != most {
		t.Errorf("%d idle connections, want %d", n, most)
	}
	together(t, c, most, arrived, proceed)
	if n := p.Accepted.Load(); n != most+5 {
		t.Errorf("%d connections, want %d", n, most+5)
	}
}

func TestClose(t *testing.T) {
	script, arrived, proceed := gate()
	p := serve(t, "127.0.0.1:0", nil, script)
	c := client(t, p)
	c.Start()
	together(t, c, 2, arrived, proceed)
	done := make(chan error)
	go func() {
		_, err := c.Do(t.Context(), request())
		done <- err
	}()
	<-arrived
	c.Close()
	c.Close()
	c.Start()
	if n := egress.Idle(c); n != 0 {
		t.Errorf("%d idle connections after Close", n)
	}
	_, err := c.Do(t.Context(), request())
	checkError(t, err, false, nil)
	proceed <- struct{}{}
	if err := <-done; err != nil {
		t.Errorf("exchange under way at Close: %v", err)
	}
	if n := egress.Idle(c); n != 0 {
		t.Errorf("%d idle connections after the last exchange", n)
	}
}

// TestKeepAliveHeader: a server that says how long it keeps a connection is
// believed, so that a request does not cross with its closing.
func TestKeepAliveHeader(t *testing.T) {
	for _, test := range []struct {
		header string
		idle   time.Duration
		reused bool
	}{
		{"timeout=5, max=100", 3 * time.Second, true},
		{"timeout=5, max=100", 4 * time.Second, false},
		{"max=100, Timeout=5", 4 * time.Second, false},
		{"timeout=1", 0, false},
		{"timeout=0", 0, false},
		{"timeout=600", egress.MaxIdleTime - time.Second, true},
		{"timeout=600", egress.MaxIdleTime, false},
		{"timeout=x", 4 * time.Second, true},
	} {
		t.Run(test.header+" "+test.idle.String(), func(t *testing.T) {
			p := serve(t, "127.0.0.1:0", nil, answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: "+test.header+"\r\n\r\n{}"))
			c := client(t, p)
			var clock clock
			clock.use(c)
			post(t, c)
			clock.advance(test.idle)
			post(t, c)
			want := int64(2)
			if test.reused {
				want = 1
			}
			if n := p.Accepted.Load(); n != want {
				t.Errorf("%d connections, want %d", n, want)
			}
		})
	}
}
