package caddymodule_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// mustSay checks a command's exit code, and that it prints all of the words.
func (r result) mustSay(t *testing.T, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, word := range words {
		if !strings.Contains(r.stdout+r.stderr, word) {
			t.Errorf("it does not say %q", word)
		}
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", r.stdout, r.stderr)
	}
}

func TestCommandNames(t *testing.T) {
	runNowpay(t).mustSay(t, 0, "callbacks", "check", "credential", "demo", "explain", "health", "notifications", "simulate", "token", "transactions")
	runNowpay(t, "tokens").mustSay(t, 1, `unknown command "tokens"`)
	for _, name := range []string{"callbacks", "check", "credential", "demo", "explain", "health", "notifications", "simulate", "token", "transactions"} {
		runNowpay(t, name, "--help").mustSay(t, 0, "Usage:\n  caddy nowpay "+name)
		runNowpay(t, name, "surplus").mustSay(t, 1, `unknown command "surplus"`)
	}
}

func TestCommandToken(t *testing.T) {
	line := regexp.MustCompile(`^for the merchant app:  Authorization: Bearer (npg_[A-Za-z0-9_-]{43})\nfor the Caddyfile:     token (sha256:[0-9a-f]{64})\n$`)
	var tokens []string
	for range 2 {
		r := runNowpay(t, "token")
		r.mustSay(t, 0)
		found := line.FindStringSubmatch(r.stdout)
		if found == nil {
			t.Fatalf("printed %q", r.stdout)
		}
		sum := sha256.Sum256([]byte(found[1]))
		if want := "sha256:" + hex.EncodeToString(sum[:]); found[2] != want {
			t.Errorf("hash of %s is %s, want %s", found[1], found[2], want)
		}
		tokens = append(tokens, found[1])
	}
	if tokens[0] == tokens[1] {
		t.Errorf("two runs made the same token %s", tokens[0])
	}
}

// explained is a configuration of which nothing but the rules can work: no
// secret, no egress address, no provider.
var explained = fmt.Sprintf(`{
	nowpay {
		account main {
			secret file /nonexistent/secret.json
		}
		upstream http://127.0.0.1:1 {
			local_address %s
		}
		merchant shop {
			account main
			token %s
			from 127.0.0.1
			allow bank/* aeps/be
			deny bank/register
			max_amount 5000
		}
		merchant office {
			account main
			user alice
			from 127.0.0.1
			allow common/balance
		}
	}
}

http://127.0.0.1:1 {
	nowpay_gateway
}
`, absentIP, gatewaytest.TokenHash(gatewaytest.ShopToken))

