package notify_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
)

// byHand is the signature as the specification describes it.
func byHand(key []byte, id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// overTLS returns a receiver with TLS and an endpoint for it.
func overTLS(t *testing.T, answer http.HandlerFunc) (*receiver, notify.Endpoint) {
	t.Helper()
	r := newReceiver(t, (*httptest.Server).StartTLS, answer)
	e := endpoint(t, r.URL+"/hook?token=tok-4711")
	e.RootCAs = x509.NewCertPool()
	e.RootCAs.AddCert(r.Certificate())
	return r, e
}

func TestMessageOnTheWire(t *testing.T) {
	r, e := overTLS(t, status(http.StatusNoContent))
	m := message("msg_1")
	if got := newSender(t, e).Send(t.Context(), m); !got.Delivered() || got.Status != 204 || got.String() != "HTTP 204" {
		t.Fatalf("Send() = %v, %+v", got, got.Err)
	}
	got := r.all()
	if len(got) != 1 {
		t.Fatalf("%d requests came", len(got))
	}
	req := got[0]
	if req.Method != http.MethodPost || req.RequestURI != "/hook?token=tok-4711" || string(req.body) != string(m.Body) {
		t.Errorf("%s %s %s", req.Method, req.RequestURI, req.body)
	}
	want := map[string]string{
		"Content-Type":      "application/json",
		"Content-Length":    fmt.Sprint(len(m.Body)),
		"User-Agent":        "nowpay-gateway",
		"Webhook-Id":        "msg_1",
		"Webhook-Timestamp": fmt.Sprint(m.Time.Unix()),
		"Webhook-Signature": byHand([]byte(strings.Repeat("a", 32)), m.ID, m.Time, m.Body),
	}
	for name, value := range req.Header {
		if len(value) != 1 || want[name] != value[0] {
			t.Errorf("header %s: %q, want %q", name, value, want[name])
		}
	}
	if len(req.Header) != len(want) {
		t.Errorf("headers %v, want %v", req.Header, want)
	}
	official, err := webhooks.NewWebhook(secretText('a'))
	if err != nil {
		t.Fatal(err)
	}
	if err := official.Verify(req.body, req.Header); err != nil {
		t.Errorf("the official library: %v", err)
	}
}

func TestTwoSecrets(t *testing.T) {
	r, e := overTLS(t, status(http.StatusOK))
	secrets := []notify.Secret{secretOf(t, 'o')}
	e.Secrets = func() ([]notify.Secret, error) { return secrets, nil }
	s := newSender(t, e)
	send := func(m notify.Message) string {
		t.Helper()
		if got := s.Send(t.Context(), m); !got.Delivered() {
			t.Fatalf("Send() = %v", got)
		}
		all := r.all()
		last := all[len(all)-1]
		for _, secret := range []byte{'n', 'o'} {
			official, _ := webhooks.NewWebhook(secretText(secret))
			err := official.Verify(last.body, last.Header)
			if known := slices.ContainsFunc(secrets, func(k notify.Secret) bool { return k.Reveal()[0] == secret }); known != (err == nil) {
				t.Errorf("the official library with secret %c: %v", secret, err)
			}
		}
		return last.Header.Get("Webhook-Signature")
	}
	m := message("msg_1")
	old := byHand([]byte(strings.Repeat("o", 32)), m.ID, m.Time, m.Body)
	next := byHand([]byte(strings.Repeat("n", 32)), m.ID, m.Time, m.Body)
	if got := send(m); got != old {
		t.Errorf("before: %q", got)
	}
	secrets = []notify.Secret{secretOf(t, 'n'), secretOf(t, 'o')}
	if got := send(m); got != next+" "+old {
		t.Errorf("while rotating: %q, want %q", got, next+" "+old)
	}
	secrets = secrets[:1]
	if got := send(m); got != next {
		t.Errorf("after: %q", got)
	}
}

func TestSecretsMissing(t *testing.T) {
	r := newReceiver(t, (*httptest.Server).Start, status(http.StatusOK))
	broken := errors.New("the file is gone")
	a := secretOf(t, 'a')
	for name, secrets := range map[string]func() ([]notify.Secret, error){
		"error": func() ([]notify.Secret, error) { return nil, broken },
		"none":  func() ([]notify.Secret, error) { return nil, nil },
		"three": func() ([]notify.Secret, error) { return []notify.Secret{a, a, a}, nil },
		"zero":  func() ([]notify.Secret, error) { return []notify.Secret{a, {}}, nil },
	} {
		e := endpoint(t, r.URL)
		e.Secrets = secrets
		got := newSender(t, e).Send(t.Context(), message("msg_1"))
		if !errors.Is(got.Err, notify.ErrSecrets) || got.String() != "no secret" || got.Delivered() {
			t.Errorf("%s: %v, %v", name, got, got.Err)
		}
		if name == "error" && !errors.Is(got.Err, broken) {
			t.Errorf("the cause is lost: %v", got.Err)
		}
	}
	if n := len(r.all()); n != 0 {
		t.Errorf("%d requests came", n)
	}
}

func TestMessagesRefused(t *testing.T) {
	r := newReceiver(t, (*httptest.Server).Start, status(http.StatusOK))
	s := newSender(t, endpoint(t, r.URL))
	good := message("msg_1")
	for name, change := range map[string]func(*notify.Message){
		"no ID":       func(m *notify.Message) { m.ID = "" },
		"long ID":     func(m *notify.Message) { m.ID = strings.Repeat("x", 256) },
		"full stop":   func(m *notify.Message) { m.ID = "a.1" },
		"line end":    func(m *notify.Message) { m.ID = "a\r\nX: y" },
		"space":       func(m *notify.Message) { m.ID = "a b" },
		"not ASCII":   func(m *notify.Message) { m.ID = "ä" },
		"no time":     func(m *notify.Message) { m.Time = time.Time{} },
		"no body":     func(m *notify.Message) { m.Body = nil },
		"not unicode": func(m *notify.Message) { m.Body = []byte("\"\xff\"") },
	} {
		m := good
		change(&m)
		if got := s.Send(t.Context(), m); !errors.Is(got.Err, notify.ErrMessage) || got.String() != "message not sendable" {
			t.Errorf("%s: %v, %v", name, got, got.Err)
		}
	}
	if n := len(r.all()); n != 0 {
		t.Errorf("%d requests came", n)
	}
}

func TestStatuses(t *testing.T) {
	for code, want := range map[int]string{
		200: "HTTP 200", 202: "HTTP 202", 299: "HTTP 299", 400: "HTTP 400", 410: "HTTP 410", 429: "HTTP 429", 500: "HTTP 500", 503: "HTTP 503",
		301: "redirect refused (HTTP 301)", 302: "redirect refused (HTTP 302)", 304: "redirect refused (HTTP 304)",
		307: "redirect refused (HTTP 307)", 308: "redirect refused (HTTP 308)", 399: "redirect refused (HTTP 399)",
	} {
		elsewhere := newReceiver(t, (*httptest.Server).Start, status(http.StatusOK))
		r := newReceiver(t, (*httptest.Server).Start, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere.URL+"/stolen")
			w.Header().Set("Set-Cookie", "a=b")
			w.WriteHeader(code)
		})
		s := newSender(t, endpoint(t, r.URL))
		for range 2 {
			got := s.Send(t.Context(), message("msg_1"))
			if got.String() != want || got.Status != code || got.Delivered() != (code < 300) {
				t.Errorf("status %d: %v, delivered %t", code, got, got.Delivered())
			}
			if errors.Is(got.Err, notify.ErrRedirect) != (code >= 300 && code < 400) {
				t.Errorf("status %d: %v", code, got.Err)
			}
		}
		if len(elsewhere.all()) != 0 || len(r.all()) != 2 {
			t.Errorf("status %d: %d requests followed, %d came", code, len(elsewhere.all()), len(r.all()))
		}
		if cookie := r.all()[1].Header.Get("Cookie"); cookie != "" {
			t.Errorf("cookie %q", cookie)
		}
	}
}

