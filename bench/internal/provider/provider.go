package provider

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
)

// IP is another one than what stands before the provider listens on.
const IP = "127.0.0.9"

// The gateway's credential.
const (
	Username = "2000"
	Key      = "0123456789abcdef0123456789"
)

// Counts is what a provider has counted since it started.
type Counts struct {
	Accepted int // connections
	Received int // requests
	Proven   int // of them: that carry the key or a signature
	Repeated int // of them: payments whose ID came before
}

// Ask asks a provider that is a child.
func Ask(c *machine.Child) (n Counts, err error) {
	err = c.Ask(&n.Accepted, &n.Received, &n.Proven, &n.Repeated)
	return n, err
}

// provider is one that runs.
type provider struct {
	delay                                time.Duration
	accepted, received, proven, repeated atomic.Int64

	mu   sync.Mutex
	paid map[string]struct{} // IDs
}

// Serve is the child's part. It answers each request after a delay, until its
// standard input ends.
func Serve(delay time.Duration) error {
	listener, err := net.Listen("tcp", IP+":0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	fmt.Println(listener.Addr())
	p := &provider{delay: delay, paid: make(map[string]struct{})}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.accepted.Add(1)
			go p.answerAll(conn)
		}
	}()
	machine.AnswerLines(func() string {
		return fmt.Sprint(p.accepted.Load(), p.received.Load(), p.proven.Load(), p.repeated.Load())
	})
	return nil
}

// answerAll answers the requests of a connection until it is closed.
func (p *provider) answerAll(conn net.Conn) {
	defer conn.Close()
	in := &requests{from: conn, buffer: make([]byte, 4<<10)}
	var out, body []byte
	for {
		head, request, err := in.next()
		if err != nil {
			return
		}
		p.count(head, request)
		if p.delay > 0 {
			time.Sleep(p.delay)
		}
		body = AppendAnswer(body[:0], RequestID(request))
		out = append(out[:0], "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "...)
		out = strconv.AppendInt(out, int64(len(body)), 10)
		if signature := field(head, "Signature"); signature != nil {
			if out, err = appendSignature(out, string(signature), body); err != nil {
				return
			}
		}
		out = append(append(out, "\r\n\r\n"...), body...)
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

// count counts a request before it is answered.
func (p *provider) count(head, body []byte) {
	p.received.Add(1)
	if bytes.Contains(body, []byte(Key)) || field(head, "Signature") != nil || field(head, "X-Signature") != nil {
		p.proven.Add(1)
	}
	target, _, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.Contains(target, []byte("/payout ")) {
		return
	}
	id := string(RequestID(body))
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.paid[id]; known {
		p.repeated.Add(1)
	}
	p.paid[id] = struct{}{}
}
