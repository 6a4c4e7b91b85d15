package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// shownCredential is what the tests look at.
type shownCredential struct {
	Account    string    `json:"account"`
	Source     string    `json:"source"`
	Where      string    `json:"where"`
	Available  bool      `json:"available"`
	Version    int64     `json:"version"`
	Since      time.Time `json:"since"`
	Confirmed  time.Time `json:"confirmed"`
	AgeSeconds float64   `json:"age_seconds"`
	Previous   int64     `json:"previous"`
	KeptUntil  time.Time `json:"kept_until"`
	Error      string    `json:"error"`
}

// keeper is an operator of a gateway with an account of Vault's, main, and one of a
// file's, spare.
type keeper struct {
	*operator
	vault   *vaulted
	options gatewaytest.Options
	said    strings.Builder // all that the commands have printed
}

// rarely is a configuration that reads the secret of itself only at the start.
const rarely = "refresh 1h\nstale_for 3h"

// withOverlap are the options of the gateway with another overlap; "": none is
// configured.
func (k *keeper) withOverlap(overlap string) gatewaytest.Options {
	options := k.options
	if overlap != "" {
		options.Secret += "\noverlap " + overlap
	}
	return options
}

// credential runs a command, which must end with a code and say all of that.
func (k *keeper) credential(code int, args string, says ...string) string {
	k.t.Helper()
	r := k.nowpay(append([]string{"credential"}, strings.Fields(args)...)...)
	r.mustSay(k.t, code, says...)
	k.said.WriteString(r.stdout + r.stderr)
	return r.stdout
}

// mainAccount is how the account stands.
func (k *keeper) mainAccount() shownCredential {
	k.t.Helper()
	var all []shownCredential
	if err := json.Unmarshal([]byte(k.credential(0, "status --format json")), &all); err != nil || len(all) != 2 || all[0].Account != "main" || all[1].Account != "spare" {
		k.t.Fatalf("status: %+v, %v", all, err)
	}
	return all[0]
}

func TestCredentialCommands(t *testing.T) {
	v := startVault(t)
	v.secrets = append(v.secrets, account(9).Key)
	k := &keeper{vault: v, options: gatewaytest.Options{
		Secret: v.secret(v.tokenAuth(), rarely),
		Nowpay: fmt.Sprintf("account spare {\nsecret file %s\n}", write(t, "spare.json", `{"username":"3000","key":"`+account(9).Key+`"}`)),
		Simulator: func(c *simulator.Config) {
			c.Username, c.Key = account(1).Username, account(1).Key
		},
	}}
	g := gatewaytest.Start(t, k.withOverlap("10m"))
	k.operator = &operator{Gateway: g, t: t, config: write(t, "Caddyfile", g.Caddyfile)}

	where := "secret/nowpay/main at " + k.vault.Address
	table := strings.Split(k.credential(0, "status", "asking the gateway at"), "\n")
	if len(table) != 4 || !strings.HasPrefix(table[0], "ACCOUNT  SOURCE  WHERE") || !strings.HasPrefix(table[1], "main     vault   "+where) ||
		!strings.HasPrefix(table[2], "spare    file    /") || !strings.Contains(table[1], "  yes     1 ") || !strings.HasSuffix(strings.TrimSpace(table[1]), " ago") {
		t.Errorf("table:\n%s", strings.Join(table, "\n"))
	}
	began := k.mainAccount()
	if time.Since(began.Since) > time.Minute || began.AgeSeconds <= 0 || began.Source != "vault" || began.Where != where ||
		!began.Available || began.Version != 1 || began.Previous != 0 || began.Error != "" {
		t.Errorf("status: %+v", began)
	}

	k.Simulator.SetCredentials(account(1), account(2))
	k.vault.put(2)
	k.vault.pays(k.Gateway, 1)
	k.credential(0, "refresh main", "main: version 2, before it was 1\n")
	k.vault.pays(k.Gateway, 2)
	k.credential(0, "refresh", "main: version 2, as before\nspare: version 1, as before\n")
	now := k.mainAccount()
	if !now.Available || now.Version != 2 || !now.Since.After(began.Since) || !now.Confirmed.After(now.Since) || now.Previous != 1 ||
		now.KeptUntil.Sub(now.Since) != 10*time.Minute {
		t.Errorf("status after the rotation: %+v", now)
	}
	k.credential(0, "status", "1 until 20")
	if kept := k.Metric(`nowpay_credential_previous_kept{account="main"}`); kept != 1 {
		t.Errorf("nowpay_credential_previous_kept is %v", kept)
	}

	k.credential(1, "refresh main other", `the configuration has no account "other"`)
	k.credential(1, "status surplus", "unknown command")
	k.credential(1, "status --format text", "--format: must be table or json")

	k.vault.Seal()
	k.credential(1, "refresh --format json", `"account": "spare"`, `"error": "reading`, "credentials that could not be read: 1 of 2")
	k.credential(1, "refresh main", "main: FAILED, version 2, as before: ")
	if sealed := k.mainAccount(); !sealed.Available || sealed.Version != 2 || !strings.Contains(sealed.Error, "sealed") {
		t.Errorf("status of a sealed Vault: %+v", sealed)
	}
	k.vault.pays(k.Gateway, 2)
	k.vault.Unseal()

	testReloadDecides(k)
	testCredentialAPI(k)

	k.again(3)
	k.credential(0, "refresh main", "main: version 1, before it was 2\n")
	k.again(4)
	k.credential(0, "refresh main", "main: version 1, changed\n")
	k.again(4)
	k.credential(0, "refresh main", "main: version 1, as before\n")

	k.vault.DeleteKV2("secret", "nowpay/main")
	k.credential(1, "refresh main", "main: FAILED, version none, before it was 1: reading secret/nowpay/main")
	k.credential(0, "status", "  no      none ")
	if logged(k.Gateway, `"msg":"an operator had a credential read"`) != 8 {
		t.Errorf("the log does not tell of what operators did")
	}
	k.vault.mustNotLeak("output of the commands", []byte(k.said.String()))
	k.vault.mustNotLeak("log", k.Log())
}