func TestZeroResult(t *testing.T) {
	if r := (notify.Result{}); r.Delivered() || r.String() != "not sent" {
		t.Errorf("%v, delivered %t", r, r.Delivered())
	}
	if r := (notify.Result{Status: 200, Err: errors.New("x")}); r.Delivered() || r.String() != "failed" {
		t.Errorf("%v, delivered %t", r, r.Delivered())
	}
}

func TestLocalAddress(t *testing.T) {
	r := newReceiver(t, (*httptest.Server).Start, status(http.StatusOK))
	e := endpoint(t, r.URL)
	e.LocalAddress = netip.MustParseAddr("127.0.0.9")
	if got := newSender(t, e).Send(t.Context(), message("msg_1")); !got.Delivered() {
		t.Fatalf("Send() = %v", got)
	}
	if from, _, _ := net.SplitHostPort(r.all()[0].RemoteAddr); from != "127.0.0.9" {
		t.Errorf("sent from %s", from)
	}
	e.LocalAddress = netip.MustParseAddr("192.0.2.77")
	if got := newSender(t, e).Send(t.Context(), message("msg_1")); !errors.Is(got.Err, notify.ErrLocalAddress) {
		t.Errorf("from an address that is elsewhere: %v, %v", got, got.Err)
	}
	e.URL = parse(t, "https://merchant.test")
	e.LocalAddress = netip.MustParseAddr("::1")
	s := newSender(t, e)
	notify.SetLookup(s, resolvesTo("127.0.0.1"))
	if got := s.Send(t.Context(), message("msg_1")); !errors.Is(got.Err, notify.ErrLocalAddress) {
		t.Errorf("of the other family: %v, %v", got, got.Err)
	}
}