func TestCommandExplain(t *testing.T) {
	config := write(t, "Caddyfile", explained)
	const payoutTarget = "/api/bank/payout"
	for _, tt := range []struct {
		name        string
		args        []string // default: merchant shop from 127.0.0.1 with a payout
		body, stdin string
		code        int
		says        []string
	}{
		{name: "allowed so far", says: []string{"merchant    shop", "operation   bank/payout", "allow bank/*", "ALLOWED, as far as can be said without the body"}},
		{name: "allowed", body: gatewaytest.Payout("1001", "1.50"), says: []string{"request ID  1001", "ALLOWED, it would be sent"}},
		{name: "the long way", args: []string{"--merchant", "shop", "--from", "127.0.0.1", "--target", "/api/index.php?route=/api/bank/payout"}, says: []string{"operation   bank/payout", "ALLOWED"}},
		{name: "form", args: []string{"--merchant", "shop", "--from", "127.0.0.1", "--target", "/api/aeps/be"}, body: "panno=ABCDE1234F", says: []string{"ALLOWED, it would be sent"}},
		{name: "JSON for a form", args: []string{"--merchant", "shop", "--from", "127.0.0.1", "--target", "/api/aeps/be"}, body: "{}", says: []string{"REFUSED with malformed-body"}},

		{name: "nobody", args: []string{"--from", "127.0.0.1", "--target", payoutTarget}, says: []string{"no credential presented", "REFUSED with unauthenticated"}},
		{name: "unknown token", args: []string{"--token-stdin", "--from", "127.0.0.1", "--target", payoutTarget}, stdin: "npg_wrong", says: []string{"no merchant has this token", "REFUSED with unauthenticated"}},
		{name: "unknown user", args: []string{"--user", "mallory", "--from", "127.0.0.1", "--target", payoutTarget}, says: []string{"no merchant has this user", "REFUSED with unauthenticated"}},
		{name: "token", args: []string{"--token-stdin", "--from", "127.0.0.1", "--target", payoutTarget}, stdin: gatewaytest.ShopToken + "\n", says: []string{"merchant    shop", "ALLOWED"}},
		{name: "user", args: []string{"--user", "alice", "--from", "127.0.0.1", "--target", "/api/common/balance"}, body: "{}", says: []string{"merchant    office", "ALLOWED, it would be sent"}},
		{name: "user and token of two merchants", args: []string{"--user", "alice", "--merchant", "shop", "--from", "127.0.0.1", "--target", payoutTarget}, says: []string{"REFUSED with unauthenticated"}},

		{name: "from elsewhere", args: []string{"--merchant", "shop", "--from", "10.0.0.1", "--target", payoutTarget}, says: []string{"merchant shop: not in from", "REFUSED with source-not-allowed"}},
		{name: "denied", args: []string{"--merchant", "shop", "--from", "127.0.0.1", "--target", "/api/bank/register"}, says: []string{"deny bank/register", "REFUSED with operation-not-allowed"}},
		{name: "not allowed", args: []string{"--merchant", "shop", "--from", "127.0.0.1", "--target", "/api/common/balance"}, says: []string{"default deny", "REFUSED with operation-not-allowed"}},
		{name: "no such operation", args: []string{"--merchant", "shop", "--from", "127.0.0.1", "--target", "/api/bank/rob"}, says: []string{"REFUSED with unknown-operation"}},
		{name: "disguised", args: []string{"--merchant", "shop", "--from", "127.0.0.1", "--target", "/api//bank/payout"}, says: []string{"REFUSED with unknown-operation"}},
		{name: "elsewhere", args: []string{"--merchant", "shop", "--from", "127.0.0.1", "--target", "/"}, says: []string{"REFUSED with not-found"}},
		{name: "method", args: []string{"--merchant", "shop", "--from", "127.0.0.1", "--target", payoutTarget, "--method", "GET"}, says: []string{"REFUSED with method-not-allowed"}},
		{name: "malformed", body: `{"amount":"1","amount":"2"}`, says: []string{"REFUSED with malformed-body"}},
		{name: "credential", body: `{"KEY":"x"}`, says: []string{"REFUSED with credential-in-request"}},
		{name: "field missing", body: `{}`, says: []string{"REFUSED with invalid-field", `field "accountnumber"`}},
		{name: "too much", body: gatewaytest.Payout("1001", "5000.01"), says: []string{"max_amount 5000", "REFUSED with amount-not-allowed"}},
		{name: "too large", body: `{"a":"` + strings.Repeat("x", 65<<10) + `"}`, says: []string{"REFUSED with body-too-large"}},

		{name: "no such merchant", args: []string{"--merchant", "shoq", "--from", "127.0.0.1", "--target", payoutTarget}, code: 1, says: []string{"no merchant of that name"}},
		{name: "no address", args: []string{"--merchant", "shop", "--from", "here", "--target", payoutTarget}, code: 1, says: []string{"reading --from"}},
		{name: "no such body", args: []string{"--merchant", "shop", "--from", "127.0.0.1", "--target", payoutTarget, "--body", "none.json"}, code: 1, says: []string{"reading the body"}},
		{name: "without flags", args: []string{}, code: 1, says: []string{`required flag(s) "from", "target"`}},
		{name: "what no rule decides", args: []string{"--merchant", "shop", "--from", "127.0.0.1", "--target", "/operations"}, code: 1, says: []string{"for every merchant"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.args == nil {
				tt.args = []string{"--merchant", "shop", "--from", "127.0.0.1", "--target", payoutTarget}
			}
			args := append([]string{"nowpay", "explain", "--config", config}, tt.args...)
			if tt.body != "" {
				args = append(args, "--body", write(t, "body", tt.body))
			}
			r := command{args: args, stdin: tt.stdin}.run(t)
			r.mustSay(t, tt.code, tt.says...)
			if decided := strings.Count(r.stdout, "decision "); decided != 1-tt.code {
				t.Errorf("%d decisions", decided)
			}
		})
	}
}

