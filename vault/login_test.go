package vault_test

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/vaulttest"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// refused is a login that must not succeed.
type refused struct {
	name string
	auth vault.Auth
	want string // of the error
}

// mustBeRefused tries logins and looks for secrets in what is said about them.
func mustBeRefused(t *testing.T, cfg vault.Config, logins []refused, secrets ...string) {
	t.Helper()
	for _, tt := range logins {
		t.Run(tt.name, func(t *testing.T) {
			cfg := cfg
			cfg.Auth = tt.auth
			s, log := newSource(t, cfg, vault.Options{})
			err := start(t, s)
			mustFailAt(t, err, vault.StepLogin, secrets...)
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "logging in by "+tt.auth.String()) {
				t.Errorf("Start(): %v, want it to say %q", err, tt.want)
			}
			mustNotHold(t, log.String(), secrets...)
		})
	}
}

func nowpayRole(mount string) vaulttest.RoleOptions {
	return vaulttest.RoleOptions{Mount: mount, Policies: []string{"nowpay"}}
}

// shortRole has tokens that live two seconds and cannot be renewed further.
func shortRole() vaulttest.RoleOptions {
	return vaulttest.RoleOptions{Policies: []string{"nowpay"}, TokenTTL: 2 * time.Second, TokenMaxTTL: 2 * time.Second}
}

// TestLogins has each method under its own name and elsewhere.
func TestLogins(t *testing.T) {
	t.Parallel()
	server := newVault(t, vaulttest.WithTLS())
	cluster := vaulttest.StartCluster(t)
	for _, mount := range []string{"", "teams/pay"} {
		at := func(method string) string {
			if mount == "" {
				return ""
			}
			return mount + "/" + method
		}
		roleID, secretID := server.AppRole("gateway", vaulttest.AppRoleOptions{Mount: at("approle"), Policies: []string{"nowpay"}})
		issuer := server.JWT("gateway", nowpayRole(at("jwt")))
		server.Kubernetes("gateway", cluster, nowpayRole(at("kubernetes")))
		authority := vaulttest.NewAuthority(t)
		server.Cert("gateway", authority, nowpayRole(at("cert")))
		cert, key := authority.Issue("gateway.internal", time.Hour)
		jwt, account := issuer.Sign(time.Minute, nil), cluster.Sign(time.Minute, nil)
		wrapping := server.WrappedSecretID(at("approle"), "gateway", time.Minute)
		for name, auth := range map[string]vault.Auth{
			"approle":          vault.AppRoleAuth(roleID, writeFile(t, "secret-id", secretID)),
			"approle, wrapped": vault.WrappedAppRoleAuth(roleID, writeFile(t, "wrapped", wrapping+"\n")),
			"jwt":              vault.JWTAuth("gateway", writeFile(t, "jwt", jwt+"\n")),
			"kubernetes":       vault.KubernetesAuth("gateway", writeFile(t, "account", account)),
			"cert":             vault.CertAuth("gateway", writeFile(t, "cert.pem", cert), writeFile(t, "key.pem", key)),
		} {
			t.Run(name+" at "+mount, func(t *testing.T) {
				cfg := config(t, server)
				cfg.Auth, cfg.AuthMount = auth, at(auth.String())
				s, log := startSource(t, cfg, vault.Options{})
				refreshes(t, server, "secret/data/", 2)
				mustHold(t, s, 1, 1)
				mustStayWell(t, log)
				mustNotHold(t, log.String(), secretID, jwt, account, wrapping)
			})
		}
	}
}

func TestJWT(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	issuer := server.JWT("gateway", nowpayRole(""))
	good := issuer.Sign(time.Hour, nil)
	expired := issuer.Sign(-time.Minute, nil)
	other := issuer.Sign(time.Hour, map[string]any{"sub": "somebody"})
	audience := issuer.Sign(time.Hour, map[string]any{"aud": "elsewhere"})
	forged := good[:len(good)-20] + strings.Repeat("A", 20)
	dir := t.TempDir()
	mustBeRefused(t, config(t, server), []refused{
		{"wrong role", vault.JWTAuth("shop", writeFile(t, "jwt", good)), "status 400"},
		{"expired", vault.JWTAuth("gateway", writeFile(t, "jwt", expired)), "status 400"},
		{"other subject", vault.JWTAuth("gateway", writeFile(t, "jwt", other)), "status 400"},
		{"other audience", vault.JWTAuth("gateway", writeFile(t, "jwt", audience)), "status 400"},
		{"forged", vault.JWTAuth("gateway", writeFile(t, "jwt", forged)), "status 400"},
		{"no JWT", vault.JWTAuth("gateway", writeFile(t, "jwt", "s3cr3t")), "status 400"},
		{"no file", vault.JWTAuth("gateway", filepath.Join(dir, "none")), "no such file"},
		{"empty file", vault.JWTAuth("gateway", writeFile(t, "jwt", "\n")), "is empty"},
		{"two words", vault.JWTAuth("gateway", writeFile(t, "jwt", good+" "+good)), "more than one word"},
	}, good, expired, other, audience, forged)
}

