package caddymodule_test

import (
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // to change what must not be changed
	_ "modernc.org/sqlite"             // the same

	"github.com/nowpay-gateway/nowpay-gateway/internal/binarytest"
	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// walletStatus lets wallet transfers be asked about, and payouts not.
const walletStatus = `
	operation bank/payout_status {
		moves_money off
		optional yourrequestid alphanumeric 50
	}
	operation bank/wallet_transfer {
		status bank/payout_status {
			send yourrequestid request_id
			rows data
			match yourrequestid request_id
			match amount amount
			state status
			success 1
			failed 0
			pending 2
			provider_id ourrequestid
			reference rrn
		}
	}
`

// operator runs `caddy nowpay transactions`, and others, beside a gateway.
type operator struct {
	*gatewaytest.Gateway
	t      *testing.T
	config string // the Caddyfile
	way    string // what the commands say of how they work
}

func (o *operator) run(args ...string) result {
	o.t.Helper()
	return o.nowpay(append([]string{"transactions"}, args...)...)
}

// nowpay is run for the other commands.
func (o *operator) nowpay(args ...string) result {
	o.t.Helper()
	if !slices.Contains(args, "--config") && !slices.Contains(args, "--address") {
		args = append(args, "--config", o.config)
	}
	return command{args: append([]string{"nowpay"}, args...), env: []string{"USER=deepa", "TZ=UTC"}}.run(o.t)
}

// must is run for what succeeds, in the way that it should.
func (o *operator) must(args ...string) string {
	o.t.Helper()
	r := o.run(args...)
	r.mustSay(o.t, 0, o.way)
	return r.stdout
}

// decode is must for a command that prints JSON.
func (o *operator) decode(into any, args ...string) {
	o.t.Helper()
	o.decodeNowpay(into, append([]string{"transactions"}, args...)...)
}

// decodeNowpay is decode for the other commands.
func (o *operator) decodeNowpay(into any, args ...string) {
	o.t.Helper()
	r := o.nowpay(append(args, "--format", "json")...)
	r.mustSay(o.t, 0, o.way)
	if err := json.Unmarshal([]byte(r.stdout), into); err != nil {
		o.t.Fatalf("%v: %v in %s", args, err, r.stdout)
	}
}

// shownTransaction is what the tests look at.
type shownTransaction struct {
	Transaction string `json:"transaction"`
	RequestID   string `json:"request_id"`
	Account     string `json:"account"`
	State       string `json:"state"`
	Amount      string `json:"amount"`
	ProviderID  string `json:"provider_id"`
	Events      []struct {
		Event, Cause, Actor, Reason string
	} `json:"events"`
	Content map[string]any `json:"content"`
}

// find is the transaction with a request ID.
func (o *operator) find(requestID string) shownTransaction {
	o.t.Helper()
	var found shownTransaction
	o.decode(&found, "show", requestID)
	return found
}

// wallet is a wallet transfer as a merchant sends it.
func wallet(requestID, amount string) call {
	return call{Path: "/api/bank/wallet_transfer", Body: fmt.Sprintf(
		`{"beneficiaryPhoneNo":"9876543210","amount":%q,"yourrequestid":%q,"transferMode":"AMAZON"}`, amount, requestID)}
}

// withTransactions runs a gateway that has carried out a few: 1001 is a success,
// 1002 and w1 are pending.
func withTransactions(t *testing.T, o gatewaytest.Options) *gatewaytest.Gateway {
	t.Helper()
	o.Nowpay += walletStatus
	g := gatewaytest.Start(t, o)
	pending := wallet("w1", "3.00")
	pending.Body = faulty(pending.Body, simulator.Pending)
	for _, c := range []call{
		{Body: gatewaytest.Payout("1001", "1.50")},
		{Body: faulty(gatewaytest.Payout("1002", "2.50"), simulator.Pending)},
		pending,
	} {
		want := "pending"
		if c.Body == gatewaytest.Payout("1001", "1.50") {
			want = "success"
		}
		if answer := g.Must(c); answer.Outcome() != want {
			t.Fatalf("%s: %d %s %s", c.Body, answer.StatusCode, answer.Outcome(), answer.Body)
		}
	}
	return g
}

// TestTransactionsCommands: they do the same in each of the ways.
func TestTransactionsCommands(t *testing.T) {
	for name, start := range map[string]func(*testing.T, *gatewaytest.Gateway) (way string){
		"admin over TCP": func(_ *testing.T, g *gatewaytest.Gateway) string {
			return "asking the gateway at " + strings.TrimPrefix(g.AdminURL, "http://")
		},
		"admin over a Unix socket": func(t *testing.T, g *gatewaytest.Gateway) string {
			return "asking the gateway at unix/" + asProcess(t, g).socket
		},
		"stopped": func(t *testing.T, g *gatewaytest.Gateway) string {
			if code := asProcess(t, g).signal(syscall.SIGTERM); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			return "no running gateway is reached"
		},
		"stopped, without an admin endpoint": func(t *testing.T, g *gatewaytest.Gateway) string {
			p := asProcess(t, g)
			if code := p.signal(syscall.SIGTERM); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			g.Caddyfile = strings.Replace(g.Caddyfile, "admin unix/"+p.socket, "admin off", 1)
			return "the configuration has no admin endpoint"
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := withTransactions(t, gatewaytest.Options{})
			way := start(t, g)
			o := &operator{Gateway: g, way: way, config: write(t, "Caddyfile", g.Caddyfile)}
			for _, part := range []struct {
				name string
				run  func(*operator)
			}{
				{"list", testList},
				{"show", testShow},
				{"export", testExport},
				{"revalidate", testRevalidate},
				{"settle", testSettle},
				{"errors", testErrors},
				{"verify", testVerify}, // last: it spoils the journal
			} {
				t.Run(part.name, func(t *testing.T) { o.t = t; part.run(o) })
			}
		})
	}
}