// Nothing leaves from an address that is to be avoided, unless it is asked for.
func TestAvoidedAddress(t *testing.T) {
	r := newReceiver(t, (*httptest.Server).Start, status(http.StatusOK))
	e := endpoint(t, r.URL)
	loopback := netip.MustParseAddr("127.0.0.1")
	for _, test := range []struct {
		local     netip.Addr
		avoid     []netip.Addr
		delivered bool
	}{
		{netip.Addr{}, []netip.Addr{loopback}, false},
		{netip.Addr{}, []netip.Addr{netip.MustParseAddr("127.0.0.5")}, true},
		{loopback, []netip.Addr{loopback}, true},
	} {
		before := len(r.all())
		e.LocalAddress, e.Avoid = test.local, test.avoid
		got := newSender(t, e).Send(t.Context(), message("msg_1"))
		if got.Delivered() != test.delivered || !test.delivered && !errors.Is(got.Err, notify.ErrLocalAddress) {
			t.Errorf("%+v: %v, %v", test, got, got.Err)
		}
		if reached := len(r.all()) > before; reached != test.delivered {
			t.Errorf("%+v: reached %t", test, reached)
		}
	}
}

// A proxy that the environment names would be asked for any host but this
// machine's own names, with the whole URL; TestMain names one.
func TestProxyIgnored(t *testing.T) {
	r := newReceiver(t, (*httptest.Server).Start, status(http.StatusOK))
	_, port, _ := net.SplitHostPort(r.Listener.Addr().String())
	e := endpoint(t, "http://merchant.test:"+port+"/hook")
	e.InsecureHTTP = true
	s := newSender(t, e)
	notify.SetLookup(s, resolvesTo("127.0.0.1"))
	if got := s.Send(t.Context(), message("msg_1")); !got.Delivered() {
		t.Errorf("Send() = %v", got)
	}
	if got := r.all(); len(got) != 1 || got[0].RequestURI != "/hook" || got[0].Host != "merchant.test:"+port {
		t.Errorf("came: %v", got)
	}
}

