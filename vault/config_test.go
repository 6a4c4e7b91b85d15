package vault_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

func TestNewChecksConfig(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*vault.Config)
		want   string // "" no error
	}{
		{"as it is", func(*vault.Config) {}, ""},
		{"prefix", func(c *vault.Config) { c.Address = "https://host:8200/vault" }, ""},
		{"loopback", func(c *vault.Config) { c.Address = "http://127.0.0.5:8200" }, ""},
		{"loopback, IPv6", func(c *vault.Config) { c.Address = "http://[::1]:8200" }, ""},
		{"localhost", func(c *vault.Config) { c.Address = "http://localhost:8200" }, ""},
		{"no address", func(c *vault.Config) { c.Address = "" }, "checking address: none given"},
		{"no scheme", func(c *vault.Config) { c.Address = "vault.internal:8200" }, "https://"},
		{"other scheme", func(c *vault.Config) { c.Address = "unix:///run/vault" }, "https://"},
		{"no host", func(c *vault.Config) { c.Address = "https://:8200" }, "no host"},
		{"not a URL", func(c *vault.Config) { c.Address = "https://[::1" }, "not a URL"},
		{"password", func(c *vault.Config) { c.Address = "https://u:s3cr3t@host" }, "no user"},
		{"query", func(c *vault.Config) { c.Address = "https://host?a=s3cr3t" }, "no user, query"},
		{"fragment", func(c *vault.Config) { c.Address = "https://host#s3cr3t" }, "no user, query or fragment"},
		{"readable", func(c *vault.Config) { c.Address = "http://vault.internal:8200" }, "use https"},
		{"readable, address", func(c *vault.Config) { c.Address = "http://10.0.0.1:8200" }, "use https"},
		{"namespace", func(c *vault.Config) { c.Namespace = "a\r\nX-Vault-Token: b" }, "checking namespace"},
		{"ca missing", func(c *vault.Config) { c.CAFile = notPEM + ".none" }, "reading ca"},
		{"ca empty", func(c *vault.Config) { c.CAFile = notPEM }, "no certificate in"},
		{"no auth", func(c *vault.Config) { c.Auth = nil }, "no login method"},
		{"token", func(c *vault.Config) { c.Auth = vault.TokenAuth("") }, "checking auth token: no token file"},
		{"approle", func(c *vault.Config) { c.Auth = vault.AppRoleAuth("", "f") }, "checking auth approle: no role ID"},
		{"approle file", func(c *vault.Config) { c.Auth = vault.AppRoleAuth("r", "") }, "no secret ID file"},
		{"jwt", func(c *vault.Config) { c.Auth = vault.JWTAuth("", "f") }, "checking auth jwt: no role"},
		{"jwt file", func(c *vault.Config) { c.Auth = vault.JWTAuth("r", "") }, "no JWT file"},
		{"kubernetes", func(c *vault.Config) { c.Auth = vault.KubernetesAuth("", "") }, "checking auth kubernetes: no role"},
		{"kubernetes, the pod's", func(c *vault.Config) { c.Auth = vault.KubernetesAuth("r", "") }, ""},
		{"cert", func(c *vault.Config) { c.Auth = vault.CertAuth("", "c", "k") }, "checking auth cert: no role"},
		{"cert file", func(c *vault.Config) { c.Auth = vault.CertAuth("r", "", "k") }, "no certificate file"},
		{"cert key", func(c *vault.Config) { c.Auth = vault.CertAuth("r", "c", "") }, "no key file"},
		{"cert in TLS", func(c *vault.Config) { c.Auth = vault.CertAuth("r", "c", "k") }, ""},
		{"cert in the open", func(c *vault.Config) {
			c.Address, c.Auth = "http://127.0.0.1:8200", vault.CertAuth("r", "c", "k")
		}, "must begin with https://"},
		{"two certificates", func(c *vault.Config) {
			c.Auth, c.ClientCertFile, c.ClientKeyFile = vault.CertAuth("r", "c", "k"), "c", "k"
		}, "leave one out"},
		{"client certificate", func(c *vault.Config) { c.ClientCertFile, c.ClientKeyFile = "c", "k" }, ""},
		{"client certificate alone", func(c *vault.Config) { c.ClientCertFile = "c" }, "checking client_cert: no key file"},
		{"client key alone", func(c *vault.Config) { c.ClientKeyFile = "k" }, "checking client_cert: no certificate file"},
		{"client certificate in the open", func(c *vault.Config) {
			c.Address, c.ClientCertFile, c.ClientKeyFile = "http://127.0.0.1:8200", "c", "k"
		}, "must begin with https://"},
		{"server name", func(c *vault.Config) { c.TLSServerName = "vault.internal" }, ""},
		{"server name with a port", func(c *vault.Config) { c.TLSServerName = "vault.internal:8200" }, "without scheme and port"},
		{"server name in the open", func(c *vault.Config) {
			c.Address, c.TLSServerName = "http://127.0.0.1:8200", "vault.internal"
		}, "must begin with https://"},
		{"mount", func(c *vault.Config) { c.Auth, c.AuthMount = vault.JWTAuth("r", "f"), "teams/pay/jwt" }, ""},
		{"mount with auth", func(c *vault.Config) { c.Auth, c.AuthMount = vault.JWTAuth("r", "f"), "auth/jwt" }, "begins without auth/"},
		{"mount with dots", func(c *vault.Config) { c.Auth, c.AuthMount = vault.JWTAuth("r", "f"), "../sys" }, "that is . or .."},
		{"mount with a slash", func(c *vault.Config) { c.Auth, c.AuthMount = vault.JWTAuth("r", "f"), "jwt/" }, "no slash at either end"},
		{"mount of a token", func(c *vault.Config) { c.AuthMount = "token" }, "a token has no mount"},
		{"no path", func(c *vault.Config) { c.Path = "" }, "mount and a path"},
		{"mount only", func(c *vault.Config) { c.Path = "secret" }, "mount and a path"},
		{"slash in front", func(c *vault.Config) { c.Path = "/secret/a" }, "no slash at either end"},
		{"slash behind", func(c *vault.Config) { c.Path = "secret/a/" }, "no slash at either end"},
		{"two slashes", func(c *vault.Config) { c.Path = "secret//a" }, "two in a row"},
		{"dots", func(c *vault.Config) { c.Path = "secret/../sys" }, "that is . or .. only"},
		{"dot", func(c *vault.Config) { c.Path = "secret/./a" }, "that is . or .. only"},
		{"escape", func(c *vault.Config) { c.Path = "secret/a%2fb" }, "holds one of"},
		{"query in path", func(c *vault.Config) { c.Path = "secret/a?version=1" }, "holds one of"},
		{"control", func(c *vault.Config) { c.Path = "secret/a\n" }, "unprintable"},
		{"space and letters", func(c *vault.Config) { c.Path = "secret/a b/ü" }, ""},
		{"same fields", func(c *vault.Config) { c.UsernameField = "key" }, `both "key"`},
		{"negative refresh", func(c *vault.Config) { c.Refresh = -1 }, "is negative"},
		{"stale before refreshed", func(c *vault.Config) { c.Refresh, c.StaleFor = time.Minute, time.Minute }, "must be clearly longer"},
		{"refresh longer than the default", func(c *vault.Config) { c.Refresh = time.Hour }, "must be clearly longer"},
		{"negative stale_for", func(c *vault.Config) { c.StaleFor = -1 }, "must be clearly longer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := vault.Config{
				Address: "https://vault.internal:8200", Path: path,
				Auth: vault.TokenAuth("/does/not/exist"), // not read before Start
			}
			tt.change(&cfg)
			s, err := vault.New(cfg, vault.Options{})
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("New(): %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("New(): %v, want it to say %q", err, tt.want)
			case err != nil:
				mustNotHold(t, err.Error())
			default:
				s.Close()
			}
		})
	}
}