func testList(o *operator) {
	lines := strings.Split(strings.TrimSpace(o.must("list")), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "TIME  ") || !strings.Contains(lines[1], " w1 ") || !strings.Contains(lines[3], " 1001 ") {
		o.t.Fatalf("table:\n%s", strings.Join(lines, "\n"))
	}
	if fields := strings.Fields(lines[3]); !slices.Equal(fields[2:7], []string{"shop", "bank/payout", "1001", "1.50", "success"}) {
		o.t.Errorf("fields %q", fields)
	}
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"", []string{"w1", "1002", "1001"}},
		{"--state pending", []string{"w1", "1002"}},
		{"--state success --state unknown", []string{"1001"}},
		{"--merchant kiosk", nil},
		{"--account main --merchant shop", []string{"w1", "1002", "1001"}},
		{"--operation bank/wallet_transfer", []string{"w1"}},
		{"--request-id 1002", []string{"1002"}},
		{"--since 1h", []string{"w1", "1002", "1001"}},
		{"--until 1h", nil},
		{"--since 2020-01-01 --until 2020-01-02", nil},
		{"--needs-person", nil},
		{"--reversed", nil},
		{"--needs-person=false", []string{"w1", "1002", "1001"}},
		{"--limit 2", []string{"w1", "1002"}},
		{"--limit 0", []string{"w1", "1002", "1001"}},
		{"--provider-id " + o.find("1001").ProviderID, []string{"1001"}},
	} {
		var found []shownTransaction
		o.decode(&found, append([]string{"list"}, strings.Fields(tt.args)...)...)
		var ids []string
		for _, f := range found {
			ids = append(ids, f.RequestID)
		}
		if !slices.Equal(ids, tt.want) {
			o.t.Errorf("list %s: %v, want %v", tt.args, ids, tt.want)
		}
	}
	o.run("list", "--limit", "2").mustSay(o.t, 0, "there may be more than these 2")
}