func TestTLSFailures(t *testing.T) {
	_, good := overTLS(t, status(http.StatusOK))
	cases := map[string]struct {
		change func(*notify.Endpoint)
		want   string
	}{
		"authority": {func(e *notify.Endpoint) { e.RootCAs = x509.NewCertPool() }, "unknown authority"},
		"host":      {func(e *notify.Endpoint) { e.URL.Host = "merchant.test:" + e.URL.Port() }, "another host"},
	}
	for name, c := range cases {
		e := good
		e.URL = parse(t, good.URL.String())
		c.change(&e)
		s := newSender(t, e)
		notify.SetLookup(s, resolvesTo("127.0.0.1"))
		got := s.Send(t.Context(), message("msg_1"))
		if !errors.Is(got.Err, notify.ErrTLS) || got.String() != "tls failed" || !strings.Contains(got.Err.Error(), c.want) {
			t.Errorf("%s: %v, %v", name, got, got.Err)
		}
	}

	plain := newReceiver(t, (*httptest.Server).Start, status(http.StatusOK))
	e := good
	e.URL = parse(t, strings.Replace(plain.URL, "http:", "https:", 1))
	if got := newSender(t, e).Send(t.Context(), message("msg_1")); got.String() != "tls failed" {
		t.Errorf("no TLS: %v, %v", got, got.Err)
	}

	for version, want := range map[uint16]string{tls.VersionTLS11: "tls failed", tls.VersionTLS12: "HTTP 200", tls.VersionTLS13: "HTTP 200"} {
		r := newReceiver(t, func(s *httptest.Server) {
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
			s.StartTLS()
		}, status(http.StatusOK))
		e := endpoint(t, r.URL)
		e.RootCAs = x509.NewCertPool()
		e.RootCAs.AddCert(r.Certificate())
		if got := newSender(t, e).Send(t.Context(), message("msg_1")); got.String() != want {
			t.Errorf("%s: %v, %v", tls.VersionName(version), got, got.Err)
		}
	}

	client := newReceiver(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.StartTLS()
	}, status(http.StatusOK))
	e = endpoint(t, client.URL)
	e.RootCAs = x509.NewCertPool()
	e.RootCAs.AddCert(client.Certificate())
	if got := newSender(t, e).Send(t.Context(), message("msg_1")); got.Delivered() || got.String() != "tls failed" && got.String() != "connection closed" {
		t.Errorf("client certificate wanted: %v, %v", got, got.Err)
	}
}

func TestConnectionKept(t *testing.T) {
	for body, kept := range map[int]bool{0: true, 100: true, notify.MaxBody: true, notify.MaxBody + 2: false, 10 * notify.MaxBody: false} {
		r, e := overTLS(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, body)) })
		s := newSender(t, e)
		ports := make(map[string]bool)
		for range 3 {
			if got := s.Send(t.Context(), message("msg_1")); !got.Delivered() {
				t.Errorf("Send() = %v", got)
			}
		}
		for _, req := range r.all() {
			ports[req.RemoteAddr] = true
		}
		if want := map[bool]int{true: 1, false: 3}[kept]; len(ports) != want {
			t.Errorf("answers of %d bytes: %d connections, want %d", body, len(ports), want)
		}
	}
}

func TestCallerEnds(t *testing.T) {
	raw := newRawServer(t, func(ctx context.Context, _ net.Conn, _ int) bool { <-ctx.Done(); return false })
	s := newSender(t, endpoint(t, raw.url))
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(50*time.Millisecond, cancel).Stop()
	if got := s.Send(ctx, message("msg_1")); !errors.Is(got.Err, context.Canceled) || got.String() != "context canceled" {
		t.Errorf("canceled: %v, %v", got, got.Err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := s.Send(ctx, message("msg_2")); !errors.Is(got.Err, notify.ErrTimeout) || got.String() != "timeout" {
		t.Errorf("past the deadline: %v, %v", got, got.Err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	before, _ := raw.seen()
	if got := s.Send(ctx, message("msg_3")); !errors.Is(got.Err, context.Canceled) {
		t.Errorf("canceled before: %v, %v", got, got.Err)
	}
	if after, _ := raw.seen(); len(after) != len(before) {
		t.Errorf("came: %v", after)
	}
}
