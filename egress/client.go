package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"
)

const (
	defaultTimeout       = 90 * time.Second
	defaultMaxResponse   = 1 << 20
	defaultUserAgent     = "nowpay-gateway"
	defaultWatchInterval = 500 * time.Millisecond
)

// Config says where requests go, from which address, and what is believed.
// It is copied by [New].
type Config struct {
	// URL is the upstream: scheme, host and port, nothing else. Plain http is
	// accepted for literal loopback addresses and localhost only, see
	// InsecureHTTP.
	URL *url.URL
	// LocalAddresses are the source addresses in order of preference. Each
	// connection is bound to the first that is on this machine and of the
	// remote's family. Empty: the system chooses.
	LocalAddresses []netip.Addr
	// Addresses are what the host may resolve to. Empty: any public address;
	// private and special ranges only if the upstream is a literal address or
	// localhost.
	Addresses []netip.Prefix
	// RootCAs verify the provider's certificate. Nil: the system's.
	RootCAs *x509.CertPool
	// Pins are SHA-256 hashes over the SubjectPublicKeyInfo of a certificate.
	// If there are any, each verified chain that is accepted holds a
	// certificate with one of them: the provider's own or a CA's. Give the
	// next key's pin beside the current one to rotate.
	Pins [][32]byte
	// Timeout bounds a whole exchange, from resolving the name to the last
	// byte of the answer. 0: 90 s.
	Timeout time.Duration
	// MaxResponse bounds the body of an answer in bytes. 0: 1 MiB.
	MaxResponse int64
	// InsecureHTTP permits plain http to anything but loopback. The key then
	// travels readable by everyone on the way.
	InsecureHTTP bool
	// UserAgent is the header of that name. Empty: "nowpay-gateway".
	UserAgent string
	// Resolver looks up the upstream's host. Nil: [net.DefaultResolver].
	Resolver Resolver
	// WatchInterval is the time between two checks of the local addresses.
	// 0: 500 ms.
	WatchInterval time.Duration
}

// Resolver looks up addresses; [net.Resolver] does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Client sends requests to one upstream. It is safe for concurrent use.
type Client struct {
	upstream    upstream
	fixed       string // the header lines that are the same for all requests
	tls         *tls.Config
	timeout     time.Duration
	maxResponse int64
	resolver    Resolver
	locals      *presence
	pool        *pool
	wires       sync.Pool
	now         func() time.Time

	interval time.Duration
	start    sync.Once
	end      sync.Once
	ended    chan struct{}
	watching sync.WaitGroup
}

