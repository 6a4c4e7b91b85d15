package notify_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
)

const canary = "bytes-of-the-answer"

func hang(ctx context.Context, _ net.Conn, _ int) bool { <-ctx.Done(); return false }

// says writes text and leaves the connection open.
func says(text string) func(context.Context, net.Conn, int) bool {
	return func(ctx context.Context, conn net.Conn, _ int) bool {
		_, _ = io.WriteString(conn, text)
		<-ctx.Done()
		return false
	}
}

// drips writes begin and then text, again and again, as fast as pause allows,
// while anybody reads.
func drips(begin, text string, pause time.Duration) func(context.Context, net.Conn, int) bool {
	return func(ctx context.Context, conn net.Conn, _ int) bool {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		_, err := io.WriteString(conn, begin)
		for err == nil && ctx.Err() == nil {
			<-tick.C
			_, err = io.WriteString(conn, text)
		}
		return false
	}
}

func ends(text string) func(context.Context, net.Conn, int) bool {
	return func(_ context.Context, conn net.Conn, _ int) bool {
		_, _ = io.WriteString(conn, text)
		return false
	}
}

func TestHostileServers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	line := "X-A: " + strings.Repeat("a", 1000) + "\r\n"
	cases := map[string]struct {
		answer func(context.Context, net.Conn, int) bool
		want   string
	}{
		"hangs":                   {hang, "timeout"},
		"closes":                  {ends(""), "connection closed"},
		"resets":                  {resets, "connection closed"},
		"half a status line":      {ends("HTTP/1.1 20"), "bad answer"},
		"half a header":           {ends(ok + "X-" + canary), "bad answer"},
		"hangs in the header":     {says(ok + "X-A: "), "timeout"},
		"slow header":             {drips(ok, "X-A: b\r\n", 10*time.Millisecond), "timeout"},
		"endless header":          {drips(ok, strings.Repeat(line, 10), 1), "bad answer"},
		"endless line":            {drips(ok, strings.Repeat("a", 1<<12), 1), "bad answer"},
		"endless interim answers": {drips("", strings.Repeat("HTTP/1.1 103 Early Hints\r\n"+line+"\r\n", 10), 1), "bad answer"},
		"largest header":          {says(ok + strings.Repeat(line, notify.MaxHeader/len(line)-1) + "Content-Length: 0\r\n\r\n"), "HTTP 200"},
		"no HTTP":                 {says(canary + "\r\n\r\n"), "bad answer"},
		"bad header":              {says(ok + canary + "\r\n\r\n"), "bad answer"},
		"bad length":              {says(ok + "Content-Length: " + canary + "\r\n\r\n"), "bad answer"},
		"switches protocols":      {says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + canary), "HTTP 101"},
		"hangs in the body":       {says(ok + "Content-Length: 10\r\n\r\n123"), "HTTP 200"},
		"slow body":               {drips(ok+"Content-Length: 1000\r\n\r\n", "1", 10*time.Millisecond), "HTTP 200"},
		"endless body":            {drips(ok+"\r\n", strings.Repeat("b", 1<<16), 1), "HTTP 200"},
		"body cut off":            {ends("HTTP/1.1 500 X\r\nContent-Length: 10\r\n\r\n123"), "HTTP 500"},
		"chunks of nonsense":      {says(ok + "Transfer-Encoding: chunked\r\n\r\n" + canary), "HTTP 200"},
		"compressed":              {says(ok + "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n123"), "HTTP 200"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := newRawServer(t, c.answer)
			s := newSender(t, endpoint(t, raw.url))
			notify.SetLimits(s, 0, 400*time.Millisecond, 200*time.Millisecond, 20*time.Second)
			begun := time.Now()
			got := s.Send(t.Context(), message("msg_1"))
			if got.String() != c.want || got.Delivered() != (c.want == "HTTP 200") {
				t.Errorf("%v, %v, want %s", got, got.Err, c.want)
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			for _, text := range []string{got.String(), fmt.Sprint(got.Err), fmt.Sprintf("%#v", got)} {
				if strings.Contains(text, canary) || strings.Contains(text, "tok-4711") {
					t.Errorf("the result quotes: %s", text)
				}
			}
			if ids, conns := raw.seen(); len(ids) != 1 || conns != 1 {
				t.Errorf("came %v on %d connections", ids, conns)
			}
		})
	}
}

func resets(_ context.Context, conn net.Conn, _ int) bool {
	_ = conn.(*net.TCPConn).SetLinger(0)
	return false
}

// The whole call is bounded also where each part keeps within its bound.
func TestWholeCallBounded(t *testing.T) {
	raw := newRawServer(t, hang)
	s := newSender(t, endpoint(t, raw.url))
	notify.SetLimits(s, 0, time.Minute, 0, 100*time.Millisecond)
	if got := s.Send(t.Context(), message("msg_1")); got.String() != "timeout" {
		t.Errorf("%v, %v", got, got.Err)
	}
}

