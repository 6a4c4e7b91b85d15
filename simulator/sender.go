package simulator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

const (
	// sendTimeout is how long one callback may take, from dialling to the reply.
	sendTimeout = 5 * time.Second
	// maxSending is how many callbacks are under way at once: a burst must not
	// use up the process's sockets.
	maxSending = 100
	// ignoredReply is how much of a reply is read, for the receiver's sake.
	ignoredReply = 64 << 10
)

// notSent is the error of a callback that Close or Reset was quicker than.
const notSent = "not sent: the simulator was closed or reset"

// outbox holds what concerns callbacks from one Reset to the next. It is
// guarded by the simulator's lock.
type outbox struct {
	target CallbackTarget
	sent   ring[Callback]
	held   []*callback   // wait for another callback to overtake them
	over   chan struct{} // closed by Reset and Close: what waits gives up
}

func newOutbox(t CallbackTarget) *outbox { return &outbox{target: t, over: make(chan struct{})} }

// isClosed needs the lock: after it said no, and until the lock is released,
// goroutines may be started that Close will wait for.
func (s *Simulator) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// settle settles what is due, and sends the callbacks. It needs the lock.
func (s *Simulator) settle(now time.Time) {
	for _, e := range s.books.settleDue(now) {
		s.callBack(e)
	}
}

// settleAfter sees to it that an entry settles, and its callback is sent, also
// if nobody looks at the books. It needs the lock.
func (s *Simulator) settleAfter(d time.Duration) {
	if s.isClosed() {
		return
	}
	over := s.outbox.over
	s.running.Go(func() {
		if !pause(d, over) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.settle(s.config.Now())
	})
}

// clock asks the clock under the lock, as all others do: it need not be safe for
// concurrent use.
func (s *Simulator) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config.Now()
}

// pause sleeps, and reports false if the simulator is closed or reset first.
func pause(d time.Duration, over <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-over:
		return false
	}
}

// launch sends all copies of a callback at once, in goroutines that Close waits
// for. The channel gives one record for each copy. It needs the lock.
func (s *Simulator) launch(c *callback) <-chan Callback {
	done := make(chan Callback, c.copies)
	for range c.copies {
		if s.isClosed() {
			done <- s.giveUp(c)
			continue
		}
		s.running.Go(func() { done <- s.deliver(c) })
	}
	return done
}

// giveUp records a callback that is not sent. It needs the lock.
func (s *Simulator) giveUp(c *callback) Callback {
	return s.record(c, Callback{Time: s.config.Now(), Error: notSent})
}

// deliver sends one copy and records it. What waited to be overtaken follows.
func (s *Simulator) deliver(c *callback) Callback {
	r := Callback{Time: s.clock(), Error: notSent}
	if s.admits(c) {
		defer func() { <-s.slots }()
		r.Time = s.clock()
		r.Status, r.Error = c.send(s.life, s.config.CallbackRoots, s.signCallback)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	held := c.box.held
	c.box.held = nil
	for _, h := range held {
		s.launch(h)
	}
	return s.record(c, r)
}

// admits waits for a callback's time and for a slot, which is the caller's to
// give back. It reports false if Close or Reset come first; what need not wait is
// sent nevertheless.
func (s *Simulator) admits(c *callback) bool {
	if c.delay > 0 && !pause(c.delay, c.box.over) {
		return false
	}
	select {
	case s.slots <- struct{}{}:
		return true
	default:
	}
	select {
	case s.slots <- struct{}{}:
		return true
	case <-c.box.over:
		return false
	}
}

// record keeps what became of one copy, without keys. It needs the lock.
func (s *Simulator) record(c *callback, r Callback) Callback {
	cut := s.redactor
	r.Number = c.box.sent.total + 1
	r.Method, r.URL, r.ContentType, r.Body = c.method, cut.text(c.url), c.contentType, cut.text(c.body)
	r.From, r.Shape, r.State, r.Fault = c.from, c.shape, c.state, c.fault
	r.ProviderID, r.RequestID = cut.text(c.ours), cut.text(c.yours)
	r.Error = cut.text(r.Error)
	c.box.sent.add(r)
	return r
}

// send makes the one request that a callback is. The reply is ignored, but for
// its status.
func (c *callback) send(life context.Context, roots *x509.CertPool, sign func(*http.Request, string) error) (status int, failure string) {
	ctx, cancel := context.WithTimeout(life, sendTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, c.method, c.url, strings.NewReader(c.body)) //nolint:gosec // G704: who sets the URL owns the simulator
	if err != nil {
		return 0, fmt.Sprintf("making request: %v", err)
	}
	r.GetBody = nil // nothing may send it a second time
	if c.contentType != "" {
		r.Header.Set("Content-Type", c.contentType)
	}
	r.Header.Set("Accept", "*/*")
	r.Header.Set("User-Agent", "") // sends none, as PHP's curl
	if !c.unsigned {
		if err := sign(r, c.body); err != nil {
			return 0, err.Error()
		}
	}
	t := callbackTransport(c.from, roots)
	defer t.CloseIdleConnections()
	resp, err := t.RoundTrip(r) // no http.Client: that would follow redirects
	if err != nil {
		return 0, fmt.Sprintf("sending callback: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, ignoredReply))
	return resp.StatusCode, ""
}

// signCallback signs a callback to the first of the valid credentials, where callbacks
// are signed.
func (s *Simulator) signCallback(r *http.Request, body string) error {
	signs, ok := s.security.(*signatures)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.credentials) == 0 {
		return nil
	}
	return signs.signCallback(r, body, s.credentials[0], s.config.Now())
}

// callbackTransport makes a transport for one request: a connection of its own
// from the given address, through no proxy.
func callbackTransport(from netip.Addr, roots *x509.CertPool) *http.Transport {
	var d net.Dialer
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	t := &http.Transport{
		Proxy:              nil, // not even from the environment
		DialContext:        d.DialContext,
		TLSClientConfig:    &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives:  true,
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}
