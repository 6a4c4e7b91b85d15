package vault_test

import (
	"net"
	"sync"
	"testing"
)

// hang is a server that takes connections and never answers.
type hang struct {
	address string

	mu    sync.Mutex
	conns []net.Conn
}

func newHang(t *testing.T) *hang {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hang{address: "http://" + ln.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			h.mu.Lock()
			h.conns = append(h.conns, conn)
			h.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
		for _, conn := range h.conns {
			conn.Close()
		}
	})
	return h
}

func (h *hang) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}