func TestCommandsWithoutConfiguration(t *testing.T) {
	for _, args := range [][]string{
		{"check"},
		{"explain", "--from", "127.0.0.1", "--target", "/api/bank/payout"},
	} {
		runNowpay(t, args...).mustSay(t, 1, "there is no Caddyfile in this folder")
		runNowpay(t, append(args, "--config", "none")...).mustSay(t, 1, "open none")
		runNowpay(t, append(args, "--config", write(t, "Caddyfile", "http://127.0.0.1:1\n"))...).mustSay(t, 1, "no nowpay block")
		runNowpay(t, append(args, "--config", write(t, "Caddyfile", strings.Replace(explained, "max_amount 5000", "max_amount 5e3", 1)))...).mustSay(t, 1, "max_amount")
	}
}

func TestCommandHealth(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	url := g.URL + "/health/ready"
	runNowpay(t, "health", "--url", url).mustSay(t, 0, `{"status":"ok"}`)
	if err := g.Load(gatewaytest.Options{LocalAddress: absentIP}); err != nil {
		t.Fatal(err)
	}
	runNowpay(t, "health", "--url", url).mustSay(t, 1, "egress-unavailable", "not ready: HTTP 503")
	g.StopProvider()
	runNowpay(t, "health", "--url", "http://"+g.ProviderAddress).mustSay(t, 1, "asking the gateway")
}

func TestListModules(t *testing.T) {
	r := command{args: []string{"list-modules"}}.run(t)
	r.mustSay(t, 0)
	modules := strings.Fields(r.stdout)
	for _, want := range []string{
		"nowpay", "http.handlers.nowpay_gateway",
		"nowpay.secrets.vault", "nowpay.secrets.openbao", "nowpay.secrets.vault_agent", "nowpay.secrets.file",
		"nowpay.secrets.env", "nowpay.secrets.systemd", "nowpay.signers.credentials", "admin.api.nowpay",
	} {
		if !slices.Contains(modules, want) {
			t.Errorf("there is no module %s", want)
		}
	}
}

// TestSimulateRefuses: what it cannot do it says, and makes nothing.
func TestSimulateRefuses(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	runNowpay(t, "simulate", "--listen", g.ProviderAddress, "--control", "").mustSay(t, 1, "opening the simulator's address", "address already in use")
	runNowpay(t, "simulate", "--allow", "everybody").mustSay(t, 1, "reading --allow")
	runNowpay(t, "simulate", "--secret-file", write(t, "secret.json", `{"username":"2000"}`)).mustSay(t, 1, `{"username":"…","key":"…"}`)
}

// TestSimulateKeepsTheAccount: the gateway is given the same file.
func TestSimulateKeepsTheAccount(t *testing.T) {
	dir := t.TempDir()
	file := dir + "/secret.json"
	var contents []string
	for range 2 {
		port := freeAddress(t)
		s := command{args: []string{"nowpay", "simulate", "--listen", port, "--control", "", "--secret-file", file}}.start(t)
		s.prints("simulated Nowpay")
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, string(content))
		response, err := http.Get("http://" + port)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if code := s.signal(os.Interrupt); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("secret file: %v %v", info.Mode(), err)
	}
	if contents[0] != contents[1] {
		t.Error("the second run made another account")
	}
}
