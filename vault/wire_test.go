package vault_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// TestNothingFromTheEnvironment sets all that Vault's client library reads.
func TestNothingFromTheEnvironment(t *testing.T) {
	var strays atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strays.Add(1) }))
	defer elsewhere.Close()
	for name, value := range map[string]string{
		"VAULT_ADDR": elsewhere.URL, "VAULT_AGENT_ADDR": elsewhere.URL,
		"VAULT_TOKEN": "hvs.fr0m-env", "VAULT_NAMESPACE": "env-namespace",
		"VAULT_SKIP_VERIFY": "true", "VAULT_WRAP_TTL": "5m", "VAULT_MAX_RETRIES": "7", "VAULT_MFA": "env-mfa",
		"VAULT_HEADERS": `{"X-Env":"env-header"}`, "VAULT_RATE_LIMIT": "0.0001:1",
		"VAULT_HTTP_PROXY": elsewhere.URL, "VAULT_PROXY_ADDR": elsewhere.URL,
		"HTTPS_PROXY": elsewhere.URL, "HTTP_PROXY": elsewhere.URL, "ALL_PROXY": elsewhere.URL,
	} {
		t.Setenv(name, value)
	}
	f := newFake(t, nil)
	s, _ := startSource(t, f.config(t), vault.Options{})
	mustHold(t, s, 1, 1)
	eventually(t, "a refresh", func() bool { return len(f.seen()) > 5 })
	s.Close()

	login := newFake(t, nil)
	cfg := login.config(t)
	cfg.Auth = vault.AppRoleAuth("role", writeFile(t, "secret-id", "secret-id"))
	approle, _ := newSource(t, cfg, vault.Options{})
	mustFailAt(t, start(t, approle), vault.StepLogin)
	if got := login.seen()[0].Header["X-Vault-Token"]; got != nil {
		t.Errorf("the login has the token %q", got)
	}

	if strays.Load() != 0 {
		t.Errorf("%d requests went elsewhere", strays.Load())
	}
	for _, r := range f.seen() {
		if got := r.Header.Get("X-Vault-Token"); got != "hvs.t0ken" {
			t.Errorf("%s has the token %q", r.URL, got)
		}
		if got := r.Header.Get("X-Vault-Request"); got != "true" {
			t.Errorf("%s has X-Vault-Request %q", r.URL, got)
		}
		for name, values := range r.Header {
			if name == "X-Vault-Namespace" || name == "X-Vault-Wrap-Ttl" || name == "X-Vault-Mfa" ||
				strings.Contains(strings.Join(values, " "), "env") {
				t.Errorf("%s has %s: %v", r.URL, name, values)
			}
		}
	}
}

func TestMalformedEnvironment(t *testing.T) {
	t.Setenv("VAULT_SKIP_VERIFY", "perhaps")
	_, err := vault.New(newFake(t, nil).config(t), vault.Options{})
	if err == nil || !strings.Contains(err.Error(), "VAULT_") {
		t.Errorf("New(): %v, want it to speak of the environment", err)
	}
}

// TestNamespace looks at the requests, since the free Vault has no namespaces.
func TestNamespace(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Vault-Namespace") != "teams/pay" {
			http.NotFound(w, r)
			return true
		}
		if strings.HasPrefix(r.URL.Path, "/v1/sys/internal/ui/mounts/") {
			// Vault puts the namespace in front of the mount.
			fmt.Fprint(w, `{"data":{"path":"teams/pay/secret/","type":"kv","options":{"version":"2"}}}`)
			return true
		}
		return false
	})
	cfg := f.config(t)
	without, _ := newSource(t, cfg, vault.Options{})
	err := start(t, without)
	mustFailAt(t, err, vault.StepLogin)
	if !strings.Contains(err.Error(), "status 404") {
		t.Errorf("Start() without the namespace: %v", err)
	}
	cfg.Namespace = "teams/pay"
	s, _ := startSource(t, cfg, vault.Options{})
	mustHold(t, s, 1, 1)
}

