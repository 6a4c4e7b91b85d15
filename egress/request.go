package egress

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	lineEnd       = "\r\n"
	contentType   = "Content-Type: "
	contentLength = "Content-Length: "
)

// reserved are the headers that a signer cannot set: those that the client
// writes, and those that would change where a message ends or who reads it.
var reserved = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Connection": true, "Content-Length": true, "Content-Type": true,
	"Expect": true, "Host": true, "Keep-Alive": true, "Proxy-Connection": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "User-Agent": true,
}

func fixedHeader(hostport, userAgent string) string {
	return " HTTP/1.1" + lineEnd +
		"Host: " + hostport + lineEnd +
		"User-Agent: " + userAgent + lineEnd +
		"Accept: application/json" + lineEnd +
		"Accept-Encoding: identity" + lineEnd
}

// wire is a request as it is sent. It may hold the key, so it is overwritten before
// it is used for another.
type wire struct {
	text []byte
	pool *sync.Pool
}

// free overwrites the request and lets go of its memory.
func (w *wire) free() {
	clear(w.text)
	w.text = w.text[:0]
	w.pool.Put(w)
}

// encode writes the whole request into memory that is large enough from the
// beginning, so that no outgrown copy of the key stays behind.
func (c *Client) encode(r *Request) (*wire, error) {
	if err := checkRequest(r); err != nil {
		return nil, err
	}
	w, ok := c.wires.Get().(*wire)
	if !ok {
		w = &wire{pool: &c.wires}
	}
	var names []string
	if len(r.Header) > 0 {
		names = slices.Sorted(maps.Keys(r.Header))
	}
	if size := c.size(r); cap(w.text) < size {
		w.text = make([]byte, 0, size)
	}
	b := append(w.text, "POST "...)
	b = append(b, r.Target...)
	b = append(b, c.fixed...)
	b = append(b, contentType...)
	b = append(b, r.ContentType...)
	b = append(b, lineEnd...)
	b = append(b, contentLength...)
	b = strconv.AppendInt(b, int64(len(r.Body)), 10)
	b = append(b, lineEnd...)
	for _, name := range names {
		for _, value := range r.Header[name] {
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, value...)
			b = append(b, lineEnd...)
		}
	}
	b = append(b, lineEnd...)
	w.text = append(b, r.Body...)
	return w, nil
}

// size is that of the request.
func (c *Client) size(r *Request) int {
	var digits [20]byte
	length := strconv.AppendInt(digits[:0], int64(len(r.Body)), 10)
	size := len("POST ") + len(r.Target) + len(c.fixed) +
		len(contentType) + len(r.ContentType) + len(lineEnd) +
		len(contentLength) + len(length) + len(lineEnd) +
		len(lineEnd) + len(r.Body)
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(": ") + len(value) + len(lineEnd)
		}
	}
	return size
}

// checkRequest refuses whatever could make another message of the request than
// the one that was meant. Its errors name no values: they may be secret.
func checkRequest(r *Request) error {
	if !strings.HasPrefix(r.Target, "/") || strings.Contains(r.Target, " ") || !printable(r.Target) {
		return errors.New("target is not a path of printable ASCII")
	}
	if r.ContentType == "" || !validValue(r.ContentType) {
		return errors.New("content type is empty or not printable ASCII")
	}
	for name, values := range r.Header {
		if !validName(name) {
			return fmt.Errorf("header name %q is not a token", name)
		}
		if reserved[http.CanonicalHeaderKey(name)] {
			return fmt.Errorf("header %s cannot be set", name)
		}
		for _, value := range values {
			if !validValue(value) {
				return fmt.Errorf("value of header %s is not printable ASCII", name)
			}
		}
	}
	return nil
}

// validValue allows less than RFC 9110 does: nothing that we send needs more.
func validValue(s string) bool {
	return printable(s) && s == strings.TrimSpace(s)
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// validName reports whether s is a token of RFC 9110, section 5.6.2.
func validName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte(`"(),/:;<=>?@[\]{}`, s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}
