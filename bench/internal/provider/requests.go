package provider

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

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
