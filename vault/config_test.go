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
