package egress

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// conn is one connection to the upstream. It belongs to one exchange at a
// time, or to the pool.
type conn struct {
	net.Conn // TLS, or the socket itself
	*answerReader

	socket *socket
	fd     syscall.RawConn

	rank      int        // which of the local addresses it is bound to
	local     netip.Addr // source address
	opened    time.Time  // when dialling began
	idleSince time.Time

	onDone      func() // interrupts the exchange
	interrupted chan struct{}
	look        func(fd uintptr) // peeks; made once
	silent      bool             // what the last look found
	scratch     [1]byte
}

// newConn wraps a connected socket; [conn.begin] makes it ready for use.
func newConn(tcp *net.TCPConn) (*conn, error) {
	fd, err := tcp.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("looking at the socket: %w", err)
	}
	c := &conn{
		socket:      &socket{Conn: tcp},
		fd:          fd,
		local:       addrOf(tcp.LocalAddr()),
		interrupted: make(chan struct{}, 1),
	}
	c.Conn, c.look = c.socket, c.peek
	c.onDone = func() {
		_ = c.SetDeadline(past()) // fails only if closed, which interrupts as well
		c.interrupted <- struct{}{}
	}
	return c, nil
}

// begin does the TLS handshake if there is a config for it.
func (c *conn) begin(ctx context.Context, config *tls.Config) error {
	if config != nil {
		c.socket.records = true
		secured := tls.Client(c.socket, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS handshake with %s: %w", c.socket.RemoteAddr(), err)
		}
		c.Conn = secured
	}
	c.answerReader = newAnswerReader(c.Conn)
	return nil
}

// send writes the request. sent tells whether the system took a byte of it.
func (c *conn) send(wire []byte) (sent bool, err error) {
	before := c.socket.written
	_, err = c.Conn.Write(wire)
	return c.socket.written > before, err
}

// interruptAfter makes reads and writes fail once ctx is done. The function
// that it returns ends that, and tells whether it has happened: then the
// connection has a deadline in the past and is of no further use.
func (c *conn) interruptAfter(ctx context.Context) (stop func() (interrupted bool)) {
	if ctx.Done() == nil { // never
		return uninterrupted
	}
	cancel := context.AfterFunc(ctx, c.onDone)
	return func() bool {
		if cancel() {
			return false
		}
		<-c.interrupted // so that no goroutine outlives the exchange
		return true
	}
}

func uninterrupted() bool { return false }

// alive reports whether a kept connection may be written to: the peer has
// neither closed it nor said anything since the last answer.
func (c *conn) alive() bool {
	c.silent = false
	return canPeek && c.fd.Control(c.look) == nil && c.silent
}

// quiet reports that nothing that the peer sent is held on our side of the
// socket, where alive would not see it and the next exchange would take it for
// its answer.
func (c *conn) quiet() bool {
	if c.buf.Buffered() > 0 {
		return false
	}
	if !c.socket.records {
		return true
	}
	// TLS may hold decrypted bytes. Past its deadline the socket gives nothing
	// more, so that this only asks for them.
	if c.SetReadDeadline(past()) != nil {
		return false
	}
	n, err := c.Conn.Read(c.scratch[:])
	return n == 0 && isTimeout(err) && c.SetReadDeadline(time.Time{}) == nil
}

// close closes the socket at once. It sends no TLS alert: that could block on
// a peer that does not read.
func (c *conn) close() { _ = c.socket.Close() }

// abort closes the socket and throws away what the peer has not yet
// acknowledged. Otherwise the system would go on delivering a request that the
// exchange has given up: minutes later, once the way is open again.
func (c *conn) abort() {
	if tcp, ok := c.socket.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only if closed
	}
	c.close()
}

// past is a deadline that has always gone by.
func past() time.Time { return time.Unix(1, 0) }

func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}

// socket counts what the system takes, below TLS, and with records set gives
// TLS no byte beyond the record that it is reading, so that what follows stays
// in the kernel, where it can be seen.
type socket struct {
	net.Conn
	written int64

	records bool
	header  [5]byte // of the current TLS record
	have    int     // how much of header has been read
	left    int     // how much of the record's payload has not been read
}

func (s *socket) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	s.written += int64(n)
	return n, err
}

func (s *socket) Read(p []byte) (int, error) {
	if !s.records {
		return s.Conn.Read(p)
	}
	if s.have < len(s.header) {
		n, err := s.Conn.Read(p[:min(len(p), len(s.header)-s.have)])
		s.have += copy(s.header[s.have:], p[:n])
		if s.have == len(s.header) {
			s.begin(int(binary.BigEndian.Uint16(s.header[3:])))
		}
		return n, err
	}
	n, err := s.Conn.Read(p[:min(len(p), s.left)])
	s.begin(s.left - n)
	return n, err
}

// begin notes that left bytes of payload are to come before the next header.
func (s *socket) begin(left int) {
	if s.left = left; left == 0 {
		s.have = 0
	}
}
