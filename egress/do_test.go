package egress_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
)

func TestRequestOnTheWire(t *testing.T) {
	wire := make(chan string, 1)
	p := serve(t, "127.0.0.1:0", nil, func(c *peer) {
		buf := make([]byte, 4096)
		n, _ := c.Read(buf)
		wire <- string(buf[:n])
		c.Say(answer("{}"))
	})
	c := client(t, p, func(cfg *egress.Config) { cfg.UserAgent = "gateway/1" })
	r := request()
	r.Header = http.Header{"Signature-Input": {"sig=()"}, "Content-Digest": {"a", "b"}}
	if _, err := c.Do(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := "POST /api/index.php?route=/api/bank/payout HTTP/1.1\r\n" +
		"Host: " + p.URL("").Host + "\r\n" +
		"User-Agent: gateway/1\r\n" +
		"Accept: application/json\r\n" +
		"Accept-Encoding: identity\r\n" +
		"Content-Type: application/json\r\n" +
		"Content-Length: 60\r\n" +
		"Content-Digest: a\r\n" +
		"Content-Digest: b\r\n" +
		"Signature-Input: sig=()\r\n" +
		"\r\n" +
		`{"username":"2000","key":"0123456789abcdef","amount":"1.50"}`
	if got := <-wire; got != want {
		t.Errorf("request:\n%q\nwant:\n%q", got, want)
	}
}

func TestEncodeLeavesNoCopies(t *testing.T) {
	c := client(t, serve(t, "127.0.0.1:0", nil, answering(answer("{}"))))
	r := request()
	r.Header = http.Header{"Signature": {"sig=:AA==:", "x"}}
	wire, err := egress.Encode(c, r)
	if err != nil {
		t.Fatal(err)
	}
	if len(wire) != cap(wire) {
		t.Errorf("%d bytes in a buffer of %d: it may have been outgrown", len(wire), cap(wire))
	}
}

func TestUnwritableRequestsAreNotSent(t *testing.T) {
	tests := map[string]func(*egress.Request){
		"no target":             func(r *egress.Request) { r.Target = "" },
		"absolute target":       func(r *egress.Request) { r.Target = "http://elsewhere/" },
		"space in target":       func(r *egress.Request) { r.Target = "/a HTTP/1.1" },
		"line end in target":    func(r *egress.Request) { r.Target = "/a\r\nX: y" },
		"other than ASCII":      func(r *egress.Request) { r.Target = "/\u00e4" },
		"no content type":       func(r *egress.Request) { r.ContentType = "" },
		"CR in content type":    func(r *egress.Request) { r.ContentType = "a\rb" },
		"LF in value":           func(r *egress.Request) { r.Header = http.Header{"X": {"a\nb"}} },
		"CR in value":           func(r *egress.Request) { r.Header = http.Header{"X": {"a\rb"}} },
		"NUL in value":          func(r *egress.Request) { r.Header = http.Header{"X": {"a\x00b"}} },
		"DEL in value":          func(r *egress.Request) { r.Header = http.Header{"X": {"a\x7fb"}} },
		"second value bad":      func(r *egress.Request) { r.Header = http.Header{"X": {"a", "b\n"}} },
		"space around value":    func(r *egress.Request) { r.Header = http.Header{"X": {" a"}} },
		"empty name":            func(r *egress.Request) { r.Header = http.Header{"": {"a"}} },
		"space in name":         func(r *egress.Request) { r.Header = http.Header{"X Y": {"a"}} },
		"colon in name":         func(r *egress.Request) { r.Header = http.Header{"X:Y": {"a"}} },
		"line end in name":      func(r *egress.Request) { r.Header = http.Header{"X\r\nY": {"a"}} },
		"other host":            func(r *egress.Request) { r.Header = http.Header{"host": {"elsewhere"}} },
		"second length":         func(r *egress.Request) { r.Header = http.Header{"CONTENT-LENGTH": {"0"}} },
		"transfer encoding":     func(r *egress.Request) { r.Header = http.Header{"Transfer-Encoding": {"chunked"}} },
		"accepts compression":   func(r *egress.Request) { r.Header = http.Header{"Accept-Encoding": {"gzip"}} },
		"expects continue":      func(r *egress.Request) { r.Header = http.Header{"Expect": {"100-continue"}} },
		"second content type":   func(r *egress.Request) { r.Header = http.Header{"Content-Type": {"text/html"}} },
		"controls a connection": func(r *egress.Request) { r.Header = http.Header{"Connection": {"upgrade"}} },
	}
	p := serve(t, "127.0.0.1:0", nil, answering(answer("{}")))
	c := client(t, p)
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			r := request()
			spoil(r)
			_, err := c.Do(t.Context(), r)
			checkError(t, err, false, nil)
		})
	}
	if n := p.Accepted.Load(); n != 0 {
		t.Errorf("%d connections, want none", n)
	}
}

