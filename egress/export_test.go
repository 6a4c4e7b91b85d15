package egress

import (
	"io"
	"net"
	"net/netip"
	"time"
)

// What only this package's tests may see and do.

const (
	MaxIdle     = maxIdle
	MaxIdleTime = maxIdleTime
	MaxAge      = maxAge
	MaxHeader   = maxHeader
)

// SetClock replaces the clock by which connections grow old.
func SetClock(c *Client, now func() time.Time) { c.now = now }

// CheckAddresses does what the watcher does at each tick.
func CheckAddresses(c *Client) {
	c.locals.checkAll()
	c.pool.reap(c.now())
}

// SetMaxIdle replaces how many connections are kept.
func SetMaxIdle(c *Client, n int) { c.pool.most = n }

// Idle counts the connections in the pool.
func Idle(c *Client) int {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return len(c.pool.idle)
}

// IdleAlive reports whether all connections in the pool look usable.
func IdleAlive(c *Client) bool {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	for _, idle := range c.pool.idle {
		if !idle.alive() {
			return false
		}
	}
	return true
}

// WrapIdle puts a layer between the pooled connections and their sockets.
func WrapIdle(c *Client, wrap func(net.Conn) net.Conn) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	for _, idle := range c.pool.idle {
		idle.socket.Conn = wrap(idle.socket.Conn)
	}
}

// SetPins replaces the pins and keeps the sessions that can be resumed.
func SetPins(c *Client, pins [][32]byte) {
	config := tlsConfig(c.upstream.host, c.tls.RootCAs, pins)
	config.ClientSessionCache = c.tls.ClientSessionCache
	c.tls = config
}

// Encode returns the request as it would be written.
func Encode(c *Client, r *Request) ([]byte, error) {
	w, err := c.encode(r)
	if err != nil {
		return nil, err
	}
	return w.text, nil
}

// Routes returns the pairs of local and remote address that dialling would try.
func Routes(c *Client) (locals []netip.Addr, remotes []netip.AddrPort, err error) {
	ways, err := c.routes(noContext{})
	for _, way := range ways {
		locals = append(locals, way.local)
		remotes = append(remotes, way.remote)
	}
	return locals, remotes, err
}

type noContext struct{}

func (noContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (noContext) Done() <-chan struct{}       { return nil }
func (noContext) Err() error                  { return nil }
func (noContext) Value(any) any               { return nil }

// SpecialRange says what is special about addr, if anything.
func SpecialRange(addr netip.Addr) string { return specialRange(addr) }

// ReadAnswer reads one answer from r. reusable as for a connection that stays
// silent after what was read.
func ReadAnswer(r io.Reader, limit int64) (resp *Response, reusable bool, err error) {
	a := newAnswerReader(r)
	resp, reusable, err = a.read(limit)
	return resp, reusable && a.buf.Buffered() == 0, err
}