// A kept connection that dies under a message costs that message's sending, and
// never makes it come twice.
func TestDyingConnectionSendsOnce(t *testing.T) {
	raw := newRawServer(t, func(_ context.Context, conn net.Conn, nth int) bool {
		if nth == 2 {
			return false
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	s := newSender(t, endpoint(t, raw.url))
	for i := range 20 {
		want := []string{"HTTP 200", "connection closed"}[i%2]
		if got := s.Send(t.Context(), message(fmt.Sprintf("msg_%d", i))); got.String() != want {
			t.Errorf("message %d: %v, %v, want %s", i, got, got.Err, want)
		}
	}
	onlyOnce(t, raw, 20)
}

// Here the connection dies between two messages: the second may or may not be
// under way by then.
func TestClosedBetweenMessages(t *testing.T) {
	raw := newRawServer(t, ends("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	s := newSender(t, endpoint(t, raw.url))
	for i := range 300 {
		got := s.Send(t.Context(), message(fmt.Sprintf("msg_%d", i)))
		if got.String() != "HTTP 200" && got.String() != "connection closed" {
			t.Errorf("message %d: %v, %v", i, got, got.Err)
		}
	}
	onlyOnce(t, raw, 100)
}

func onlyOnce(t *testing.T, raw *rawServer, atLeast int) {
	t.Helper()
	ids, _ := raw.seen()
	slices.Sort(ids)
	if once := slices.Compact(slices.Clone(ids)); len(once) != len(ids) || len(ids) < atLeast {
		t.Errorf("%d messages came, %d different", len(ids), len(once))
	}
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	s := newSender(t, endpoint(t, "https://"+listener.Addr().String()))
	if got := s.Send(t.Context(), message("msg_1")); got.String() != "connection refused" {
		t.Errorf("%v, %v", got, got.Err)
	}
}

func TestLookupFailures(t *testing.T) {
	for want, lookup := range map[string]notify.Lookup{
		"host not found": func(context.Context, string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "no such host", Name: canary, Server: canary, IsNotFound: true}
		},
		"timeout": func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	} {
		s := newSender(t, endpoint(t, "https://merchant.test"))
		notify.SetLimits(s, 50*time.Millisecond, 0, 0, 0)
		notify.SetLookup(s, lookup)
		if got := s.Send(t.Context(), message("msg_1")); got.String() != want || strings.Contains(got.Err.Error(), canary) {
			t.Errorf("%v, %v, want %s", got, got.Err, want)
		}
	}
	s := newSender(t, endpoint(t, "https://merchant.test"))
	notify.SetLookup(s, resolvesTo())
	if got := s.Send(t.Context(), message("msg_1")); got.String() != "host not found" {
		t.Errorf("%v, %v", got, got.Err)
	}
}

// A peer that accepts and never shakes hands is given up within the time for
// connecting.
func TestHandshakeBounded(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := newSender(t, endpoint(t, "https://"+listener.Addr().String()))
	notify.SetLimits(s, 100*time.Millisecond, 0, 0, 0)
	if got := s.Send(t.Context(), message("msg_1")); got.String() != "timeout" || !strings.Contains(got.Err.Error(), "handshake") {
		t.Errorf("%v, %v", got, got.Err)
	}
}

// The next address is tried if nobody listens at the first.
func TestSecondAddress(t *testing.T) {
	r := newReceiver(t, (*httptest.Server).Start, status(http.StatusOK))
	_, port, _ := net.SplitHostPort(r.Listener.Addr().String())
	e := endpoint(t, "http://merchant.test:"+port)
	e.InsecureHTTP = true
	s := newSender(t, e)
	notify.SetLookup(s, resolvesTo("127.0.0.7", "127.0.0.1"))
	if got := s.Send(t.Context(), message("msg_1")); !got.Delivered() {
		t.Errorf("%v, %v", got, got.Err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	kept := newRawServer(t, func(_ context.Context, conn net.Conn, _ int) bool {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	silent := newRawServer(t, hang)
	servers := goleak.IgnoreCurrent()

	idle, err := notify.New(endpoint(t, kept.url))
	if err != nil {
		t.Fatal(err)
	}
	if got := idle.Send(t.Context(), message("msg_1")); !got.Delivered() {
		t.Fatalf("%v", got)
	}
	waiting, err := notify.New(endpoint(t, silent.url))
	if err != nil {
		t.Fatal(err)
	}
	dialling, err := notify.New(endpoint(t, "https://merchant.test"))
	if err != nil {
		t.Fatal(err)
	}
	looking := make(chan struct{}, 2)
	notify.SetLookup(dialling, func(ctx context.Context, _ string) ([]netip.Addr, error) {
		looking <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	var calls sync.WaitGroup
	for _, s := range []*notify.Sender{waiting, dialling} {
		calls.Go(func() {
			if got := s.Send(t.Context(), message("msg_1")); !errors.Is(got.Err, notify.ErrClosed) {
				t.Errorf("%v, %v", got, got.Err)
			}
		})
	}
	// A dial whose call has gone is still under way.
	ctx, cancel := context.WithCancel(t.Context())
	calls.Go(func() { dialling.Send(ctx, message("msg_2")) })
	<-looking
	<-looking
	cancel()
	for ids, _ := silent.seen(); len(ids) == 0; ids, _ = silent.seen() {
		time.Sleep(time.Millisecond)
	}
	for _, s := range []*notify.Sender{idle, waiting, dialling} {
		s.Close()
		s.Close()
		if got := s.Send(t.Context(), message("msg_3")); !errors.Is(got.Err, notify.ErrClosed) || got.String() != "sender closed" {
			t.Errorf("%v, %v", got, got.Err)
		}
	}
	calls.Wait()
	goleak.VerifyNone(t, servers, goleak.IgnoreAnyFunction("github.com/nowpay-gateway/nowpay-gateway/callback/notify_test.(*rawServer).serve"))
}
