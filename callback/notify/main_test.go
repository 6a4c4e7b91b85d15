package notify_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
)

func TestMain(m *testing.M) {
	// Before anything is sent: net/http looks at the environment once.
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		_ = os.Setenv(name, "http://127.0.0.1:1")
	}
	goleak.VerifyTestMain(m)
}

// secretText is a secret of 32 equal bytes.
func secretText(b byte) string {
	return "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32))
}

func secretOf(t testing.TB, b byte) notify.Secret {
	t.Helper()
	s, err := notify.ParseSecret(secretText(b))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// endpoint is one on this machine with one secret.
func endpoint(t testing.TB, text string) notify.Endpoint {
	t.Helper()
	secret := secretOf(t, 'a')
	return notify.Endpoint{
		URL:     parse(t, text),
		Private: true,
		Secrets: func() ([]notify.Secret, error) { return []notify.Secret{secret}, nil },
	}
}

func newSender(t testing.TB, e notify.Endpoint) *notify.Sender {
	t.Helper()
	s, err := notify.New(e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func message(id string) notify.Message {
	return notify.Message{ID: id, Time: time.Now(), Body: []byte(`{"type":"transaction.settled","data":{"amount":"1.00"}}`)}
}

// resolvesTo is a resolver that knows one answer.
func resolvesTo(addrs ...string) notify.Lookup {
	return func(context.Context, string) ([]netip.Addr, error) {
		var parsed []netip.Addr
		for _, a := range addrs {
			parsed = append(parsed, netip.MustParseAddr(a))
		}
		return parsed, nil
	}
}

// received is a request as it came.
type received struct {
	*http.Request
	body []byte
}

// receiver keeps what comes, and answers with a status.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	got []received
}

func newReceiver(t testing.TB, start func(*httptest.Server), answer http.HandlerFunc) *receiver {
	t.Helper()
	r := new(receiver)
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.got = append(r.got, received{req, body})
		r.mu.Unlock()
		answer(w, req)
	}))
	start(r.Server)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// rawServer reads requests off each connection and lets answer do what it likes
// with the connection, until it returns false.
type rawServer struct {
	url   string
	mu    sync.Mutex
	ids   []string
	conns int
}

func newRawServer(t testing.TB, answer func(ctx context.Context, conn net.Conn, nth int) bool) *rawServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{url: "http://" + listener.Addr().String() + "/hook?token=tok-4711"}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.serve(ctx, conn, answer) })
		}
	})
	t.Cleanup(func() { cancel(); listener.Close(); running.Wait() })
	return s
}

func (s *rawServer) serve(ctx context.Context, conn net.Conn, answer func(context.Context, net.Conn, int) bool) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	s.mu.Lock()
	s.conns++
	s.mu.Unlock()
	in := bufio.NewReader(conn)
	for nth := 1; ; nth++ {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		s.mu.Lock()
		s.ids = append(s.ids, req.Header.Get("Webhook-Id"))
		s.mu.Unlock()
		if !answer(ctx, conn, nth) {
			return
		}
	}
}

// seen returns the IDs of all messages that came, and the number of connections.
func (s *rawServer) seen() ([]string, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.ids...), s.conns
}
