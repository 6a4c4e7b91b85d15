package egress_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
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
		std := standard(t, text)
		if std.status != resp.Status {
			t.Errorf("status %d, net/http says %d", resp.Status, std.status)
		}
		if !bytes.Equal(std.body, resp.Body) || std.err != nil && reusable { // net/http may refuse trailers
			t.Errorf("body %q, net/http says %q, %v", resp.Body, std.body, std.err)
		}
		if reusable && (std.closes || len(std.behind) > 0) {
			t.Errorf("reusable, but net/http closes (%v) or finds %q behind", std.closes, std.behind)
		}
	})
}

// standardAnswer is an answer as net/http reads it.
type standardAnswer struct {
	status       int
	body, behind []byte
	err          error // of reading body
	closes       bool
}

func standard(t *testing.T, text []byte) (a standardAnswer) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(text))
	for a.status < 200 {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("net/http refuses it: %v", err)
		}
		a.status, a.closes = resp.StatusCode, resp.Close
		a.body, a.err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	a.behind, _ = io.ReadAll(r)
	return a
}

// FuzzEncode: a request is refused, or a server reads from it what was meant
// and nothing after it.
func FuzzEncode(f *testing.F) {
	f.Add("/api/index.php?route=/api/bank/payout", "application/json", "Signature", "sig=:AA==:", []byte("{}"))
	f.Add("/a b", "a\r\nb", "Content-Length", "1\r\n", []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add("//host/%zz#x", "", "X Y", " ", []byte{})
	f.Add("/?", "x", "transfer-encoding", "chunked", []byte("0\r\n\r\n"))
	c, err := egress.New(egress.Config{URL: &url.URL{Scheme: "https", Host: "nowpay.in"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, target, contentType, name, value string, body []byte) {
		wire, err := egress.Encode(c, &egress.Request{
			Target: target, ContentType: contentType, Header: http.Header{name: {value}}, Body: body,
		})
		if err != nil {
			return
		}
		if len(wire) != cap(wire) {
			t.Errorf("%d bytes in a buffer of %d", len(wire), cap(wire))
		}
		wireReader := bufio.NewReader(bytes.NewReader(wire))
		r, err := http.ReadRequest(wireReader)
		if err != nil {
			if _, bad := url.ParseRequestURI(target); bad != nil {
				return // the provider's to refuse
			}
			t.Fatalf("net/http refuses %q: %v", wire, err)
		}
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, body) || wireReader.Buffered() > 0 {
			t.Errorf("body %q, %v, %d bytes behind, want %q", got, err, wireReader.Buffered(), body)
		}
		if r.Method != http.MethodPost || r.RequestURI != target || r.Host != "nowpay.in" || len(r.Header) != 6 ||
			r.Header.Get("Content-Type") != contentType || r.Header.Get(name) != value {
			t.Errorf("server reads %s %s for %s, %q", r.Method, r.RequestURI, r.Host, r.Header)
		}
	})
}