// TestJWTReplaced: logins take the JWT that the file has then.
func TestJWTReplaced(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	issuer := server.JWT("gateway", shortRole())
	file := writeFile(t, "jwt", issuer.Sign(time.Hour, nil))
	cfg := config(t, server)
	cfg.Auth = vault.JWTAuth("gateway", file)
	s, log := startSource(t, cfg, vault.Options{})

	issuer = server.JWT("gateway", shortRole()) // the first one's are refused
	second := issuer.Sign(time.Hour, nil)
	rewriteFile(t, file, second)
	eventually(t, "a second login", func() bool { return server.Requests("auth/jwt/login") == 2 })
	refreshes(t, server, "secret/data/", 2)
	mustStayWell(t, log)

	for name, content := range map[string]string{"expired": issuer.Sign(-time.Minute, nil), "empty": ""} {
		rewriteFile(t, file, content)
		eventually(t, name+" to be noticed", failing(s))
		mustFailAt(t, s.Status().Err, vault.StepLogin, second)
		mustHold(t, s, 1, 1)
		rewriteFile(t, file, second)
		eventually(t, "recovery", available(s))
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loss to be noticed", func() bool { return errors.Is(s.Status().Err, fs.ErrNotExist) })
	mustHold(t, s, 1, 1)
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	cluster := vaulttest.StartCluster(t)
	server.Kubernetes("gateway", cluster, nowpayRole(""))
	good, gone := cluster.Sign(time.Hour, nil), cluster.Sign(time.Hour, nil)
	cluster.Delete(gone)
	expired := cluster.Sign(-time.Minute, nil)
	audience := cluster.Sign(time.Hour, map[string]any{"aud": []string{"elsewhere"}})
	other := cluster.Sign(time.Hour, map[string]any{"kubernetes.io": map[string]any{
		"namespace": "pay", "serviceaccount": map[string]any{"name": "default", "uid": "5ba1-uid"},
	}})
	forged := vaulttest.StartCluster(t).Sign(time.Hour, nil)
	auth := func(role, token string) vault.Auth { return vault.KubernetesAuth(role, writeFile(t, "token", token)) }
	mustBeRefused(t, config(t, server), []refused{
		{"wrong role", auth("shop", good), "status 400"},
		{"expired", auth("gateway", expired), "status 403"},
		{"pod is gone", auth("gateway", gone), "status 403"},
		{"other audience", auth("gateway", audience), "status 403"},
		{"other service account", auth("gateway", other), "status 403"},
		{"of another cluster", auth("gateway", forged), "status 403"},
		{"not in a pod", vault.KubernetesAuth("gateway", ""), "/var/run/secrets/kubernetes.io/serviceaccount/token"},
	}, good, gone, expired, audience, other, forged)

	cfg := config(t, server)
	cfg.Auth = auth("gateway", good)
	s, _ := startSource(t, cfg, vault.Options{})
	mustHold(t, s, 1, 1)
	if cluster.Reviews() == 0 {
		t.Error("the cluster was not asked")
	}
}

func TestCert(t *testing.T) {
	t.Parallel()
	server := newVault(t, vaulttest.WithTLS())
	authority := vaulttest.NewAuthority(t)
	server.Cert("gateway", authority, nowpayRole(""))
	cert, key := authority.Issue("gateway.internal", time.Hour)
	revoked, revokedKey := authority.Issue("gateway.internal", time.Hour)
	server.RevokeCertificates("", authority, revoked)
	expired, expiredKey := authority.Issue("gateway.internal", -time.Minute)
	named, namedKey := authority.Issue("shop.internal", time.Hour)
	foreign, foreignKey := vaulttest.NewAuthority(t).Issue("gateway.internal", time.Hour)
	auth := func(role, cert, key string) vault.Auth {
		return vault.CertAuth(role, writeFile(t, "cert.pem", cert), writeFile(t, "key.pem", key))
	}
	none := filepath.Join(t.TempDir(), "none.pem")
	mustBeRefused(t, config(t, server), []refused{
		{"wrong role", auth("shop", cert, key), "status 400"},
		{"revoked", auth("gateway", revoked, revokedKey), "status 400"},
		{"expired", auth("gateway", expired, expiredKey), "certificate has expired"},
		{"other name", auth("gateway", named, namedKey), "status 400"},
		{"other authority", auth("gateway", foreign, foreignKey), "status 400"},
		{"key of another", auth("gateway", cert, namedKey), "private key does not match public key"},
		{"exchanged", auth("gateway", key, cert), "reading the client certificate"},
		{"empty certificate", auth("gateway", "", key), "reading the client certificate"},
		{"empty key", auth("gateway", cert, ""), "reading the client certificate"},
		{"no certificate", vault.CertAuth("gateway", none, writeFile(t, "key.pem", key)), none},
		{"no key", vault.CertAuth("gateway", writeFile(t, "cert.pem", cert), none), none},
	}, strings.Split(key, "\n")[1], strings.Split(namedKey, "\n")[1])
}

// TestCertRenewed replaces the certificate while the gateway runs: the next
// connection shows the new one, and no renewal of the token fails for it.
func TestCertRenewed(t *testing.T) {
	t.Parallel()
	server := newVault(t, vaulttest.WithTLS())
	authority := vaulttest.NewAuthority(t)
	server.Cert("gateway", authority, vaulttest.RoleOptions{Policies: []string{"nowpay"}, TokenTTL: 2 * time.Second, TokenMaxTTL: 4 * time.Second})
	cert, key := authority.Issue("gateway.internal", time.Hour)
	certFile, keyFile := writeFile(t, "cert.pem", cert), writeFile(t, "key.pem", key)
	cfg := config(t, server)
	cfg.Auth = vault.CertAuth("gateway", certFile, keyFile)
	s, log := startSource(t, cfg, vault.Options{})

	newCert, newKey := authority.Issue("gateway.internal", time.Hour)
	rewriteFile(t, keyFile, newKey)
	rewriteFile(t, certFile, newCert)
	server.RevokeCertificates("", authority, cert) // the old one opens nothing now
	before := server.Requests("auth/cert/login")
	eventually(t, "two more logins", func() bool { return server.Requests("auth/cert/login") >= before+2 })
	refreshes(t, server, "secret/data/", 2)
	mustHold(t, s, 1, 1)
	if log.count(msgUnavailable) != 0 {
		t.Errorf("the credential was gone: %s", log)
	}

	before = log.count(msgFailing)
	rewriteFile(t, certFile, cert) // does not fit to the key
	eventually(t, "the failure to be noticed", failing(s))
	mustHold(t, s, 1, 1)
	rewriteFile(t, certFile, newCert)
	eventually(t, "recovery", available(s))
	if got := log.count(msgFailing); got <= before {
		t.Errorf("the failure was not logged: %s", log)
	}
}

// TestLoginFileThatIsAPipe: nobody may ever write to it, and nobody waits for that.
func TestLoginFileThatIsAPipe(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe.pem")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFake(t, nil)
	secure := httptest.NewUnstartedServer(f)
	secure.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	certificate, key := vaulttest.NewAuthority(t).Issue("gateway.internal", time.Hour)
	certFile, keyFile := writeFile(t, "cert.pem", certificate), writeFile(t, "key.pem", key)
	ca := writeFile(t, "ca.pem", encodePEM(secure.Certificate()))
	for name, auth := range map[string]vault.Auth{
		"secret ID":         vault.AppRoleAuth("role", pipe),
		"wrapped secret ID": vault.WrappedAppRoleAuth("role", pipe),
		"token":             vault.TokenAuth(pipe),
		"JWT":               vault.JWTAuth("role", pipe),
		"certificate":       vault.CertAuth("role", pipe, keyFile),
		"its key":           vault.CertAuth("role", certFile, pipe),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := f.config(t)
			cfg.Address, cfg.CAFile, cfg.Auth = secure.URL, ca, auth
			s, _ := newSource(t, cfg, vault.Options{})
			err := soon(t, func() error { defer s.Close(); return s.Start(t.Context()) })
			mustFailAt(t, err, vault.StepLogin)
			if !strings.Contains(err.Error(), "not a regular file") {
				t.Errorf("Start(): %v", err)
			}
		})
	}
	for name, path := range map[string]string{"authorities": pipe, "among authorities": filepath.Dir(pipe)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := soon(t, func() error { _, err := vault.ReadAuthorities(path); return err })
			if err == nil || !strings.Contains(err.Error(), "not a regular file") {
				t.Errorf("ReadAuthorities(): %v", err)
			}
		})
	}
}

// soon returns what f does, which must not take long.
func soon(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("it blocks")
		return nil
	}
}