func testShow(o *operator) {
	byRequest := o.find("1001")
	byID := o.find(byRequest.Transaction)
	if byID.RequestID != "1001" || byID.State != "success" || byID.Amount != "1.50" || len(byID.Events) != 3 {
		o.t.Errorf("by ID: %+v", byID)
	}
	text := o.must("show", "1001")
	for _, want := range []string{"state          success\n", "request ID     1001\n", "created   by exchange\n", "success   by exchange\n", `"provider_status":200`} {
		if !strings.Contains(text, want) {
			o.t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	if byID.Content != nil || strings.Contains(text, "rrn") {
		o.t.Errorf("it shows the answer:\n%s", text)
	}
	o.run("show", "1001", "--answer").mustSay(o.t, 0, "answered       application/json", `"rrn":`)
	var shown shownTransaction
	if o.decode(&shown, "show", "1001", "--answer"); !strings.Contains(fmt.Sprint(shown.Content["answer"]), `"rrn":`) {
		o.t.Errorf("content %v", shown.Content)
	}
}

func testExport(o *operator) {
	rows, err := csv.NewReader(strings.NewReader(o.must("export"))).ReadAll()
	if err != nil || len(rows) != 4 || rows[0][0] != "transaction" || rows[3][7] != "1001" {
		o.t.Errorf("CSV: %v %v", rows, err)
	}
	var ids []string
	for line := range strings.Lines(o.must("export", "--format", "jsonl", "--state", "pending")) {
		var exported shownTransaction
		if err := json.Unmarshal([]byte(line), &exported); err != nil {
			o.t.Errorf("line %q: %v", line, err)
		}
		ids = append(ids, exported.RequestID)
	}
	if !slices.Equal(ids, []string{"w1", "1002"}) {
		o.t.Errorf("lines: %v", ids)
	}
}

func testRevalidate(o *operator) {
	w1 := o.find("w1")
	if err := o.Simulator.SettlePending(w1.ProviderID, simulator.StateSuccess); err != nil {
		o.t.Fatal(err)
	}
	var told struct {
		Says        string           `json:"provider_says"`
		Found       bool             `json:"found"`
		Transaction shownTransaction `json:"transaction"`
	}
	o.decode(&told, "revalidate", w1.Transaction)
	if told.Says != "success" || !told.Found || told.Transaction.State != "success" {
		o.t.Errorf("revalidate: %+v", told)
	}
	again := o.run("revalidate", w1.Transaction)
	if strings.HasPrefix(o.way, "asking") {
		again.mustSay(o.t, 1, "asked often enough for now")
	} else {
		again.mustSay(o.t, 0, "provider says  success\n")
	}
	o.run("revalidate", o.find("1002").Transaction).mustSay(o.t, 1, "there is no status operation")
}

func testSettle(o *operator) {
	id := o.find("1002").Transaction
	settle := func(args ...string) result {
		return o.run(append([]string{"settle", id}, args...)...)
	}
	settle().mustSay(o.t, 1, `required flag(s) "reason", "state" not set`)
	settle("--state", "success", "--reason", " ").mustSay(o.t, 1, "it takes a reason")
	settle("--state", "success", "--reason", "so", "--actor", "").mustSay(o.t, 1, "it takes the name of a person")
	settle("--state", "success", "--reason", "so\nand so").mustSay(o.t, 1, "one line of at most")
	settle("--state", "pending", "--reason", "so").mustSay(o.t, 1, "must be success, failed or refused")
	settle("--state", "failed", "--reason", "so", "--from", "unknown").mustSay(o.t, 1, "it is pending, not unknown")
	settle("--state", "failed", "--reason", "so", "--from", "open").mustSay(o.t, 1, `there is no state "open"`)
	if state := o.find("1002").State; state != "pending" {
		o.t.Fatalf("it became %s", state)
	}

	settle("--state", "failed", "--reason", "not in the statement", "--from", "pending").
		mustSay(o.t, 0, "before         pending\n", "after          failed\n")
	settle("--state", "failed", "--reason", "still not").mustSay(o.t, 1, "it is failed already, and nothing was recorded")
	settle("--state", "success", "--reason", "it came a day later", "--actor", "asha", "--provider-id", "P1", "--reference", "R1").
		mustSay(o.t, 0, "after          success\n")
	var shown shownTransaction
	o.decode(&shown, "show", id, "--answer")
	last := shown.Events[len(shown.Events)-2:]
	if last[0].Event != "failed" || last[0].Cause != "operator" || last[0].Actor != "deepa" || last[0].Reason != "not in the statement" ||
		last[1].Event != "success" || last[1].Actor != "asha" || shown.ProviderID != "P1" || shown.Content["reference"] != "R1" {
		o.t.Errorf("after settling: %+v", shown)
	}
	o.run("show", id).mustSay(o.t, 0, "failed    by operator deepa: not in the statement\n")
}

func testErrors(o *operator) {
	for _, tt := range []struct {
		args string
		says string
	}{
		{"show nothing", "there is no such transaction; a request ID is looked for as it was sent"},
		{"show 1001 --account other", "there is no such transaction"},
		{"show", "it takes exactly one argument: a transaction ID or a request ID"},
		{"show a b", "it takes exactly one argument"},
		{"revalidate 1001", "there is no such transaction"},
		{"settle 1001 --state success --reason so", "there is no such transaction"},
		{"list --stat pending", "unknown flag: --stat"},
		{"list --state Pending", `--state: there is no state "Pending"`},
		{"list --since yesterday", "--since: "},
		{"list --merchant=", "--merchant: has no value"},
		{"list --limit -1", "--limit: must not be negative"},
		{"list --format csv", "--format: must be table or json"},
		{"list surplus", "unknown command"},
		{"export --format json", "--format: must be csv or jsonl"},
		{"verify --known none", "reading --known"},
		{"verify --known /dev/null", "reading --known"},
	} {
		r := o.run(strings.Fields(tt.args)...)
		r.mustSay(o.t, 1, tt.says)
		if r.stdout != "" {
			o.t.Errorf("%s printed %q", tt.args, r.stdout)
		}
	}
}

func testVerify(o *operator) {
	o.run("verify").mustSay(o.t, 0, "nothing was changed or deleted\n3 transactions, ")
	known := write(o.t, "known.json", o.must("verify", "--format", "json"))
	o.must("verify", "--known", known)

	raw, err := os.ReadFile(known)
	if err != nil {
		o.t.Fatal(err)
	}
	var report map[string]any
	if err := json.Unmarshal(raw, &report); err != nil {
		o.t.Fatal(err)
	}
	heads := report["heads"].([]any)
	heads[0].(map[string]any)["mac"] = "00"
	report["heads"] = heads
	changed, err := json.Marshal(report)
	if err != nil {
		o.t.Fatal(err)
	}
	o.run("verify", "--known", write(o.t, "known.json", string(changed))).
		mustSay(o.t, 1, "PROBLEM  chain 1: event ", "is not the one that was known")

	o.exec("UPDATE transactions SET provider_id = provider_id || '1' WHERE request_id = '1001'")
	o.run("verify").mustSay(o.t, 1, "its row was changed", "the journal is not as it was written: 1 problems")
	r := o.run("verify", "--format", "json")
	r.mustSay(o.t, 1)
	var found struct {
		Transactions int      `json:"transactions"`
		Problems     []string `json:"problems"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &found); err != nil || found.Transactions != 3 || len(found.Problems) != 1 {
		o.t.Errorf("report %s: %v", r.stdout, err)
	}
}

// exec changes the journal's file as somebody could who may write it.
func (o *operator) exec(statement string) {
	o.t.Helper()
	db, err := sql.Open("sqlite", o.JournalFile)
	if err != nil {
		o.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		o.t.Fatalf("%s: %v", statement, err)
	}
}

// TestTransactionsOfSeveralAccounts: a request ID is unique for an account alone.
func TestTransactionsOfSeveralAccounts(t *testing.T) {
	secret := write(t, "secret.json", fmt.Sprintf(`{"username":%q,"key":%q}`, gatewaytest.Username, gatewaytest.Key))
	g := withTransactions(t, gatewaytest.Options{Nowpay: fmt.Sprintf(`
		account other {
			secret file %s
		}
		merchant office {
			account other
			token %s
			from 127.0.0.1
			allow bank/payout
		}
	`, secret, gatewaytest.TokenHash("npg_test_office"))})
	if answer := g.Must(call{Token: "npg_test_office", Body: gatewaytest.Payout("1001", "9.00")}); answer.Outcome() != "success" {
		t.Fatalf("%d %s", answer.StatusCode, answer.Body)
	}
	o := &operator{Gateway: g, t: t, config: write(t, "Caddyfile", g.Caddyfile), way: "asking the gateway"}
	o.run("show", "1001").mustSay(t, 1, "one of each of these accounts: other, main; name the account")
	var shown shownTransaction
	if o.decode(&shown, "show", "1001", "--account", "other"); shown.Account != "other" || shown.Amount != "9.00" {
		t.Errorf("shows %+v", shown)
	}
}

// TestTransactionsWithoutAGateway: what cannot be done is said, and nothing is
// made.
func TestTransactionsWithoutAGateway(t *testing.T) {
	g := withTransactions(t, gatewaytest.Options{})
	admin := "admin " + strings.TrimPrefix(g.AdminURL, "http://")
	o := &operator{Gateway: g, t: t}
	elsewhere := strings.Replace(g.Caddyfile, admin, "admin unix/"+filepath.Join(t.TempDir(), "none.sock"), 1)

	o.run("list", "--config", write(t, "Caddyfile", elsewhere)).
		mustSay(t, 1, "no running gateway is reached", "no such file", "a running gateway has the journal", "another process owns the journal")
	missing := filepath.Join(t.TempDir(), "journal.db")
	o.run("list", "--config", write(t, "Caddyfile", strings.Replace(elsewhere, g.JournalFile, missing, 1))).
		mustSay(t, 1, "there is no journal at "+missing)
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Errorf("the journal was made: %v", err)
	}

	// An address that is named is the only one to be tried, and needs no
	// configuration.
	o.run("list", "--address", "127.0.0.1:1").mustSay(t, 1, "no running gateway is reached", "connection refused")
	o.run("list", "--address", "localhost:1-5").mustSay(t, 1, "is no admin endpoint that can be called")
	o.run("list", "--address", strings.TrimPrefix(g.AdminURL, "http://")).mustSay(t, 0, "asking the gateway", " 1001 ")
	o.run("list", "--address", g.ProviderAddress).mustSay(t, 1, "is no Nowpay gateway that knows these commands: HTTP ")
	o.run("list", "--config", "none").mustSay(t, 1, "--address would name its admin endpoint", "open none")
	o.run("list", "--config", write(t, "Caddyfile", strings.Replace(g.Caddyfile, admin, "admin {env.NOT_THERE}", 1))).
		mustSay(t, 1, "NOT_THERE")
}

// TestDocumentedTransactionsCommands: what docs/transactions.md shows to be run
// can be run as it stands.
func TestDocumentedTransactionsCommands(t *testing.T) {
	g := withTransactions(t, gatewaytest.Options{})
	if answer := g.Must(call{Body: gatewaytest.Payout("20260001", "1.50")}); answer.Outcome() != "success" {
		t.Fatalf("%d %s", answer.StatusCode, answer.Body)
	}
	folder := filepath.Dir(write(t, "Caddyfile", g.Caddyfile))
	caddy := binarytest.Path(t)
	found := 0
	for _, block := range fenced(read(t, "docs/transactions.md")) {
		if block.language != "sh" {
			continue
		}
		for line := range strings.Lines(block.text) {
			found++
			shell := exec.CommandContext(t.Context(), "sh", "-c", line)
			shell.Dir = folder
			shell.Env = []string{"PATH=" + filepath.Dir(caddy) + ":" + os.Getenv("PATH"), "HOME=" + folder}
			if out, err := shell.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		}
	}
	if found < 6 {
		t.Errorf("%d commands", found)
	}
}

// TestTransactionsInPostgreSQL: a database has no owner, so that the commands can
// open it beside a gateway that they do not reach.
func TestTransactionsInPostgreSQL(t *testing.T) {
	server := postgrestest.Start(t)
	dsn := server.NewDatabase(t)
	g := withTransactions(t, gatewaytest.Options{
		Journal: fmt.Sprintf("postgres %q {\nkey_file %s\n}", dsn, filepath.Join(t.TempDir(), "journal.key")),
	})
	admin := "admin " + strings.TrimPrefix(g.AdminURL, "http://")
	running := &operator{Gateway: g, t: t, config: write(t, "Caddyfile", g.Caddyfile), way: "asking the gateway"}
	direct := &operator{
		Gateway: g, t: t, config: write(t, "Caddyfile", strings.Replace(g.Caddyfile, admin, "admin off", 1)),
		way: "the configuration has no admin endpoint; working on the journal itself",
	}
	testList(running)
	testList(direct)
	testShow(direct)
	direct.must("settle", direct.find("1002").Transaction, "--state", "failed", "--reason", "not in the statement")
	if state := running.find("1002").State; state != "failed" {
		t.Errorf("the gateway says %s", state)
	}
	running.must("settle", running.find("1002").Transaction, "--state", "success", "--reason", "a day later")
	known := write(t, "known.json", running.must("verify", "--format", "json"))
	direct.must("verify", "--known", known)

	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "DELETE FROM events WHERE actor <> ''"); err != nil {
		t.Fatal(err)
	}
	for _, o := range []*operator{running, direct} {
		r := o.run("verify", "--known", known)
		r.mustSay(t, 1, "PROBLEM", "the journal is not as it was written")
		if strings.Contains(r.stdout+r.stderr, server.Password()) {
			t.Errorf("it shows the password: %s %s", r.stdout, r.stderr)
		}
	}
}
