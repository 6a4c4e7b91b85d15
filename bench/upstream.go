package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// upstreamIP is another one than what stands before it listens on.
const upstreamIP = "127.0.0.9"

// serveUpstream is a provider that says success at once, with as little as possible
// in between, to spare the machine for what is measured. It prints its address, and
// how many connections it has accepted when asked; it ends with its standard input.
func serveUpstream() error {
	listener, err := net.Listen("tcp", upstreamIP+":0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	fmt.Println(listener.Addr())
	var accepted atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			go answerAll(conn)
		}
	}()
	answerLines(func() string { return strconv.FormatInt(accepted.Load(), 10) })
	return nil
}

// answerAll answers the requests of a connection until it is closed.
func answerAll(conn net.Conn) {
	defer conn.Close()
	in := &requests{from: conn, buffer: make([]byte, 16<<10)}
	var out, body []byte
	for {
		head, request, err := in.next()
		if err != nil {
			return
		}
		body = appendAnswer(body[:0], requestID(request))
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

// requests reads requests with a Content-Length off a connection.
type requests struct {
	from   io.Reader
	buffer []byte
	used   int // of what was read: the request that was returned last
	filled int
}

// next returns the next one. It is good until next is called again.
func (r *requests) next() (head, body []byte, err error) {
	r.filled = copy(r.buffer, r.buffer[r.used:r.filled])
	r.used = 0
	for {
		if end := bytes.Index(r.buffer[:r.filled], []byte("\r\n\r\n")); end >= 0 {
			head = r.buffer[:end]
			length, err := strconv.ParseUint(string(field(head, "Content-Length")), 10, 16)
			if err != nil {
				return nil, nil, fmt.Errorf("reading the length of a body: %w", err)
			}
			if whole := end + 4 + int(length); whole <= r.filled {
				r.used = whole
				return head, r.buffer[end+4 : whole], nil
			}
		}
		if r.filled == len(r.buffer) {
			return nil, nil, errors.New("reading a request: it is too large")
		}
		n, err := r.from.Read(r.buffer[r.filled:])
		r.filled += n
		if n == 0 && err != nil {
			return nil, nil, err
		}
	}
}

// field is the value of the first header field of that name; nil if there is none.
func field(head []byte, name string) []byte {
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.TrimSpace(line[len(name)+1:])
		}
	}
	return nil
}

// components are what the provider signs.
var components = func() (list []httpsig.Component) {
	for _, text := range []string{"@status", "content-digest", `"signature";req;key="sig1"`} {
		component, err := httpsig.ParseComponent(text)
		if err != nil {
			panic(err)
		}
		list = append(list, component)
	}
	return list
}()

// appendSignature appends the header fields of a signed answer to a signed request,
// each after the end of a line.
func appendSignature(out []byte, signature string, body []byte) ([]byte, error) {
	header := http.Header{"Content-Digest": {httpsig.Digest(body)}}
	params := httpsig.Params{Label: "sig1", Components: components, Created: time.Now(), KeyID: username}
	message := &httpsig.Message{
		Status: http.StatusOK, Header: header,
		Request: &httpsig.Message{Header: http.Header{"Signature": {signature}}},
	}
	input, signature, err := httpsig.Sign(context.Background(), message, params, httpsig.HMAC(key))
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return fmt.Appendf(out, "\r\nContent-Digest: %s\r\nSignature-Input: %s\r\nSignature: %s",
		header.Get("Content-Digest"), input, signature), nil
}
