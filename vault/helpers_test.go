package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

const (
	path   = "secret/nowpay/main"
	policy = `path "secret/data/nowpay/*" { capabilities = ["read"] }`
	fast   = 50 * time.Millisecond
)

// pair is the data of a secret whose username tells the key.
func pair(n int) map[string]any {
	return map[string]any{"username": fmt.Sprint(1000 + n), "key": keyOf(n)}
}

func keyOf(n int) string { return fmt.Sprintf("k3y-%d-s3cr3t", n) }

// newVault is a server with a secret at path, in a KV engine of version 2, and
// a policy "nowpay" that allows to read it.
func newVault(t *testing.T, opts ...vaulttest.Option) *vaulttest.Server {
	t.Helper()
	server := vaulttest.Start(t, opts...)
	server.EnableKV2("secret")
	server.PutKV2("secret", "nowpay/main", pair(1))
	server.Policy("nowpay", policy)
	return server
}

// config is for a token that lives as long as the test.
func config(t *testing.T, server *vaulttest.Server) vault.Config {
	t.Helper()
	token := server.Token([]string{"nowpay"}, 0, true)
	return vault.Config{
		Address: server.Address, CAFile: server.CAFile, Path: path,
		Auth:    vault.TokenAuth(writeFile(t, "token", token)),
		Refresh: fast, StaleFor: time.Minute,
	}
}

func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	rewriteFile(t, file, content)
	return file
}

// rewriteFile replaces a file at one stroke.
func rewriteFile(t testing.TB, file, content string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// logBuffer keeps a log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// errorLog is for servers of the standard library.
func (l *logBuffer) errorLog() *log.Logger { return log.New(l, "", 0) }

// count returns how many records have the message.
func (l *logBuffer) count(message string) int {
	return strings.Count(l.String(), fmt.Sprintf(`"msg":%q`, message))
}

const (
	msgAvailable   = "credential available"
	msgNewVersion  = "new version of the credential"
	msgFailing     = "refreshing the credential failed (continuing with the cached credential)"
	msgRecovered   = "credential refreshed again"
	msgUnavailable = "no credential available"
)

// mustNotHold fails the test if the text holds one of the secrets, or a key of
// pair.
func mustNotHold(t testing.TB, text string, secrets ...string) {
	t.Helper()
	for _, s := range append(secrets, "k3y-", "s3cr3t") {
		if strings.Contains(text, s) {
			t.Errorf("%q is in: %s", s, text)
		}
	}
}

// newSource makes a source that is closed at the end of the test, and looks
// through its log then.
func newSource(t testing.TB, cfg vault.Config, opts vault.Options) (*vault.Source, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	opts.Logger = log.logger()
	s, err := vault.New(cfg, opts)
	if err != nil {
		t.Fatalf("New(): %v", err)
	}
	t.Cleanup(func() {
		s.Close()
		mustNotHold(t, log.String())
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	return s, log
}

// startSource is newSource and a Start that must succeed.
func startSource(t testing.TB, cfg vault.Config, opts vault.Options) (*vault.Source, *logBuffer) {
	t.Helper()
	s, log := newSource(t, cfg, opts)
	if err := start(t, s); err != nil {
		t.Fatalf("Start(): %v", err)
	}
	return s, log
}

func start(t testing.TB, s interface{ Start(context.Context) error }) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return s.Start(ctx)
}

// held returns what a source gives at the moment.
func held(s secret.Source) (username, key string, version int64, err error) {
	c, err := s.Acquire()
	if err != nil {
		return "", "", 0, err
	}
	defer c.Release()
	return string(c.Username().Reveal()), string(c.Key().Reveal()), c.Version(), nil
}

// mustHold fails the test unless the source gives pair(n) under that version.
func mustHold(t *testing.T, s secret.Source, n int, version int64) {
	t.Helper()
	u, k, v, err := held(s)
	if err != nil || u != fmt.Sprint(1000+n) || k != keyOf(n) || v != version {
		t.Fatalf("Acquire() = %q, %q, version %d, %v, want pair %d, version %d", u, k, v, err, n, version)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// refreshes waits until the source has asked n more times, with success or not.
func refreshes(t *testing.T, server *vaulttest.Server, prefix string, n int) {
	t.Helper()
	before := server.Requests(prefix, "read")
	eventually(t, "requests of "+prefix, func() bool { return server.Requests(prefix, "read") >= before+n })
}

func available(s secret.Source) func() bool {
	return func() bool { st := s.Status(); return st.Available && st.Err == nil }
}

func failing(s secret.Source) func() bool {
	return func() bool { st := s.Status(); return st.Available && st.Err != nil }
}

func gone(s secret.Source) func() bool {
	return func() bool { return !s.Status().Available }
}

func keyIs(s secret.Source, n int) func() bool {
	return func() bool { _, k, _, err := held(s); return err == nil && k == keyOf(n) }
}

// mustFailAt checks the step of an error, and that it shows no secret.
func mustFailAt(t *testing.T, err error, step vault.Step, secrets ...string) {
	t.Helper()
	var failed *vault.StepError
	if !errors.As(err, &failed) || failed.Step != step {
		t.Fatalf("error is %v, want one of step %s", err, step)
	}
	mustNotHold(t, fmt.Sprintf("%v %+v %#v", err, err, failed), secrets...)
}

// clock is a time that moves only when told to.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// fake stands in for Vault where the real one does not do it: wrong answers,
// and requests to be looked at. It answers the three requests of a source with
// token auth; answer can do it otherwise by returning true.
type fake struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	requests []*http.Request
}

func newFake(t *testing.T, answer func(w http.ResponseWriter, r *http.Request) bool) *fake {
	t.Helper()
	f := &fake{answer: answer}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Clone(context.WithoutCancel(r.Context())))
	f.mu.Unlock()
	if f.answer != nil && f.answer(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/v1/auth/token/lookup-self":
		fmt.Fprint(w, `{"data":{"ttl":0,"renewable":false,"expire_time":null}}`)
	case "/v1/sys/internal/ui/mounts/" + path:
		fmt.Fprint(w, `{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}`)
	case "/v1/secret/data/nowpay/main":
		fmt.Fprintf(w, `{"data":{"data":{"username":"1001","key":%q},"metadata":{"version":1}}}`, keyOf(1))
	default:
		http.NotFound(w, r)
	}
}

func (f *fake) seen() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*http.Request(nil), f.requests...)
}

func (f *fake) config(t *testing.T) vault.Config {
	t.Helper()
	return vault.Config{
		Address: f.URL, Path: path, Auth: vault.TokenAuth(writeFile(t, "token", "hvs.t0ken")),
		Refresh: fast, StaleFor: time.Minute,
	}
}