// New checks cfg and makes a client of it. It reaches no network. The client
// can be used at once; [Client.Start] makes it watch its local addresses.
func New(cfg Config) (*Client, error) {
	up, err := parseUpstream(cfg)
	if err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	if err := checkLocals(cfg.LocalAddresses); err != nil {
		return nil, err
	}
	if cfg.Timeout < 0 || cfg.MaxResponse < 0 || cfg.WatchInterval < 0 {
		return nil, errors.New("timeout, response limit and watch interval must not be negative")
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = defaultUserAgent
	}
	if !validValue(cfg.UserAgent) {
		return nil, errors.New("user agent: only printable ASCII is possible in a header")
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	c := &Client{
		upstream:    up,
		fixed:       fixedHeader(up.hostport, cfg.UserAgent),
		timeout:     orDefault(cfg.Timeout, defaultTimeout),
		maxResponse: orDefault(cfg.MaxResponse, defaultMaxResponse),
		resolver:    cfg.Resolver,
		pool:        newPool(len(cfg.LocalAddresses)),
		now:         time.Now,
		interval:    orDefault(cfg.WatchInterval, defaultWatchInterval),
		ended:       make(chan struct{}),
	}
	c.locals = newPresence(slices.Clone(cfg.LocalAddresses), c.addressChanged)
	if up.tls {
		c.tls = tlsConfig(up.host, cfg.RootCAs, slices.Clone(cfg.Pins))
	}
	return c, nil
}

func orDefault[T ~int64](v, fallback T) T {
	if v == 0 {
		return fallback
	}
	return v
}

// Request is one request. The method is always POST.
type Request struct {
	// Target is path and query as they are written: "/api/index.php?route=…".
	Target string
	// ContentType of the body.
	ContentType string
	// Header holds the signer's further headers. Names that the client writes
	// itself, or that change how a message is framed, are refused.
	Header http.Header
	// Body is not kept after [Client.Do] returns.
	Body []byte
}

// Response is a complete answer, of whatever status: redirects too are only
// answers.
type Response struct {
	Status int
	// Header as it came, names in canonical form, trailers left out.
	Header http.Header
	// Body as it came, without its transfer coding; never decompressed.
	Body []byte
	// LocalAddr is the source address that the request left from.
	LocalAddr netip.Addr
	// Duration from the first byte written to the last byte read.
	Duration time.Duration
}

// Do sends r and returns the answer, whatever its status. Its error is always
// an [*Error], which says whether the request can have left.
//
// Only these headers are sent: Host, User-Agent, Accept (application/json),
// Accept-Encoding (identity), Content-Type, Content-Length and r.Header.
func (c *Client) Do(ctx context.Context, r *Request) (*Response, error) {
	limit := time.Now().Add(c.timeout)
	wire, err := c.encode(r)
	if err != nil {
		return nil, &Error{Err: err}
	}
	defer wire.free()

	conn, err := c.pool.get(c.now())
	if err != nil {
		return nil, &Error{Err: err}
	}
	if conn != nil {
		resp, failed := c.exchange(ctx, conn, wire.text, limit)
		if failed == nil {
			return resp, nil
		}
		if failed.Sent {
			return nil, failed
		}
		// The kept connection was dead and took nothing: as if it had never been.
	}
	conn, failed := c.connect(ctx, limit)
	if failed != nil {
		return nil, failed
	}
	resp, failed := c.exchange(ctx, conn, wire.text, limit)
	if failed != nil { // not returned as it is: a nil *Error is no nil error
		return nil, failed
	}
	return resp, nil
}

// connect opens a connection by the time of limit.
func (c *Client) connect(ctx context.Context, limit time.Time) (*conn, *Error) {
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, failure(ctx, false, false, err)
	}
	return conn, nil
}

// exchange is a round trip with its account: from where, and how long it took.
func (c *Client) exchange(ctx context.Context, conn *conn, wire []byte, limit time.Time) (*Response, *Error) {
	begun := c.now()
	resp, sent, err := c.roundTrip(ctx, conn, wire, limit)
	if err != nil {
		failed := failure(ctx, sent, !time.Now().Before(limit), err)
		failed.LocalAddr, failed.Duration = conn.local, c.now().Sub(begun)
		return nil, failed
	}
	resp.LocalAddr, resp.Duration = conn.local, c.now().Sub(begun)
	return resp, nil
}

// roundTrip sends wire on conn and reads the answer. It owns conn: keeps it for
// the next exchange or closes it. sent tells whether the system took a byte.
func (c *Client) roundTrip(ctx context.Context, conn *conn, wire []byte, limit time.Time) (resp *Response, sent bool, err error) {
	reusable := false
	defer func() {
		if !reusable || !c.pool.put(conn, c.now()) {
			conn.close()
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	if err := conn.SetDeadline(limit); err != nil {
		return nil, false, err //nolint:wrapcheck // the connection is closed
	}
	stop := conn.interruptAfter(ctx)
	if sent, err = conn.send(wire); err == nil {
		resp, reusable, err = conn.read(c.maxResponse)
	}
	interrupted := stop()
	if err != nil {
		conn.abort()
		return nil, sent, err
	}
	reusable = reusable && !interrupted && conn.quiet()
	return resp, true, nil
}

// URL is that of a target as it is requested: scheme and host as configured, the
// host as in the Host header.
func (c *Client) URL(target string) string {
	scheme := "http://"
	if c.upstream.tls {
		scheme = "https://"
	}
	return scheme + c.upstream.hostport + target
}

// Timeout is the longest that [Client.Do] takes.
func (c *Client) Timeout() time.Duration { return c.timeout }

// Start checks the local addresses and begins to watch them. A second call, or
// one after [Client.Close], does nothing.
func (c *Client) Start() {
	c.start.Do(func() {
		c.locals.checkAll()
		c.watching.Go(c.watch)
	})
}

// Close stops watching and waits for it, closes the kept connections, and
// makes further requests fail unsent. Exchanges under way are carried on to
// their end and then close their connections.
func (c *Client) Close() {
	c.start.Do(func() {}) // from here on none starts, and one under way has
	c.end.Do(func() { close(c.ended) })
	c.watching.Wait()
	c.pool.close()
}