// TestBehindAPrefix has Vault under a path of a shared host.
func TestBehindAPrefix(t *testing.T) {
	t.Parallel()
	inner := newFake(t, nil)
	outer := httptest.NewServer(http.StripPrefix("/vault", inner))
	defer outer.Close()
	cfg := inner.config(t)
	cfg.Address = outer.URL + "/vault/"
	s, _ := startSource(t, cfg, vault.Options{})
	mustHold(t, s, 1, 1)
}

// TestNoRedirect must not take the token to another server.
func TestNoRedirect(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		target := newFake(t, nil)
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, target.URL+r.URL.Path, status)
			return true
		})
		s, _ := newSource(t, f.config(t), vault.Options{})
		err := start(t, s)
		mustFailAt(t, err, vault.StepLogin, "hvs.t0ken")
		if !strings.Contains(err.Error(), "redirect") {
			t.Errorf("Start() with %d: %v", status, err)
		}
		if got := len(target.seen()); got != 0 {
			t.Errorf("%d requests followed the redirect %d", got, status)
		}
	}
}

// TestOddAnswers must not take the credential away that is there: only Vault's
// word that it is gone does.
func TestOddAnswers(t *testing.T) {
	t.Parallel()
	write := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	good := `"data":{"username":"1001","key":"k3y-s3cr3t"}`
	for name, answer := range map[string]func(http.ResponseWriter){
		"a page":             write(200, `<html>k3y-s3cr3t</html>`),
		"nothing":            write(200, ``),
		"no content":         write(204, ``),
		"no object":          write(200, `["k3y-s3cr3t"]`),
		"cut off":            write(200, `{"data":{`+good),
		"trailing":           write(200, `{"data":{`+good+`,"metadata":{"version":2}}} k3y-s3cr3t`),
		"names twice":        write(200, `{"data":{"data":{"username":"1","key":"k3y-a","key":"k3y-b"},"metadata":{"version":2}}}`),
		"not UTF-8":          write(200, `{"data":{"data":{"username":"1","key":"k3y-`+"\xff"+`"},"metadata":{"version":2}}}`),
		"no metadata":        write(200, `{"data":{`+good+`}}`),
		"no version":         write(200, `{"data":{`+good+`,"metadata":{}}}`),
		"version 0":          write(200, `{"data":{`+good+`,"metadata":{"version":0}}}`),
		"version is no int":  write(200, `{"data":{`+good+`,"metadata":{"version":"k3y-s3cr3t"}}}`),
		"no data":            write(200, `{"data":{"metadata":{"version":2}}}`),
		"data is a text":     write(200, `{"data":{"data":"k3y-s3cr3t","metadata":{"version":2}}}`),
		"too large":          write(200, `{"data":{`+good+`,"metadata":{"version":2}},"pad":"`+strings.Repeat("k3y-s3cr3t", 110_000)+`"}`),
		"500 with a page":    write(500, `<html>k3y-s3cr3t hvs.t0ken</html>`),
		"500 with errors":    write(500, `{"errors":["the token hvs.t0ken\nis \u001b[31mbad\u001b[0m"]}`),
		"429":                write(429, `{"errors":["request path \"x\": rate limit quota exceeded"]}`),
		"403 with the token": write(403, `{"errors":["hvs.t0ken may not"]}`),
		"long error":         write(500, `{"errors":["`+strings.Repeat("ü", 5000)+`"]}`),
		"huge error":         write(500, `{"errors":["`+strings.Repeat("x", 1<<20)+`"]}`),
		"longer than it says": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"data":{"data":{"key":"k3y-s3cr3t"`)
		},
		"malformed header": func(w http.ResponseWriter) {
			conn, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			fmt.Fprint(buf, "HTTP/1.1 200 OK\r\nk3y-s3cr3t hvs.t0ken\r\n\r\n")
			_ = buf.Flush()
			_ = conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var odd atomic.Bool
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				if !odd.Load() || !strings.HasPrefix(r.URL.Path, "/v1/secret/") {
					return false
				}
				answer(w)
				return true
			})
			s, log := startSource(t, f.config(t), vault.Options{})
			odd.Store(true)
			eventually(t, "the failure to be noticed", failing(s))
			err := s.Status().Err
			mustFailAt(t, err, vault.StepRead, "hvs.t0ken", "\n", "\x1b")
			if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			mustHold(t, s, 1, 1)
			odd.Store(false)
			eventually(t, "recovery", available(s))
			mustNotHold(t, log.String(), "hvs.t0ken")
		})
	}
}

// TestOddLogins must not show what was sent.
// TestNotVaultsNotFound: a proxy in front of Vault knows no path while Vault
// is away. That is no word about the secret.
func TestNotVaultsNotFound(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		if away.Load() {
			http.Error(w, "<html>no such page</html>", http.StatusNotFound)
		}
		return away.Load()
	})
	s, _ := startSource(t, f.config(t), vault.Options{})
	away.Store(true)
	eventually(t, "the failure to be noticed", failing(s))
	mustHold(t, s, 1, 1)
	away.Store(false)
	eventually(t, "recovery", available(s))
}

func TestOddLogins(t *testing.T) {
	t.Parallel()
	const secretID = "s3cret-1d"
	for name, answer := range map[string]string{
		"a page":       `<html>` + secretID + `</html>`,
		"no auth":      `{"data":{"secret_id":"` + secretID + `"}}`,
		"empty token":  `{"auth":{"client_token":"","accessor":"` + secretID + `"}}`,
		"wrong types":  `{"auth":"` + secretID + `"}`,
		"nothing":      ``,
		"odd token":    `{"auth":{"client_token":"two\nlines ` + secretID + `"}}`,
		"error status": "!" + `{"errors":["secret id ` + secretID + ` of role-1d is used up"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/v1/auth/approle/login" {
					return false
				}
				if body, isError := strings.CutPrefix(answer, "!"); isError {
					w.WriteHeader(http.StatusBadRequest)
					answer = body
				}
				fmt.Fprint(w, answer)
				return true
			})
			cfg := f.config(t)
			cfg.Auth = vault.AppRoleAuth("role-1d", writeFile(t, "secret-id", secretID))
			s, log := newSource(t, cfg, vault.Options{})
			err := start(t, s)
			if err == nil {
				t.Fatal("Start() succeeded")
			}
			mustNotHold(t, err.Error()+log.String(), secretID, "role-1d")
		})
	}
}

