package vault_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// proxyTo returns a handler that passes requests on to a Vault server.
func proxyTo(t *testing.T, server *vaulttest.Server) *httputil.ReverseProxy {
	t.Helper()
	target, err := url.Parse(server.Address)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
}

// standby is a performance standby of Vault Enterprise, which the free one does
// not have: with each login it gives an index, and knows of the login only when
// it has caught up.
type standby struct {
	*httptest.Server
	behind   atomic.Int64 // requests with the index that are answered with 412
	restored atomic.Bool  // the index is never reached
	mu       sync.Mutex
	without  []string // paths asked for without the index
	refused  int
}

const index = "v1:0b2c:17:0:c2lnbmVk"

func newStandby(t *testing.T, server *vaulttest.Server) *standby {
	t.Helper()
	s := &standby{}
	proxy := proxyTo(t, server)
	proxy.ModifyResponse = func(r *http.Response) error {
		if strings.HasSuffix(r.Request.URL.Path, "/login") {
			r.Header.Set("X-Vault-Index", index)
		}
		return nil
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.knows(r) {
			proxy.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusPreconditionFailed)
		_, _ = w.Write([]byte(`{"errors":["required index state not present"]}`))
	}))
	t.Cleanup(s.Close)
	return s
}

// knows reports whether the standby answers the request itself.
func (s *standby) knows(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasSuffix(r.URL.Path, "/login") { // goes to the active server
		return !s.restored.Load() || r.Header.Get("X-Vault-Index") == ""
	}
	switch r.Header.Get("X-Vault-Index") {
	case index:
		if s.restored.Load() || s.behind.Add(-1) >= 0 {
			s.refused++
			return false
		}
	default:
		s.without = append(s.without, r.URL.Path)
		if !s.restored.Load() {
			s.refused++
			return false
		}
	}
	return true
}

func (s *standby) seen() (without []string, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.without, s.refused
}

func standbyConfig(t *testing.T, server *vaulttest.Server, s *standby) vault.Config {
	t.Helper()
	roleID, secretID := server.AppRole("gateway", vaulttest.AppRoleOptions{Policies: []string{"nowpay"}})
	cfg := config(t, server)
	cfg.Address, cfg.Auth = s.URL, vault.AppRoleAuth(roleID, writeFile(t, "secret-id", secretID))
	return cfg
}

// TestStandby: what comes after the login has its index, and a standby that is
// behind is asked again without anybody noticing.
func TestStandby(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	standby := newStandby(t, server)
	standby.behind.Store(3)
	s, log := startSource(t, standbyConfig(t, server, standby), vault.Options{})
	refreshes(t, server, "secret/data/", 3)
	mustHold(t, s, 1, 1)
	mustStayWell(t, log)
	if without, refused := standby.seen(); len(without) != 0 || refused != 3 {
		t.Errorf("without the index: %v; refused: %d, want 3", without, refused)
	}
	if got := server.Requests(logins); got != 1 {
		t.Errorf("%d logins, want 1", got)
	}
}

// TestStandbyFarBehind: that is a failure to read, not a permission denied, and
// no reason for a new login.
func TestStandbyFarBehind(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	standby := newStandby(t, server)
	s, log := startSource(t, standbyConfig(t, server, standby), vault.Options{})
	standby.behind.Store(1 << 40)
	eventually(t, "the failure to be noticed", failing(s))
	err := s.Status().Err
	mustFailAt(t, err, vault.StepRead)
	if !strings.Contains(err.Error(), "has not caught up") || strings.Contains(err.Error(), "permission denied") {
		t.Errorf("Status().Err = %v", err)
	}
	mustHold(t, s, 1, 1)
	if got := server.Requests(logins); got != 1 || log.count(msgUnavailable) != 0 {
		t.Errorf("%d logins, want 1; %s", got, log)
	}
}

// TestRestoredVault has an index that no server reaches any more.
func TestRestoredVault(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	standby := newStandby(t, server)
	s, log := startSource(t, standbyConfig(t, server, standby), vault.Options{})
	standby.restored.Store(true)
	server.PutKV2("secret", "nowpay/main", pair(2))
	eventually(t, "the new key", keyIs(s, 2))
	if log.count(msgUnavailable) != 0 {
		t.Errorf("the credential was gone: %s", log)
	}
}

