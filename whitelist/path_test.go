package whitelist_test

import (
	"bufio"
	"errors"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

const dropIn = "/api/index.php?route="

func acceptedTargets() map[string]string {
	return map[string]string{
		"/api/bank/payout":                      "bank/payout",
		"/api/index.php?route=/api/bank/payout": "bank/payout",
		"/api/aeps/be":                          "aeps/be",
		"/api/aeps/aeps_auth":                   "aeps/aeps_auth",
		"/api/index.php?route=/api/x/y2":        "x/y2",
		"/api/api/index":                        "api/index", // an odd name, yet only a name
		"/api/_/0":                              "_/0",
	}
}

func refusedTargets() []string {
	return []string{
		"",
		"*",
		"/",
		"/api",
		"/api/",
		"/api/bank",
		"/api/bank/",
		"/api//payout",
		"/api/bank//payout",
		"//api/bank/payout",
		"/api//bank/payout",
		"/api/bank/payout/",
		"/api/bank/payout/x",
		"api/bank/payout",
		"/bank/payout",
		"/API/bank/payout",
		"/api/Bank/payout",
		"/api/bank/Payout",
		"/api/bank/pay-out",
		"/api/bank/payout.php",
		"/api/bank/*",
		"/api/*/*",
		"/api/b\u00e4nk/payout",
		"/api/bank/\u212aey",

		// escapes, whether or not they change anything once decoded
		"/api/bank%2fpayout",
		"/api/bank%2Fpayout",
		"/api/bank/payou%74",
		"/api/bank/payout%00",
		"/api/bank/payout%0a",
		"/api/bank/%2e%2e/payout",
		"/%61pi/bank/payout",
		"/api/bank/payout+",

		// what a server might clean
		"/api/bank/../bank/payout",
		"/api/./bank/payout",
		"/api/bank/./payout",
		"/api/../api/bank/payout",
		"/api/bank/..",
		"/api/../payout",
		`/api/bank\payout`,
		`/api\bank\payout`,
		"/api/bank;x=1/payout",
		"/api/bank/payout;x=1",
		"/api/bank/payout\x00",
		"/api/bank/payout\n",
		"/api/bank/payout ",
		" /api/bank/payout",
		"/api/bank/payout\t",

		// queries
		"/api/bank/payout?",
		"/api/bank/payout?x=1",
		"/api/bank/payout?route=/api/bank/payout",
		"/api/bank/payout?route=/api/common/balance",
		"/api/index.php",
		"/api/index.php/",
		"/api/index.php/bank/payout",
		"/api/index.php?",
		"/api/index.php?route",
		"/api/index.php?route=",
		"/api/index.php?route=/api/",
		"/api/index.php?route=/api/bank",
		"/api/index.php?route=/api/bank/",
		"/api/index.php?route=/api/bank/payout/",
		"/api/index.php?route=bank/payout",
		"/api/index.php?route=/bank/payout",
		"/api/index.php?route=api/bank/payout",
		"/api/index.php?route=//api/bank/payout",
		"/api/index.php?route=%2Fapi%2Fbank%2Fpayout",
		"/api/index.php?route=/api/bank%2fpayout",
		"/api/index.php?route=/api/bank/payout&route=/api/common/balance",
		"/api/index.php?route=/api/bank/payout;route=/api/common/balance",
		"/api/index.php?route=/api/bank/payout&x=1",
		"/api/index.php?route=/api/bank/payout&",
		"/api/index.php?route=/api/bank/payout?",
		"/api/index.php?x=1&route=/api/bank/payout",
		"/api/index.php?&route=/api/bank/payout",
		"/api/index.php?route[]=/api/bank/payout",
		"/api/index.php?ROUTE=/api/bank/payout",
		"/api/index.php?rout%65=/api/bank/payout",
		"/api/index.php?method=GET&route=/api/bank/payout",
		"/api/INDEX.php?route=/api/bank/payout",
		"/api/index.php/?route=/api/bank/payout",
		"/api//index.php?route=/api/bank/payout",
		"/index.php?route=/api/bank/payout",
		"/api/index.php?route=/api/index.php?route=/api/bank/payout",
		"/api/index.php?route=/api/Bank/payout",
		"/api/index.php?route=/api/bank/../bank/payout",

		// other forms of a target
		"http://nowpay.in/api/bank/payout",
		"https://gateway.internal/api/index.php?route=/api/bank/payout",
		"//gateway.internal/api/bank/payout",
		"nowpay.in:443",
		"/api/bank/payout#",
		"/api/bank/payout#x",
		"/api/index.php?route=/api/bank/payout#x",
	}
}

func TestParseTarget(t *testing.T) {
	for target, want := range acceptedTargets() {
		if got, err := whitelist.ParseTarget(target); got != want || err != nil {
			t.Errorf("ParseTarget(%q) = %q, %v, want %q", target, got, err, want)
		}
	}
	for _, target := range refusedTargets() {
		if got, err := whitelist.ParseTarget(target); got != "" || !errors.Is(err, whitelist.ErrTarget) {
			t.Errorf("ParseTarget(%q) = %q, %v, want ErrTarget", target, got, err)
		}
	}
}

// FuzzParseTarget holds ParseTarget against a second definition of the two
// spellings, and against what net/url and a cleaning server make of whatever
// is accepted: all must read the same operation.
func FuzzParseTarget(f *testing.F) {
	for target := range acceptedTargets() {
		f.Add(target)
	}
	for _, target := range refusedTargets() {
		f.Add(target)
	}
	spelling := regexp.MustCompile(`\A/api/(?:index\.php\?route=/api/)?([a-z0-9_]+/[a-z0-9_]+)\z`)
	f.Fuzz(func(t *testing.T, target string) {
		operation, err := whitelist.ParseTarget(target)
		if match := spelling.FindStringSubmatch(target); (err == nil) != (match != nil) {
			t.Fatalf("ParseTarget(%q) = %q, %v; by the definition: %q", target, operation, err, match)
		}
		if err != nil {
			if operation != "" || !errors.Is(err, whitelist.ErrTarget) {
				t.Fatalf("ParseTarget(%q) = %q, %v, want ErrTarget and nothing else", target, operation, err)
			}
			return
		}
		if target != "/api/"+operation && target != dropIn+"/api/"+operation {
			t.Fatalf("ParseTarget(%q) = %q, which renders to neither spelling of it", target, operation)
		}
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatalf("ParseTarget(%q) accepts what net/url does not: %v", target, err)
		}
		route := u.Path
		if u.RawQuery != "" {
			route = u.Query().Get("route")
		}
		if route != "/api/"+operation || path.Clean(route) != route || path.Clean(u.Path) != u.Path {
			t.Fatalf("ParseTarget(%q) = %q, but net/url reads route %q", target, operation, route)
		}
	})
}

// What net/http hands over as RequestURI is what was on the wire.
func TestParseTargetOfRequest(t *testing.T) {
	for line, want := range map[string]string{
		"POST /api/bank/payout HTTP/1.1":                  "bank/payout",
		"POST /api/bank%2Fpayout HTTP/1.1":                "",
		"POST /api//bank/payout HTTP/1.1":                 "",
		"POST http://nowpay.in/api/bank/payout HTTP/1.1":  "",
		"POST /api/index.php?route=/api/x/y HTTP/1.1":     "x/y",
		"POST /api/index.php?route=/api/x/y&a=b HTTP/1.1": "",
	} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line + "\r\nHost: gateway.internal\r\n\r\n")))
		if err != nil {
			t.Fatalf("reading %q: %v", line, err)
		}
		if got, _ := whitelist.ParseTarget(r.RequestURI); got != want {
			t.Errorf("ParseTarget of %q = %q, want %q", strings.TrimSpace(line), got, want)
		}
	}
}