func TestAnswers(t *testing.T) {
	const plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
	tests := map[string]struct {
		answer string
		close  bool // by the server, after each answer
		status int
		body   string
		reused bool
	}{
		"length":                     {answer: plain, status: 200, body: "{}", reused: true},
		"same length twice":          {answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", status: 200, body: "{}", reused: true},
		"no body":                    {answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200, reused: true},
		"largest body":               {answer: answer(strings.Repeat("x", 100)), status: 200, body: strings.Repeat("x", 100), reused: true},
		"largest body, chunked":      {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + strings.Repeat("x", 100) + "\r\n0\r\n\r\n", status: 200, body: strings.Repeat("x", 100), reused: true},
		"chunked":                    {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;a=b\r\n}\r\n0\r\n\r\n", status: 200, body: "{}", reused: true},
		"chunked with trailers":      {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\nX: y\r\nZ: z\r\n\r\n", status: 200, body: "{}"},
		"continue first":             {answer: "HTTP/1.1 100 Continue\r\n\r\n" + plain, status: 200, body: "{}", reused: true},
		"five interim answers":       {answer: strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 5) + plain, status: 200, body: "{}", reused: true},
		"redirect":                   {answer: "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", status: 302, reused: true},
		"redirect with method":       {answer: "HTTP/1.1 307 Temporary Redirect\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", status: 307, reused: true},
		"server error":               {answer: "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", status: 500, body: "oops", reused: true},
		"no reason":                  {answer: "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", status: 404, reused: true},
		"compressed":                 {answer: "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08", status: 200, body: "\x1f\x8b\x08", reused: true},
		"no content":                 {answer: "HTTP/1.1 204 No Content\r\n\r\n", status: 204},
		"not modified with a length": {answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", status: 304},
		"up to the close":            {answer: "HTTP/1.1 200 OK\r\n\r\n{}", close: true, status: 200, body: "{}"},
		"connection: close":          {answer: "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\n{}", status: 200, body: "{}"},
		"HTTP/1.0":                   {answer: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", status: 200, body: "{}"},
		"too long":                   {answer: plain + "}", status: 200, body: "{}"},
		"two answers":                {answer: plain + answer("stale"), status: 200, body: "{}"},
		"more than a buffer behind":  {answer: plain + strings.Repeat(answer("stale"), 100), status: 200, body: "{}"},
	}
	eachScheme(t, func(t *testing.T, config *tls.Config) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				p := serve(t, "127.0.0.1:0", config, func(c *peer) {
					for c.Receive() != nil {
						c.Say(test.answer)
						if test.close {
							return
						}
					}
				})
				c := client(t, p, func(cfg *egress.Config) { cfg.MaxResponse = 100 })
				for range 3 {
					resp := post(t, c)
					if resp.Status != test.status || string(resp.Body) != test.body {
						t.Errorf("answer %d %q, want %d %q", resp.Status, resp.Body, test.status, test.body)
					}
					if want := "127.0.0.1"; resp.LocalAddr.String() != want || resp.Duration <= 0 {
						t.Errorf("from %v in %v, want from %s and some time", resp.LocalAddr, resp.Duration, want)
					}
				}
				wantConnections := int64(3)
				if test.reused {
					wantConnections = 1
				}
				if n := p.Accepted.Load(); n != wantConnections {
					t.Errorf("%d connections for 3 exchanges, want %d", n, wantConnections)
				}
				if n := p.Executed.Load(); n != 3 {
					t.Errorf("%d requests executed, want 3", n)
				}
				if n := egress.Idle(c); test.close && n > 0 {
					t.Errorf("%d closed connections kept", n)
				}
			})
		}
	})
}

func TestLargeAnswers(t *testing.T) {
	body := strings.Repeat("x", 1<<20) // what is allowed if nothing is said
	eachScheme(t, func(t *testing.T, config *tls.Config) {
		for name, text := range map[string]string{
			"length":          answer(body),
			"chunked":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" + body + "\r\n0\r\n\r\n",
			"up to the close": "HTTP/1.1 200 OK\r\n\r\n" + body,
		} {
			t.Run(name, func(t *testing.T) {
				p := serve(t, "127.0.0.1:0", config, func(c *peer) {
					c.Receive()
					c.Say(text)
				})
				if got := post(t, client(t, p)).Body; string(got) != body {
					t.Errorf("%d bytes, want %d", len(got), len(body))
				}
			})
		}
	})
}

