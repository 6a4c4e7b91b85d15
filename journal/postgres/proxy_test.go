package postgres

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a store and its server. It counts round trips, and cuts
// the connection when it sees what it is told to look for.
type proxy struct {
	listener net.Listener
	server   string
	pumps    sync.WaitGroup

	roundTrips atomic.Int64           // how often the client spoke after the server
	cutRequest atomic.Pointer[string] // cuts instead of passing on what the client says
	cutAnswer  atomic.Pointer[string] // cuts instead of passing on what the server says
}

// startProxy returns a proxy and the DSN through it.
func startProxy(t *testing.T, dsn string) (p *proxy, through string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	p = &proxy{server: u.Host}
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	p.pumps.Go(p.accept)
	t.Cleanup(func() {
		p.listener.Close()
		p.pumps.Wait()
	})
	u.Host = p.listener.Addr().String()
	return p, u.String()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		var answered atomic.Bool
		answered.Store(true)
		p.pumps.Go(func() {
			pump(server, client, &p.cutRequest, func() {
				if answered.Swap(false) {
					p.roundTrips.Add(1)
				}
			})
		})
		p.pumps.Go(func() {
			pump(client, server, &p.cutAnswer, func() { answered.Store(true) })
		})
	}
}

// pump copies until either end is closed, and closes both.
func pump(to, from net.Conn, cut *atomic.Pointer[string], seen func()) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 1<<20)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		seen()
		if sign := cut.Load(); sign != nil && bytes.Contains(buffer[:n], []byte(*sign)) {
			return
		}
		if _, err := io.Copy(to, bytes.NewReader(buffer[:n])); err != nil {
			return
		}
	}
}

// unprepared makes a store send the text of every statement, for a proxy to see.
func unprepared(dsn string) string {
	return dsn + map[bool]string{true: "&", false: "?"}[strings.Contains(dsn, "?")] + "default_query_exec_mode=exec"
}
