package caddymodule

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestModes goes through what an account says of itself, where the upstream is, and
// what is live.
func TestModes(t *testing.T) {
	t.Setenv("NOWPAY_TEST_MODE", "live")
	t.Setenv("NOWPAY_TEST_HOST", "pay.example")
	for _, tt := range []struct {
		mode, upstream, hosts string // the hosts as JSON; "": the default
		want                  string // the mode, or the beginning of an error after "account "main": "
	}{
		{"", "https://nowpay.in", "", "live"},
		{"live", "https://nowpay.in", "", "live"},
		{"test", "https://nowpay.in", "", "it is a test account"},
		{"", "https://NOWPAY.IN:443", "", "live"},
		{"", "https://nowpay.in:8443", "", "test"},
		{"live", "https://nowpay.in:8443", "", "it is live, but"},
		{"", "https://nowpay.in.example", "", "test"},
		{"", "https://nowpay.in:8443", `"nowpay.in:8443"`, "live"},
		{"", "https://nowpay.in", `"nowpay.in:443"`, "live"},
		{"", "https://nowpay.in", `"pay.example"`, "test"},
		{"live", "https://nowpay.in", `"pay.example"`, "it is live, but"},
		{"test", "https://nowpay.in", `"pay.example", "NowPay.in"`, "it is a test account"},
		{"", "http://127.0.0.9:8490", "", "test"},
		{"test", "http://127.0.0.9:8490", "", "test"},
		{"live", "http://127.0.0.9:8490", "", "it is live, but"},
		{"", "https://[2001:db8::1]:8443", `"[2001:DB8::1]:8443"`, "live"},
		{"", "https://[2001:db8::1]", `"[2001:db8::1]"`, "live"},
		{"{env.NOWPAY_TEST_MODE}", "https://pay.example", `"{env.NOWPAY_TEST_HOST}"`, "live"},
		{"{env.NOWPAY_TEST_MODE}", "https://nowpay.in", `"{env.NOWPAY_TEST_HOST}"`, "it is live, but"},
		{"{env.NOWPAY_TEST_UNSET}", "https://nowpay.in", "", "mode: "},
		{"production", "https://nowpay.in", "", "mode: is `live` or `test`"},
		{"Live", "https://nowpay.in", "", "mode: is `live` or `test`"},
	} {
		config := strings.Replace(testConfig, `"path": "secret.json"}`, fmt.Sprintf(`"path": "secret.json"}, "mode": %q`, tt.mode), 1)
		config = strings.Replace(config, "http://127.0.0.9:8490", tt.upstream, 1)
		config = strings.Replace(config, `{`, `{"live_hosts": [`+tt.hosts+`], `, 1)
		s, err := load(t, config)
		got := fmt.Sprint(err)
		if err == nil {
			got = modeOf(s.accounts["main"].live)
		}
		if got, _ = strings.CutPrefix(got, `account "main": `); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// TestLiveOverHTTP wants the word insecure_http for a live account without https,
// also where the key would stay on the machine.
func TestLiveOverHTTP(t *testing.T) {
	live := strings.Replace(testConfig, `{`, `{"live_hosts": ["127.0.0.9:8490"], `, 1)
	if _, err := load(t, live); err == nil || !strings.Contains(err.Error(), "has no https") {
		t.Errorf("a live account by http: %v", err)
	}
	s, err := load(t, strings.Replace(live, `8490"}`, `8490", "insecure_http": true}`, 1))
	if err != nil || !s.accounts["main"].live {
		t.Errorf("with insecure_http: %v", err)
	}
}

// FuzzLiveHost takes no host that could not be an upstream's, or that does not
// match itself as one.
func FuzzLiveHost(f *testing.F) {
	for _, s := range []string{"nowpay.in", "NowPay.in:443", "[::1]:8443", "[::1]", "a@b", "a/b", "*.a", "a.", ":443", "a:", "a:b", "a b", "a%41", "https://a", "[::1%25eth0]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := parseLiveHost(s)
		if err != nil {
			return
		}
		u, err := url.Parse("https://" + host)
		if err != nil || hostOf(u) != host || u.Path != "" || u.User != nil {
			t.Errorf("%q is live as %q, which is no host: %v", s, host, err)
		}
		again, err := parseLiveHost(host)
		if err != nil || again != host {
			t.Errorf("%q becomes %q, and that %q (%v)", s, host, again, err)
		}
	})
}

// TestLiveAccounts tells those of a configuration as a command reads it.
func TestLiveAccounts(t *testing.T) {
	whole := func(upstream string) []byte {
		return []byte(`{"apps": {"nowpay": ` + strings.Replace(testConfig, "http://127.0.0.9:8490", upstream, 1) + `}}`)
	}
	for upstream, want := range map[string][]string{"https://nowpay.in": {"main"}, "http://127.0.0.9:8490": nil} {
		if got, err := LiveAccounts(whole(upstream)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", upstream, got, err, want)
		}
	}
	if _, err := LiveAccounts([]byte(`{}`)); err == nil {
		t.Error("a configuration without a gateway has none, and no error")
	}
}
