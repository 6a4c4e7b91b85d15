package vault

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http/httptrace"
	"sync"
)

// wipingConn remembers the buffers that its reader had it fill: those of the HTTP
// client and of TLS, through which the key comes and which nobody else can get at.
type wipingConn struct {
	net.Conn
	below *wipingConn // of TLS; nil: this is the socket

	reading sync.Mutex // held while a buffer is filled
	filled  [][]byte
}

// Read implements net.Conn.
func (c *wipingConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.filled = append(c.filled, p[:n])
	}
	return n, err
}

// wipe closes the connection and overwrites all that came over it. Nobody may be
// using that any more.
func (c *wipingConn) wipe() {
	if c.below != nil {
		c.below.wipe() // first: it ends a Read of TLS, too, and closing TLS may wait for the peer
	}
	_ = c.Close()
	c.reading.Lock()
	defer c.reading.Unlock()
	for _, p := range c.filled {
		clear(p)
	}
	c.filled = nil
}

// wipingDialer dials for a transport that uses each connection once.
type wipingDialer struct {
	dialer net.Dialer
	config *tls.Config
}

func (d *wipingDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says all
	}
	return &wipingConn{Conn: conn}, nil
}

// dialTLS has TLS between two that remember: what comes is decrypted in the buffer
// that it was read into, and copied to the HTTP client's.
func (d *wipingDialer) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout) // for the handshake as long as for dialling
	defer cancel()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	config := d.config.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err //nolint:wrapcheck // the HTTP client looks at its type
	}
	return &wipingConn{Conn: secured, below: conn.(*wipingConn)}, nil
}

// remember gives a context in which the connection of a request is put into conn.
func remember(ctx context.Context, conn **wipingConn) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { *conn, _ = info.Conn.(*wipingConn) },
	})
}
