package egress_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
)

// FuzzReadResponse holds our reader of answers against net/http's: whatever we
// accept means the same there. Beyond that nothing is held but what the bounds
// allow, and a connection is not used again after anything that goes on.
func FuzzReadResponse(f *testing.F) {
	for _, seed := range []string{
		"",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\n\r\n{}",
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
		"HTTP/1.1 200 OK\nFolded: a\n b\nContent-Length: 2\n\n{}",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 4097\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	const limit = 4096
	f.Fuzz(func(t *testing.T, text []byte) {
		resp, reusable, err := egress.ReadAnswer(bytes.NewReader(text), limit)
		if err != nil {
			if resp != nil || reusable {
				t.Errorf("error %v beside an answer", err)
			}
			return
		}
		if len(resp.Body) > limit || resp.Status < 200 || resp.Status > 599 {
			t.Errorf("status %d, body of %d bytes", resp.Status, len(resp.Body))
		}
		std, rest := standard(t, text)
		if std.StatusCode != resp.Status {
			t.Errorf("status %d, net/http says %d", resp.Status, std.StatusCode)
		}
		body, err := io.ReadAll(std.Body)
		if !bytes.Equal(body, resp.Body) || err != nil && reusable { // net/http may refuse trailers
			t.Errorf("body %q, net/http says %q, %v", resp.Body, body, err)
		}
		if left, _ := io.ReadAll(rest); reusable && (std.Close || len(left) > 0) {
			t.Errorf("reusable, but net/http closes (%v) or finds %q behind", std.Close, left)
		}
	})
}

// standard reads the final answer in text as net/http does.
func standard(t *testing.T, text []byte) (*http.Response, *bufio.Reader) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(text))
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("net/http refuses it: %v", err)
		}
		if resp.StatusCode >= 200 {
			return resp, r
		}
	}
}