// TestMalformedLookup of the token in a file.
func TestMalformedLookup(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		``, `{}`, `{"data":null}`, `{"data":{"ttl":"hvs.t0ken","renewable":true}}`,
		`{"data":{"ttl":60,"renewable":"hvs.t0ken"}}`, `{"data":{"ttl":0,"renewable":true,"expire_time":"2026-01-01T00:00:00Z"}}`,
	} {
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/v1/auth/token/lookup-self" {
				return false
			}
			fmt.Fprint(w, answer)
			return true
		})
		s, _ := newSource(t, f.config(t), vault.Options{})
		mustFailAt(t, start(t, s), vault.StepLogin, "hvs.t0ken")
	}
}

func TestMalformedMount(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		``, `{}`, `{"data":{}}`, `{"data":{"path":"","type":"kv"}}`, `{"data":{"path":"other/","type":"kv"}}`,
		`{"data":{"path":7,"type":"kv"}}`, `{"data":{"path":"` + path + `/","type":"kv"}}`, `{"data":{"path":"secret/","type":"pki"}}`,
	} {
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/v1/sys/internal/ui/mounts/") {
				return false
			}
			fmt.Fprint(w, answer)
			return true
		})
		s, _ := newSource(t, f.config(t), vault.Options{})
		mustFailAt(t, start(t, s), vault.StepMount, "hvs.t0ken")
	}
}

