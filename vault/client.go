package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	// requestTimeout bounds one exchange with Vault.
	requestTimeout = 10 * time.Second
	dialTimeout    = 5 * time.Second
	// maxAnswer bounds what is read of one answer.
	maxAnswer       = 1 << 20
	maxAnswerHeader = 64 << 10
)

// newClient returns a client that takes nothing from the environment, and the
// guard before it.
func newClient(cfg Config) (*api.Client, *guard, error) {
	roots, err := loadRoots(cfg.CAFile)
	if err != nil {
		return nil, nil, err
	}
	dialer := &wipingDialer{dialer: net.Dialer{Timeout: dialTimeout}}
	transport := &http.Transport{
		Proxy:           nil,
		DialContext:     dialer.dial,
		DialTLSContext:  dialer.dialTLS,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, // for the dialer
		// A request every half minute needs no kept connections. Without them
		// none is stale after Vault's restart, and the buffers through which the
		// key has come can be overwritten.
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswerHeader,
	}
	dialer.config = transport.TLSClientConfig
	g := &guard{next: transport}
	client, err := api.NewClient(&api.Config{
		Address:          cfg.Address,
		HttpClient:       &http.Client{Transport: g},
		Timeout:          requestTimeout,
		MaxRetries:       0, // the source's own backoff decides
		DisableRedirects: true,
	})
	if err != nil {
		// It parses VAULT_* variables that it then does not use.
		return nil, nil, fmt.Errorf("making the client (is a VAULT_ variable of the environment malformed?): %w", err)
	}
	client.SetHeaders(http.Header{api.RequestHeaderName: {"true"}}) // and no others
	if cfg.Namespace != "" {
		client.SetNamespace(cfg.Namespace)
	}
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	return client, g, nil
}

func loadRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading ca: no certificate in %s", file)
	}
	return roots, nil
}

// guard stands in front of every exchange with Vault. It bounds the answers,
// lets no redirect through, which could take the token elsewhere, and ends
// exchanges with the session: the renewals of the library's LifetimeWatcher
// take no context.
type guard struct {
	next *http.Transport
	// onLogout has f called at the end of the session, unless stop is called
	// before; nil while there is no session. It changes only when nobody else
	// uses the client.
	onLogout func(f func()) (stop func() bool)
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	end := cancel
	if g.onLogout != nil {
		stop := g.onLogout(cancel)
		end = func() { stop(); cancel() }
	}

	var conn *wipingConn
	resp, err := g.next.RoundTrip(req.WithContext(remember(ctx, &conn)))
	if err != nil {
		end()
		return nil, err
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		_ = resp.Body.Close()
		end()
		return nil, fmt.Errorf("%w (status %d)", errRedirect, resp.StatusCode)
	}
	resp.Body = &guardedBody{ReadCloser: http.MaxBytesReader(nil, resp.Body, maxAnswer), conn: conn, end: end}
	return resp, nil
}

// CloseIdleConnections is what http.Client looks for.
func (g *guard) CloseIdleConnections() { g.next.CloseIdleConnections() }

// guardedBody ends the exchange's context with the body, and leaves nothing of it.
type guardedBody struct {
	io.ReadCloser
	conn *wipingConn
	end  context.CancelFunc
}

func (b *guardedBody) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	if b.conn != nil {
		b.conn.wipe()
	}
	return err
}

// readAll is io.ReadAll that leaves no copies behind. The caller wipes what it
// gets.
func readAll(r io.Reader) ([]byte, error) {
	buf := make([]byte, 0, 4096)
	for {
		if len(buf) == cap(buf) {
			bigger := make([]byte, len(buf), 2*cap(buf))
			copy(bigger, buf)
			clear(buf)
			buf = bigger
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			clear(buf)
			return nil, err
		}
	}
}
