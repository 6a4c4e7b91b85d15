package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	userAgent = "nowpay-gateway"
	maxHeader = 16 << 10
	maxBody   = 4 << 10 // of an answer: more is not worth a kept connection
	// idleTime is less than the 5 s after which some common servers close a kept
	// connection: a message must not cross that closing.
	idleTime = 4 * time.Second
	maxIdle  = 4
)

// limits bound a call in time.
type limits struct {
	connect time.Duration // lookup, connection and TLS together
	header  time.Duration // from the message's last byte to the answer's header
	body    time.Duration // for the answer's body
	whole   time.Duration
}

// Sender sends messages to one endpoint. Its methods are safe for concurrent
// use. It prints as its endpoint's scheme and host.
type Sender struct {
	target    target
	private   bool
	local     netip.Addr
	avoid     []netip.Addr
	secrets   func() ([]Secret, error)
	tls       *tls.Config // nil: http
	resolver  resolver
	limits    limits
	transport *http.Transport

	mu      sync.Mutex
	closed  bool
	closing chan struct{}
	work    sync.WaitGroup // calls and dials under way
}

// New checks an endpoint and makes a sender for it. It reaches no network and
// asks for no secrets. Close must be called at the end.
func New(e Endpoint) (*Sender, error) {
	t, err := e.check()
	if err != nil {
		return nil, fmt.Errorf("notification endpoint: %w", err)
	}
	s := &Sender{
		target:   t,
		private:  e.Private,
		local:    e.LocalAddress,
		avoid:    withoutZones(e.Avoid),
		secrets:  e.Secrets,
		resolver: net.DefaultResolver,
		limits: limits{
			connect: 5 * time.Second,
			header:  10 * time.Second,
			body:    time.Second,
			whole:   15 * time.Second,
		},
		closing: make(chan struct{}),
	}
	if t.tls {
		s.tls = &tls.Config{
			MinVersion: tls.VersionTLS12,
			ServerName: t.host,
			RootCAs:    e.RootCAs,
			NextProtos: []string{"http/1.1"},
		}
	}
	s.transport = s.newTransport()
	return s, nil
}

func (s *Sender) newTransport() *http.Transport {
	only1 := new(http.Protocols)
	only1.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  nil, // not even from the environment
		DialContext:            s.dial,
		DialTLSContext:         s.dial,
		Protocols:              only1,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTime,
		ResponseHeaderTimeout:  s.limits.header,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// Format implements fmt.Formatter for every verb.
func (s *Sender) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "sender to "+s.target.url.Scheme+"://"+s.target.url.Host)
}

// Send sends one message and waits for the answer, for 15 s at most. It does not
// try again. If the result is a failure the merchant may have got the message
// all the same.
func (s *Sender) Send(ctx context.Context, m Message) Result {
	if err := m.check(); err != nil {
		return Result{Err: err}
	}
	ctx, end, err := s.begin(ctx, s.limits.whole)
	if err != nil {
		return Result{Err: err}
	}
	defer end()
	return s.post(ctx, m)
}

// post is the one place from which a message leaves.
func (s *Sender) post(ctx context.Context, m Message) Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signatures, err := s.sign(m)
	if err != nil {
		return Result{Err: err}
	}
	var answered atomic.Bool // a byte of the answer has come
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotFirstResponseByte: func() { answered.Store(true) },
	})
	// A copy, because the transport may still read after it has returned.
	body := bytes.NewReader(bytes.Clone(m.Body))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.target.url.String(), body)
	if err != nil {
		return Result{Err: ErrMessage} // the text holds the URL
	}
	req.GetBody = nil // what cannot be read again cannot be sent again
	req.Header = header(m, signatures)
	// Not through an http.Client, which would follow redirects.
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		select {
		case <-s.closing: // which ends the call and its dial, one of them first
			return Result{Err: ErrClosed}
		default:
			return Result{Err: failure(ctx, err, answered.Load())}
		}
	}
	defer resp.Body.Close()
	if resp.StatusCode < http.StatusOK {
		// Protocols are switched: the connection would be ours without any bound.
		return answer(resp.StatusCode)
	}
	// A body that is read to its end lets the connection be kept. One that does
	// not end soon costs the connection, and changes nothing about the answer.
	timer := time.AfterFunc(s.limits.body, cancel)
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, maxBody+1) // one more shows the end
	return answer(resp.StatusCode)
}

func header(m Message, signatures string) http.Header {
	h := make(http.Header)
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", userAgent)
	h.Set(webhooks.HeaderWebhookID, m.ID)
	h.Set(webhooks.HeaderWebhookTimestamp, strconv.FormatInt(m.Time.Unix(), 10))
	h.Set(webhooks.HeaderWebhookSignature, signatures)
	return h
}

// begin enters what Close ends and waits for, unless the sender is closed. The
// caller calls end, once.
func (s *Sender) begin(ctx context.Context, within time.Duration) (_ context.Context, end func(), _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, ErrClosed
	}
	s.work.Add(1)
	ctx, cancel := context.WithTimeout(ctx, within)
	s.work.Go(func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel()
		s.work.Done()
	}, nil
}

// Close ends the calls under way, waits for them, and closes the kept
// connections. Those calls and later ones fail with [ErrClosed]. It can be called repeatedly.
func (s *Sender) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.work.Wait()
	s.transport.CloseIdleConnections()
}

var _ fmt.Formatter = (*Sender)(nil)