// TestCloseWhileRenewalHangs: the library's renewals take no context.
func TestCloseWhileRenewalHangs(t *testing.T) {
	t.Parallel()
	renewing := make(chan struct{})
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/v1/auth/token/lookup-self":
			fmt.Fprint(w, `{"data":{"ttl":3600,"renewable":true,"expire_time":"2030-01-01T00:00:00Z"}}`)
			return true
		case "/v1/auth/token/renew-self":
			_, _ = io.Copy(io.Discard, r.Body) // else the server does not see the client go
			close(renewing)
			<-r.Context().Done()
			return true
		}
		return false
	})
	s, _ := startSource(t, f.config(t), vault.Options{})
	<-renewing
	begun := time.Now()
	s.Close()
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("Close() took %v", took)
	}
}

// TestCloseWhileReadingHangs is no failure to tell of.
func TestCloseWhileReadingHangs(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	f := newFake(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/v1/secret/") || reads.Add(1) == 1 {
			return false
		}
		<-r.Context().Done()
		return true
	})
	s, log := startSource(t, f.config(t), vault.Options{})
	eventually(t, "a second read", func() bool { return reads.Load() == 2 })
	s.Close()
	mustStayWell(t, log)
}

// TestShortSessions has a token that is at its end with each renewal: that must
// not become a flood of logins.
func TestShortSessions(t *testing.T) {
	t.Parallel()
	var logins atomic.Int64
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/v1/auth/token/lookup-self":
			logins.Add(1)
			fmt.Fprint(w, `{"data":{"ttl":1,"renewable":true,"expire_time":"2030-01-01T00:00:00Z"}}`)
			return true
		case "/v1/auth/token/renew-self":
			fmt.Fprint(w, `{"auth":{"client_token":"hvs.t0ken","lease_duration":0,"renewable":true}}`)
			return true
		}
		return false
	})
	begun := time.Now()
	s, log := startSource(t, f.config(t), vault.Options{})
	eventually(t, "three logins", func() bool { return logins.Load() >= 3 })
	if took := time.Since(begun); took < 2*time.Second-50*time.Millisecond {
		t.Errorf("three logins in %v", took)
	}
	mustHold(t, s, 1, 1)
	mustStayWell(t, log)
}

// TestCanary looks for the key in all that a caller can see of a source, in a
// life with trouble.
func TestCanary(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	roleID, secretID := server.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	cfg := config(t, server)
	cfg.Auth = vault.AppRoleAuth(roleID, writeFile(t, "secret-id", secretID))
	s, log := startSource(t, cfg, vault.Options{})
	var seen strings.Builder
	look := func() {
		c, err := s.Acquire()
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			for _, x := range []any{c, err, s.Status(), cfg.Auth} {
				fmt.Fprintf(&seen, format+"\n", x)
			}
		}
		if err == nil {
			c.Release()
		}
	}
	look()
	for _, change := range []func(){
		func() {
			server.PutKV2("secret", "nowpay/main", map[string]any{"username": "1", "key": keyOf(1) + "\n"})
		},
		server.Stop, server.Restart, server.Seal, server.Unseal,
		func() { server.PutKV2("secret", "nowpay/main", pair(2)) },
	} {
		before := s.Status()
		change()
		eventually(t, "a change", func() bool {
			st := s.Status()
			return fmt.Sprint(st.Err) != fmt.Sprint(before.Err) || st.Version != before.Version || st.FetchedAt != before.FetchedAt
		})
		look()
	}
	text := seen.String() + log.String()
	mustNotHold(t, text, secretID, base64.StdEncoding.EncodeToString([]byte(keyOf(2)))[:16], fmt.Sprintf("%x", keyOf(2)),
		strings.Trim(fmt.Sprint([]byte(keyOf(2))), "[]"))
}
