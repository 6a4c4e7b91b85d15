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
	"path/filepath"
	"slices"
	"sync/atomic"
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
	// maxBehind is how often a standby that is behind is asked again, with pauses
	// that begin with minBehind and double: about a second and a half in all.
	maxBehind = 4
	minBehind = 100 * time.Millisecond
)

// newClient returns a client that takes nothing from the environment, and the
// guard before it.
func newClient(cfg Config) (*api.Client, *guard, error) {
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, nil, err
	}
	dialer := &wipingDialer{dialer: net.Dialer{Timeout: dialTimeout}}
	transport := &http.Transport{
		Proxy:           nil,
		DialContext:     dialer.dial,
		DialTLSContext:  dialer.dialTLS,
		TLSClientConfig: tlsConfig, // for the dialer
		// A request every half minute needs no kept connections. Without them
		// none is stale after Vault's restart, the buffers through which the key has
		// come can be overwritten, and each has the client certificate of its time.
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswerHeader,
	}
	dialer.config = transport.TLSClientConfig
	g := &guard{next: transport, index: new(atomic.Pointer[string])}
	client, err := api.NewClient(&api.Config{
		Address:    cfg.Address,
		HttpClient: &http.Client{Transport: g},
		Timeout:    requestTimeout,
		// Only for a standby to catch up; else the source's own backoff decides.
		MaxRetries:       maxBehind,
		CheckRetry:       func(_ context.Context, r *http.Response, _ error) (bool, error) { return isBehind(r), nil },
		Backoff:          func(_, _ time.Duration, n int, _ *http.Response) time.Duration { return minBehind << n },
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

// tls is how to speak TLS with Vault.
func (c Config) tls() (*tls.Config, error) {
	roots, err := loadRoots(c.CAFile)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: c.TLSServerName}
	if pair := c.clientPair(); pair != (keyPair{}) {
		config.GetClientCertificate = pair.load
	}
	return config, nil
}

func loadRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := ReadAuthorities(path)
	if err != nil {
		return nil, fmt.Errorf("reading ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading ca: no certificate in %s", path)
	}
	return roots, nil
}

// ReadAuthorities returns what a Config.CAFile holds: the file's content, or
// that of all files *.pem, *.crt and *.cer in the directory, in the order of
// their names.
func ReadAuthorities(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return readRegular(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, entry := range entries {
		if !slices.Contains([]string{".pem", ".crt", ".cer"}, filepath.Ext(entry.Name())) {
			continue
		}
		pem, err := readRegular(filepath.Join(path, entry.Name()))
		if err != nil {
			return nil, err
		}
		all = append(append(all, pem...), '\n')
	}
	return all, nil
}

// isBehind reports whether a standby answered that it does not know yet what
// the request's index says.
func isBehind(r *http.Response) bool {
	return r != nil && r.StatusCode == http.StatusPreconditionFailed
}

// guard stands in front of every exchange with Vault. It bounds the answers,
// lets no redirect through, which could take the token elsewhere, and ends
// exchanges with the session: the renewals of the library's LifetimeWatcher
// take no context.
//
// It also gives back the index that came with the last answer, so that the next
// one is not older: a standby of Vault Enterprise may not know of the login yet.
// The library could do that too, but never forgets an index, not even one that
// no server reaches again after Vault was restored from a backup.
type guard struct {
	next  *http.Transport
	index *atomic.Pointer[string] // nil: none; shared with Transit
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
	req = req.Clone(remember(ctx, &conn))
	if index := g.index.Load(); index != nil {
		req.Header.Set(api.HeaderIndex, *index)
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		end()
		return nil, err
	}
	if index := resp.Header.Get(api.HeaderIndex); index != "" {
		g.index.Store(&index)
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