func TestHeaderOfAnswer(t *testing.T) {
	const text = "HTTP/1.1 200 OK\r\ncontent-TYPE: application/json\r\nX: 1\r\nX: 2\r\nContent-Length: 0\r\n\r\n"
	c := client(t, serve(t, "127.0.0.1:0", nil, answering(text)))
	header := post(t, c).Header
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	if got := header["X"]; !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("X: %q", got)
	}
}

// TestFailures is the promise about Sent: each way to fail, on a new
// connection and on one that has been used before.
func TestFailures(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n"
	say := func(text string) func(*peer) {
		return func(c *peer) {
			c.Receive()
			c.Say(text)
		}
	}
	stay := func(text string) func(*peer) {
		return func(c *peer) {
			c.Receive()
			c.Say(text)
			c.Wait()
		}
	}
	tests := map[string]struct {
		script   func(*peer)
		cause    error
		executed int64
	}{
		"dies after reading":       {say(""), io.ErrUnexpectedEOF, 1},
		"resets after reading":     {func(c *peer) { c.Receive(); c.Reset() }, nil, 1},
		"resets within the answer": {func(c *peer) { c.Receive(); c.Say(head + "Content-Length: 9\r\n\r\n{"); c.Reset() }, nil, 1},
		"dies within the request":  {func(c *peer) { _, _ = c.reader.ReadByte() }, nil, 0},
		"half a status line":       {say("HTTP/1.1 20"), nil, 1},
		"half a header":            {say(head + "Content-Le"), nil, 1},
		"no end of header":         {say(head + "Content-Length: 2\r\n"), io.ErrUnexpectedEOF, 1},
		"half a body":              {say(head + "Content-Length: 3\r\n\r\n{}"), io.ErrUnexpectedEOF, 1},
		"half a chunk":             {say(head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{}"), io.ErrUnexpectedEOF, 1},
		"no last chunk":            {say(head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"), io.ErrUnexpectedEOF, 1},
		"no end of trailers":       {say(head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: y\r\n"), io.ErrUnexpectedEOF, 1},
		"only interim answers":     {say("HTTP/1.1 100 Continue\r\n\r\n"), io.ErrUnexpectedEOF, 1},
		"not HTTP":                 {stay("SSH-2.0-OpenSSH_9.2\r\n"), nil, 1},
		"HTTP/2":                   {stay("HTTP/2.0 200 OK\r\n\r\n"), nil, 1},
		"HTTP/1.2":                 {stay("HTTP/1.2 200 OK\r\n\r\n"), nil, 1},
		"long status":              {stay("HTTP/1.1 2000 OK\r\n\r\n"), nil, 1},
		"no status":                {stay("HTTP/1.1 OK\r\n\r\n"), nil, 1},
		"status 99":                {stay("HTTP/1.1 099 OK\r\n\r\n"), nil, 1},
		"status 600":               {stay("HTTP/1.1 600 OK\r\n\r\n"), nil, 1},
		"garbage before":           {stay("{}\r\n" + answer("{}")), nil, 1},
		"empty line before":        {stay("\r\n" + answer("{}")), nil, 1},
		"bad header":               {stay(head + "no colon\r\n\r\n"), nil, 1},
		"header begins folded":     {stay(head + " a: b\r\n\r\n"), nil, 1},
		"switches protocols":       {stay("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), nil, 1},
		"six interim answers":      {stay(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 6) + answer("{}")), nil, 1},
		"interim with a body":      {stay("HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\n{}" + answer("{}")), nil, 1},
		"length and chunks":        {stay(head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), nil, 1},
		"different lengths":        {stay(head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), nil, 1},
		"list of lengths":          {stay(head + "Content-Length: 2, 2\r\n\r\n{}"), nil, 1},
		"signed length":            {stay(head + "Content-Length: +2\r\n\r\n{}"), nil, 1},
		"negative length":          {stay(head + "Content-Length: -2\r\n\r\n{}"), nil, 1},
		"unknown coding":           {stay(head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), nil, 1},
		"two codings":              {stay(head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), nil, 1},
		"chunks in HTTP/1.0":       {stay("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), nil, 1},
		"bad chunk":                {stay(head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"), nil, 1},
		"huge chunk":               {stay(head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n"), nil, 1},
		"long status line":         {stay("HTTP/1.1 200 " + strings.Repeat("O", egress.MaxHeader)), egress.ErrTooLarge, 1},
		"huge header":              {stay(head + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 70) + "\r\n"), egress.ErrTooLarge, 1},
		"huge trailers":            {stay(head + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 70) + "\r\n"), egress.ErrTooLarge, 1},
		"huge length":              {stay(head + "Content-Length: 101\r\n\r\n"), egress.ErrTooLarge, 1},
		"largest length":           {stay(head + "Content-Length: 9223372036854775807\r\n\r\n"), egress.ErrTooLarge, 1},
		"huge chunked body":        {stay(head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", 101)), egress.ErrTooLarge, 1},
		"huge body up to the end":  {stay(head + "\r\n" + strings.Repeat("x", 101)), egress.ErrTooLarge, 1},
		"silence":                  {stay(""), egress.ErrTimeout, 1},
		"silence within":           {stay(head + "Content-Length: 2\r\n\r\n{"), egress.ErrTimeout, 1},
		"silence after largest":    {stay(head + "Transfer-Encoding: chunked\r\n\r\n64\r\n" + strings.Repeat("x", 100) + "\r\n"), egress.ErrTimeout, 1},
	}
	eachScheme(t, func(t *testing.T, config *tls.Config) {
		for name, test := range tests {
			for _, before := range []int64{0, 1} {
				t.Run(name+map[int64]string{0: "/new", 1: "/kept"}[before], func(t *testing.T) {
					t.Parallel()
					ctx := make(expiring)
					p := serve(t, "127.0.0.1:0", config, func(c *peer) {
						if errors.Is(test.cause, egress.ErrTimeout) {
							c.OnWait = func() { close(ctx) }
						}
						for range before {
							c.Receive()
							c.Say(answer("{}"))
						}
						test.script(c)
					})
					c := client(t, p, func(cfg *egress.Config) {
						cfg.MaxResponse = 100
					})
					for range before {
						post(t, c)
					}
					_, err := c.Do(ctx, request())
					checkError(t, err, true, test.cause)
					c.Close()
					p.Close()
					if n := p.Executed.Load(); n != before+test.executed {
						t.Errorf("%d requests executed, want %d", n, before+test.executed)
					}
					if n := p.Accepted.Load(); n != 1 {
						t.Errorf("%d connections, want 1", n)
					}
				})
			}
		}
	})
}

// expiring is a context whose deadline has passed once it is closed.
type expiring chan struct{}

func (e expiring) Deadline() (time.Time, bool) { return time.Time{}, false }
func (e expiring) Done() <-chan struct{}       { return e }
func (e expiring) Value(any) any               { return nil }

func (e expiring) Err() error {
	select {
	case <-e:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestTimeoutOfConfig(t *testing.T) {
	p := serve(t, "127.0.0.1:0", nil, func(c *peer) {
		for c.Receive() != nil && c.provider.Executed.Load() == 1 {
			c.Say(answer("{}"))
		}
		c.Wait()
	})
	c := client(t, p, func(cfg *egress.Config) { cfg.Timeout = time.Second })
	post(t, c)
	_, err := c.Do(t.Context(), request())
	checkError(t, err, true, egress.ErrTimeout)
}

// TestTimeoutWithinHead: where the answer was cut off does not matter to what is said
// of it.
func TestTimeoutWithinHead(t *testing.T) {
	const timeout = 100 * time.Millisecond
	for _, text := range []string{"HTTP", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"} {
		p := serve(t, "127.0.0.1:0", nil, func(c *peer) {
			c.Receive()
			c.Say(text)
			c.Wait()
		})
		c := client(t, p, func(cfg *egress.Config) { cfg.Timeout = timeout })
		_, err := c.Do(t.Context(), request())
		checkError(t, err, true, egress.ErrTimeout)
	}
}

func TestErrorsQuoteNothing(t *testing.T) {
	const secret = "0123456789abcdef"
	for _, text := range []string{
		secret + "\r\n\r\n", "HTTP/1.1 " + secret + "\r\n\r\n", "HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\n " + secret + "\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: " + secret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + secret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx" + secret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + secret + "\r\n\r\n",
	} {
		c := client(t, serve(t, "127.0.0.1:0", nil, answering(text)))
		_, err := c.Do(t.Context(), request())
		checkError(t, err, true, nil)
		if strings.Contains(err.Error(), secret) {
			t.Errorf("answer %q: error %q quotes it", text, err)
		}
	}
}

func TestContextDoneBefore(t *testing.T) {
	eachScheme(t, func(t *testing.T, config *tls.Config) {
		p := serve(t, "127.0.0.1:0", config, answering(answer("{}")))
		c := client(t, p)
		for _, kept := range []string{"new", "kept"} {
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := c.Do(cancelled, request())
			checkError(t, err, false, context.Canceled)
			late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
			cancel()
			_, err = c.Do(late, request())
			checkError(t, err, false, egress.ErrTimeout)
			if kept == "new" {
				post(t, c)
			}
		}
		if n := p.Executed.Load(); n != 1 {
			t.Errorf("%d requests executed, want 1", n)
		}
	})
}

func TestCancelWhileWaiting(t *testing.T) {
	eachScheme(t, func(t *testing.T, config *tls.Config) {
		for _, said := range []string{"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"} {
			ctx, cancel := context.WithCancel(t.Context())
			p := serve(t, "127.0.0.1:0", config, func(c *peer) {
				c.Receive()
				c.Say(said)
				cancel()
				c.Wait()
			})
			_, err := client(t, p).Do(ctx, request())
			checkError(t, err, true, context.Canceled)
			if n := p.Executed.Load(); n != 1 {
				t.Errorf("%d requests executed, want 1", n)
			}
		}
	})
}

// TestCancelAfterwards sees to it that the end of one exchange's context does
// not reach into the next exchange on the same connection.
func TestCancelAfterwards(t *testing.T) {
	eachScheme(t, func(t *testing.T, config *tls.Config) {
		p := serve(t, "127.0.0.1:0", config, answering(answer("{}")))
		c := client(t, p)
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			if _, err := c.Do(ctx, request()); err != nil {
				t.Fatal(err)
			}
			cancel()
		}
		if n := p.Accepted.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
}

func TestDialFailuresAreUnsent(t *testing.T) {
	silent := func(c *peer) { c.Wait() }
	certs := testCertificates()
	tests := map[string]struct {
		server *tls.Config // nil: the server does not speak TLS
		script func(*peer)
		adjust func(*egress.Config)
		cause  error
	}{
		"not TLS":          {nil, func(c *peer) { c.Say("220 ready\r\n"); c.Wait() }, nil, nil},
		"closes at once":   {nil, func(*peer) {}, nil, nil},
		"resets at once":   {nil, func(c *peer) { c.Reset() }, nil, nil},
		"silent handshake": {nil, silent, func(cfg *egress.Config) { cfg.Timeout = 100 * time.Millisecond }, egress.ErrTimeout},
		"unknown CA":       {certs.server, silent, func(cfg *egress.Config) { cfg.RootCAs = nil }, nil},
		"other name":       {certs.server, silent, func(cfg *egress.Config) { cfg.URL.Host = "127.0.0.2:" + cfg.URL.Port() }, nil},
		"TLS 1.1":          {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, Certificates: certs.server.Certificates}, silent, nil, nil},
		"other protocol":   {&tls.Config{NextProtos: []string{"smtp"}, Certificates: certs.server.Certificates}, silent, nil, nil},
		"wrong pin":        {certs.server, silent, func(cfg *egress.Config) { cfg.Pins = [][32]byte{{1}} }, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			addr := "127.0.0.1:0"
			if name == "other name" {
				addr = "0.0.0.0:0"
			}
			p := serve(t, addr, test.server, test.script)
			c := client(t, p, func(cfg *egress.Config) {
				cfg.URL.Scheme = "https"
				cfg.RootCAs = certs.roots
				if test.adjust != nil {
					test.adjust(cfg)
				}
			})
			_, err := c.Do(t.Context(), request())
			checkError(t, err, false, test.cause)
			if n := p.Executed.Load(); n != 0 {
				t.Errorf("%d requests executed, want none", n)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		p := serve(t, "127.0.0.1:0", nil, silent)
		p.Close()
		_, err := client(t, p).Do(t.Context(), request())
		checkError(t, err, false, nil)
	})
}

func TestNoProxyFromTheEnvironment(t *testing.T) {
	proxy := serve(t, "127.0.0.1:0", nil, answering(answer(`"proxy"`)))
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, proxy.URL("").String())
	}
	eachScheme(t, func(t *testing.T, config *tls.Config) {
		p := serve(t, "127.0.0.9:0", config, answering(answer("{}")))
		named := func(cfg *egress.Config) { // proxies are not asked for loopback addresses
			cfg.URL = p.URL("provider.example")
			cfg.Resolver = lookup{netip9}
			cfg.Addresses = loopback
			cfg.InsecureHTTP = true
		}
		if got := string(post(t, client(t, p, named)).Body); got != "{}" {
			t.Errorf("answer %q", got)
		}
	})
	if n := proxy.Accepted.Load(); n != 0 {
		t.Errorf("%d connections to the proxy", n)
	}
}