// again writes the secret as if it had never been there before.
func (k *keeper) again(number int) {
	k.t.Helper()
	c := account(number)
	k.vault.secrets = append(k.vault.secrets, c.Key)
	k.vault.ForgetKV2("secret", "nowpay/main")
	k.vault.PutKV2("secret", "nowpay/main", fieldsOf(c))
}

// testReloadDecides: the overlap of the newest configuration counts, at once.
func testReloadDecides(k *keeper) {
	for _, step := range []struct {
		overlap  string
		previous int64
	}{{"1h", 1}, {"2h", 1}, {"", 0}, {"1h", 0}} {
		if err := k.Load(k.withOverlap(step.overlap)); err != nil {
			k.t.Fatal(err)
		}
		if got := k.Metric(`nowpay_credential_previous_kept{account="main"}`); got != float64(step.previous) {
			k.t.Errorf("nowpay_credential_previous_kept is %v with overlap %q, want %d", got, step.overlap, step.previous)
		}
	}
}

// testCredentialAPI: what the commands never send.
func testCredentialAPI(k *keeper) {
	ours := http.Header{"Nowpay-Admin": {"1"}}
	for _, tt := range []struct {
		method, target string
		header         http.Header
		body           string
		status         int
		says           string
	}{
		{"GET", "/nowpay/credentials", nil, "", 200, `[{"account":"main","source":"vault",`},
		{"GET", "/nowpay/credentials?account=main", nil, "", 400, "takes no query"},
		{"POST", "/nowpay/credentials", ours, "", 405, "another method"},
		{"GET", "/nowpay/credentials/refresh", ours, "", 405, "another method"},
		{"POST", "/nowpay/credentials/refresh", nil, "", 403, "Nowpay-Admin: 1"},
		{"POST", "/nowpay/credentials/refresh?account=main", ours, "", 400, "takes no query"},
		{"POST", "/nowpay/credentials/refresh", ours, `{"account":"main"}`, 400, "reading the body"},
		{"POST", "/nowpay/credentials/refresh", ours, `{"accounts":["other"]}`, 404, `has no account \"other\"`},
		{"POST", "/nowpay/credentials/refresh", ours, `{"accounts":["main","main"]}`, 200, `[{"account":"main","before":2,"after":2,"changed":false,"available":true}]`},
	} {
		response := k.call(tt.method, tt.target, tt.header, tt.body) //nolint:bodyclose // it closes it at the end
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != tt.status || !strings.Contains(string(body), tt.says) {
			k.t.Errorf("%s %s %v %s: %d %s, %v; want %d %s", tt.method, tt.target, tt.header, tt.body, response.StatusCode, body, err, tt.status, tt.says)
		}
	}
}

// TestCredentialCommandsWithoutAGateway: there is nothing that they could tell.
func TestCredentialCommandsWithoutAGateway(t *testing.T) {
	config := write(t, "Caddyfile", strings.Replace(explained, "{\n", "{\nadmin "+freeAddress(t)+"\n", 1))
	for _, args := range [][]string{{"status"}, {"refresh"}, {"refresh", "main"}} {
		args = append([]string{"credential"}, args...)
		runNowpay(t, append(args, "--config", config)...).mustSay(t, 1, "no running gateway is reached", "connection refused")
		runNowpay(t, append(args, "--address", freeAddress(t))...).mustSay(t, 1, "no running gateway is reached")
		off := write(t, "Caddyfile", strings.Replace(explained, "{\n", "{\nadmin off\n", 1))
		runNowpay(t, append(args, "--config", off)...).mustSay(t, 1, "no running gateway is reached: the configuration has no admin endpoint")
	}
}