// TestLoginAtRestoredVault: no login is held back by the index of the one before.
func TestLoginAtRestoredVault(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	standby := newStandby(t, server)
	cfg := standbyConfig(t, server, standby)
	server.AppRole("gateway", vaulttest.AppRoleOptions{
		Policies: []string{"nowpay"}, TokenTTL: 2 * time.Second, TokenMaxTTL: 2 * time.Second,
	})
	cfg.Refresh, cfg.StaleFor = time.Hour, 2*time.Hour
	s, log := startSource(t, cfg, vault.Options{})
	standby.restored.Store(true)
	eventually(t, "a second login", func() bool { return server.Requests(logins) == 2 })
	mustHold(t, s, 1, 1)
	mustStayWell(t, log)
}

// TestClientCert has a proxy that lets nobody through without a certificate.
func TestClientCert(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	authority := vaulttest.NewAuthority(t)
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM([]byte(authority.PEM()))
	proxy := httptest.NewUnstartedServer(proxyTo(t, server))
	proxy.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	proxy.Config.ErrorLog = (&logBuffer{}).errorLog()
	proxy.StartTLS()
	t.Cleanup(proxy.Close)

	cfg := config(t, server)
	cfg.Address = proxy.URL
	cfg.CAFile = writeFile(t, "ca.pem", encodePEM(proxy.Certificate()))
	cert, key := authority.Issue("gateway.internal", time.Hour)
	cfg.ClientCertFile, cfg.ClientKeyFile = writeFile(t, "cert.pem", cert), writeFile(t, "key.pem", key)
	s, log := startSource(t, cfg, vault.Options{})
	refreshes(t, server, "secret/data/", 2)
	mustHold(t, s, 1, 1)
	mustStayWell(t, log)

	expired, expiredKey := authority.Issue("gateway.internal", -time.Minute)
	for name, change := range map[string]func(*vault.Config){
		"none": func(c *vault.Config) { c.ClientCertFile, c.ClientKeyFile = "", "" },
		"expired": func(c *vault.Config) {
			c.ClientCertFile, c.ClientKeyFile = writeFile(t, "c.pem", expired), writeFile(t, "k.pem", expiredKey)
		},
		"no file": func(c *vault.Config) { c.ClientKeyFile += ".none" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := cfg
			change(&cfg)
			s, _ := newSource(t, cfg, vault.Options{})
			err := start(t, s)
			mustFailAt(t, err, vault.StepLogin)
			if !strings.Contains(err.Error(), "certificate") {
				t.Errorf("Start(): %v, want it to speak of the certificate", err)
			}
		})
	}
}

func encodePEM(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// TestServerName and a directory of authorities.
func TestServerName(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	proxy := httptest.NewUnstartedServer(proxyTo(t, server))
	proxy.Config.ErrorLog = (&logBuffer{}).errorLog()
	proxy.StartTLS() // for 127.0.0.1 and example.com
	t.Cleanup(proxy.Close)
	ca := writeFile(t, "ca.pem", encodePEM(proxy.Certificate()))
	cfg := config(t, server)
	cfg.Address, cfg.CAFile = strings.Replace(proxy.URL, "127.0.0.1", "localhost", 1), ca
	for name, good := range map[string]bool{"": false, "example.com": true, "vault.internal": false} {
		cfg.TLSServerName = name
		s, _ := newSource(t, cfg, vault.Options{})
		if err := start(t, s); (err == nil) != good {
			t.Errorf("Start() with the name %q: %v", name, err)
		}
	}

	dir := t.TempDir()
	cfg.TLSServerName, cfg.CAFile = "example.com", dir
	if _, err := vault.New(cfg, vault.Options{}); err == nil || !strings.Contains(err.Error(), "no certificate in") {
		t.Errorf("New() with an empty directory: %v", err)
	}
	rewriteFile(t, dir+"/a.pem", strings.TrimSpace(vaulttest.NewAuthority(t).PEM()))
	rewriteFile(t, dir+"/b.crt", strings.TrimSpace(encodePEM(proxy.Certificate())))
	rewriteFile(t, dir+"/README", "s3cr3t")
	s, _ := startSource(t, cfg, vault.Options{})
	mustHold(t, s, 1, 1)
}
