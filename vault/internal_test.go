package vault

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

func zeros(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

func TestTakeWipesTheAnswer(t *testing.T) {
	f := fields{username: "username", key: "key"}
	const secretPart = `{"username":"u","key":"s3cr\u0065t"}`
	for _, tt := range []struct {
		name, body string
		v2, ok     bool
	}{
		{"version 1", `{"data":` + secretPart + `}`, false, true},
		{"version 2", `{"data":{"data":` + secretPart + `,"metadata":{"version":7}}}`, true, true},
		{"not usable", `{"data":{"username":"","key":"s3cret"}}`, false, false},
		{"malformed", `{"data":{"username":"u","key":"s3cret"`, false, false},
	} {
		body := []byte(tt.body)
		_, c, err := take(body, tt.v2, f)
		if (err == nil) != tt.ok {
			t.Errorf("%s: take(): %v", tt.name, err)
		}
		if !zeros(body) {
			t.Errorf("%s: the answer is still in memory: %q", tt.name, body)
		}
		if err != nil {
			if strings.Contains(err.Error(), "s3cr") {
				t.Errorf("%s: take(): %v", tt.name, err)
			}
			continue
		}
		if got := string(c.Key().Reveal()); got != "s3cret" {
			t.Errorf("%s: key %q", tt.name, got)
		}
		c.Release()
	}
}

// TestReadAllLeavesNoCopies keeps an eye on every buffer that the reader was
// given.
func TestReadAllLeavesNoCopies(t *testing.T) {
	want := strings.Repeat("s3cret", 5000)
	spy := &spyReader{r: iotest.HalfReader(strings.NewReader(want))}
	got, err := readAll(spy)
	if err != nil || string(got) != want {
		t.Fatalf("readAll() = %d bytes, %v", len(got), err)
	}
	clear(got)
	for _, b := range spy.buffers {
		if !zeros(b) {
			t.Fatalf("a buffer of %d bytes holds a copy", len(b))
		}
	}

	spy = &spyReader{r: io.MultiReader(strings.NewReader(want), iotest.ErrReader(errors.New("broken")))}
	if _, err := readAll(spy); err == nil || err.Error() != "broken" {
		t.Errorf("readAll(): %v", err)
	}
	for _, b := range spy.buffers {
		if !zeros(b) {
			t.Fatalf("after an error, a buffer of %d bytes holds a copy", len(b))
		}
	}
}

type spyReader struct {
	r       io.Reader
	buffers [][]byte
}

func (s *spyReader) Read(b []byte) (int, error) {
	s.buffers = append(s.buffers, b)
	return s.r.Read(b)
}

// TestTransport looks at what a test could not show: net/http never asks a
// proxy of the environment for loopback addresses.
func TestTransport(t *testing.T) {
	client, g, err := newClient(Config{Address: "https://vault.internal"})
	if err != nil {
		t.Fatal(err)
	}
	if got := client.CloneConfig().HttpClient.Transport; got != g {
		t.Fatalf("transport is %T", got)
	}
	if g.next.Proxy != nil || g.next.TLSClientConfig.InsecureSkipVerify || g.next.TLSClientConfig.MinVersion != tls.VersionTLS12 {
		t.Errorf("transport is %+v", g.next)
	}
}

func TestDelay(t *testing.T) {
	s := &Source{cfg: Config{Refresh: 100 * time.Second}}
	for _, tt := range []struct {
		failures int
		low, top time.Duration
	}{
		{0, 90 * time.Second, 110 * time.Second},
		{1, time.Second / 2, time.Second},
		{2, time.Second, 2 * time.Second},
		{5, 8 * time.Second, 16 * time.Second},
		{6, 15 * time.Second, 30 * time.Second},
		{1_000_000, 15 * time.Second, 30 * time.Second},
	} {
		s.failures = tt.failures
		for rand, want := range map[float64]time.Duration{0: tt.low, 1: tt.top} {
			s.rand = func() float64 { return rand }
			if got := s.delay().Round(time.Millisecond); got != want {
				t.Errorf("delay() after %d failures, with %v = %v, want %v", tt.failures, rand, got, want)
			}
		}
	}
	s.cfg.Refresh, s.failures = 2*time.Second, 9
	if got := s.delay(); got > 3*time.Second {
		t.Errorf("delay() = %v, longer than the refresh interval", got)
	}
}

// TestFailuresAreCounted until a fetch succeeds.
func TestFailuresAreCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "none")
	s, err := New(Config{Address: "http://127.0.0.1:1", Path: "secret/a", Auth: TokenAuth(file)}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for want := 1; want <= 3; want++ {
		if err := s.refresh(t.Context()); err == nil || s.failures != want {
			t.Errorf("refresh(): %v, %d failures, want %d", err, s.failures, want)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"data":{"username":"u","key":"k"}}`)
	}))
	defer server.Close()
	if err := s.client.SetAddress(server.URL); err != nil {
		t.Fatal(err)
	}
	s.session = &session{kv: kv{
		client: s.client, path: "secret/a", mount: &mount{path: "secret/"},
		fields: fields{username: "username", key: "key"},
	}}
	if err := s.refresh(t.Context()); err != nil || s.failures != 0 {
		t.Errorf("refresh(): %v, %d failures, want none", err, s.failures)
	}
}

// FuzzTake: whatever Vault answers, there is a credential that can be used, or
// an error that shows nothing of the answer.
func FuzzTake(f *testing.F) {
	for _, body := range []string{
		`{"data":{"data":{"username":"1001","key":"k"},"metadata":{"version":1}}}`,
		`{"data":{"username":"1001","key":"k"}}`,
		`{"data":{"username":1001,"key":"k\u0065y"}}`,
		`{"data":{"data":null,"metadata":{"version":1,"destroyed":true,"deletion_time":"2026-01-01T00:00:00Z"}}}`,
		`{"errors":[]}`, `{"data":{"data":{"username":"1001","key":"k","key":"l"},"metadata":{"version":1}}}`,
		`[]`, `{}`, ``, `{"data":`, `{"data":{"data":[],"metadata":{"version":-1}}}`, "{\"data\":{\"key\":\"\xff\"}}",
	} {
		f.Add([]byte(body), true)
		f.Add([]byte(body), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, v2 bool) {
		before := bytes.Clone(body)
		_, c, err := take(body, v2, fields{username: "username", key: "key"})
		if !zeros(body) {
			t.Fatal("the answer is still in memory")
		}
		if err != nil {
			// Every error's words are ours: none is longer than they are.
			if c != nil || len(err.Error()) > 200 {
				t.Fatalf("take() = %v, %v", c, err)
			}
			return
		}
		defer c.Release()
		if v2 != (c.Version() > 0) {
			t.Errorf("version %d", c.Version())
		}
		// What was taken is good for a credential.
		u, k := bytes.Clone(c.Username().Reveal()), bytes.Clone(c.Key().Reveal())
		again, err := secret.NewCredential(u, k, 1)
		if err != nil {
			t.Fatalf("took a bad credential out of %q: %v", before, err)
		}
		again.Release()
	})
}

// FuzzParseSink: whatever is in a token file, there is a wrapping token, or an
// error that shows nothing of it.
func FuzzParseSink(f *testing.F) {
	for _, text := range []string{
		`{"token":"hvs.CAES","accessor":"a","ttl":60,"creation_time":"2026-01-01T00:00:00Z","creation_path":"sys/wrapping/wrap","wrapped_accessor":""}`,
		`{"token":"hvs.\u0043AES","creation_path":"auth/approle/login"}`,
		`{"token":"a","token":"b","creation_path":"c"}`, `{"token":1,"creation_path":{}}`,
		`{"token":""}`, `{}`, `[]`, `{`, ``, "{\"token\":\"\xff\"}", `{"token":"\ud800","creation_path":"c"}`,
	} {
		f.Add(text)
	}
	_, refused := parseSink("")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := parseSink(text)
		if (token == "") == (err == nil) || err != nil && err.Error() != refused.Error() {
			t.Errorf("parseSink(%q) = %q, %v", text, token, err)
		}
	})
}

func TestIsSecretIDPath(t *testing.T) {
	for path, want := range map[string]bool{
		"auth/approle/role/gateway/secret-id":        true,
		"auth/approle/role/gateway/secret-id/":       false,
		"auth/approle/role/gateway/secret-id/lookup": false,
		"auth/approle/role/gateway/custom-secret-id": false,
		"auth/approle/role//secret-id":               false,
		"auth/approle/role/secret-id":                false,
		"auth/approle2/role/gateway/secret-id":       false,
		"x/auth/approle/role/gateway/secret-id":      false,
		"sys/wrapping/wrap":                          false,
		"secret/data/auth/approle/role/a/secret-id":  false,
		"": false,
		"auth/approle/role/gateway/../other/secret-id": false,
	} {
		if got := isSecretIDPath(path, "approle"); got != want {
			t.Errorf("isSecretIDPath(%q) = %v", path, got)
		}
	}
}

// TestWrappedIsNotPrinted: an Auth may be printed with the configuration.
func TestWrappedIsNotPrinted(t *testing.T) {
	const secretID = "s3cret-1d"
	approle := WrappedAppRoleAuth("role", "file").(*wrappedAppRoleAuth)
	token := TokenAuth("file").(*tokenAuth)
	approle.wrapped.value, token.wrapped.value = secret.New([]byte(secretID)), secret.New([]byte(secretID))
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, x := range []any{approle, token, Config{Auth: approle}} {
			text := fmt.Sprintf(format, x)
			if strings.Contains(text, secretID) || strings.Contains(text, strings.Trim(fmt.Sprint([]byte(secretID)), "[]")) {
				t.Errorf("%s: %s", format, text)
			}
		}
	}
}
