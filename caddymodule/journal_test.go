package caddymodule_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/internal/postgrestest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// lockFile keeps everybody else from writing to the journal's file, until release
// is called.
func lockFile(t *testing.T, g *gatewaytest.Gateway) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", g.JournalFile)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err == nil {
		_, err = conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE")
	}
	if err != nil {
		t.Fatalf("locking the journal: %v", err)
	}
	release = sync.OnceFunc(func() {
		if _, err := conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			t.Error(err)
		}
		_ = conn.Close()
		_ = db.Close()
	})
	t.Cleanup(release)
	return release
}

// mustBeDown: nothing is sent while the journal cannot be written, everybody is
// told so, and what needs no journal goes on.
func mustBeDown(t *testing.T, g *gatewaytest.Gateway, id string) {
	t.Helper()
	gatewaytest.Eventually(t, "readiness to go red", func() bool { return !isReady(g)() })
	if answer := readiness(g); !strings.Contains(answer.Body, "journal-unavailable") {
		t.Errorf("readiness: %s", answer.Body)
	}
	answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout(id, "1.50")})
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Problem() != "journal-unavailable" || answer.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", answer.StatusCode, answer.Header, answer.Body)
	}
	if record := g.LastRecord(); record["problem"] != "journal-unavailable" || record["error"] == nil {
		t.Errorf("record %v", record)
	}
	if up := g.Metric("nowpay_journal_up"); up != 0 {
		t.Errorf("nowpay_journal_up is %v", up)
	}
	executed(t, g, id, 0)
	if answer := g.Must(gatewaytest.Call{Path: "/api/common/balance", Body: "{}"}); answer.Outcome() != "success" {
		t.Errorf("a balance: %d %s", answer.StatusCode, answer.Body)
	}
}

// mustRecover: by itself, and the request that was refused can be sent again.
func mustRecover(t *testing.T, g *gatewaytest.Gateway, id string) {
	t.Helper()
	gatewaytest.Eventually(t, "readiness to go green", isReady(g))
	mustPay(t, g, gatewaytest.ShopToken, id)
	executed(t, g, id, 1)
	if up := g.Metric("nowpay_journal_up"); up != 1 {
		t.Errorf("nowpay_journal_up is %v", up)
	}
	if linesWith(g, "cannot be written", `"level":"error"`) == 0 {
		t.Error("nothing is logged")
	}
}

// TestJournalDown: a file that cannot be written.
func TestJournalDown(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	mustPay(t, g, gatewaytest.ShopToken, "before1")
	release := lockFile(t, g)
	// The first one finds out; it was not sent.
	answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("down1", "1.50")})
	if answer.Problem() != "journal-unavailable" {
		t.Errorf("%d %s", answer.StatusCode, answer.Body)
	}
	mustBeDown(t, g, "down1")
	if tx := look(t, g, "before1"); tx.State != "success" { // reading goes on
		t.Errorf("%+v", tx)
	}
	release()
	mustRecover(t, g, "down1")
}

// TestOutcomeIsWrittenLater: the provider has paid, and the journal cannot say
// so in time. The merchant is told what a repeat would be told if the process
// ended now, and the truth once it is written.
func TestOutcomeIsWrittenLater(t *testing.T) {
	door := newDoor(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Provider: door.wrap})
	open := door.hold()
	payout := gatewaytest.Call{Body: gatewaytest.Payout("late1", "1.50")}
	end := begin(t.Context(), t, g, "http/1.1", payout)
	<-door.arrived
	release := lockFile(t, g)
	open()
	first, err := end()
	if err != nil || first.StatusCode != http.StatusOK || first.Outcome() != "unknown" {
		t.Fatalf("%v %d %s", err, first.StatusCode, first.Body)
	}
	checkOurs(t, first, "2", "yourrequestid", "late1")
	release()
	gatewaytest.Eventually(t, "readiness to go green", isReady(g))
	settled(t, g, "late1", "success")
	second := g.Must(payout)
	if second.Outcome() != "success" || !replayed(second) || !strings.Contains(second.Body, entry(t, g, "late1").RRN) {
		t.Errorf("%v %s", second.Header, second.Body)
	}
	executed(t, g, "late1", 1)
}

// TestJournalHasOneOwner: a second process does not start on the file, says why,
// and harms nothing.
func TestJournalHasOneOwner(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	mustPay(t, g, gatewaytest.ShopToken, "owner1")
	socket := filepath.Join(t.TempDir(), "admin.sock")
	text := strings.Replace(g.Caddyfile, "admin "+strings.TrimPrefix(g.AdminURL, "http://"), "admin unix/"+socket, 1)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	second := command{args: []string{"run", "--config", file}}.run(t)
	// Both log to one file.
	if second.code == 0 || linesWith(g, "journal.db.lock is locked", "stop the other gateway") == 0 {
		t.Errorf("exit %d: %s\n%s", second.code, second.stderr, g.Log())
	}
	mustPay(t, g, gatewaytest.ShopToken, "owner2")
	if answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("owner1", "1.50")}); !replayed(answer) {
		t.Errorf("%d %s", answer.StatusCode, answer.Body)
	}
}

// TestJournalTellsNothing: whoever has the journal's files, without the key's,
// learns nothing of what customers and the account are known by.
func TestJournalTellsNothing(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: asks(byRequestID, "pending")})
	var answers []string
	for _, kind := range []simulator.Kind{simulator.Success, simulator.Pending, simulator.CloseAfterDebit, simulator.KeyEcho, simulator.JunkBeforeJSON} {
		answers = append(answers, g.Must(paid("hide"+strings.ReplaceAll(string(kind), "-", ""), "1.50", kind)).Body)
	}
	key, err := os.ReadFile(g.JournalKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(key)))
	if err != nil || len(raw) != 32 {
		t.Fatalf("key file: %d bytes, %v", len(raw), err)
	}
	secrets := map[string]string{
		"the key": gatewaytest.Key, "shop's token": gatewaytest.ShopToken, "the token's hash": gatewaytest.TokenHash(gatewaytest.ShopToken)[7:],
		"the account number": "50100012345678", "the branch": "HDFC0000001", "the name": "Asha Rao", "an answer": answers[0][:40],
		"the bank's reference": entry(t, g, "hidesuccess").RRN, "the journal's key": string(raw), "its text": strings.TrimSpace(string(key)),
	}
	files, err := filepath.Glob(g.JournalFile + "*")
	if err != nil || len(files) < 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	var all []byte
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, content...)
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v", file, info.Mode(), err)
		}
	}
	if !bytes.Contains(all, []byte("hidesuccess")) {
		t.Error("the journal is not in these files")
	}
	for what, secret := range secrets {
		if bytes.Contains(all, []byte(secret)) {
			t.Errorf("%s is in the journal's files", what)
		}
	}
}

// postgres is a gateway whose journal is in PostgreSQL.
func postgres(t *testing.T, dsn string) gatewaytest.Options {
	t.Helper()
	return gatewaytest.Options{
		Journal: fmt.Sprintf("postgres %s {\nkey_file %s\n}", dsn, filepath.Join(t.TempDir(), "journal.key")),
		Nowpay:  asks(byRequestID, "pending"),
	}
}

// TestPostgres: the same promises with a database elsewhere.
func TestPostgres(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	server := postgrestest.Start(t)
	g := gatewaytest.Start(t, postgres(t, server.NewDatabase(t)))
	for _, kind := range []simulator.Kind{simulator.Success, simulator.Failed, simulator.Refused, simulator.Pending} {
		payout := paid("pg"+string(kind), "12.30", kind)
		first := g.Must(payout)
		if first.Outcome() != string(kind) {
			t.Errorf("%s: %d %s", kind, first.StatusCode, first.Body)
		}
		if second := g.Must(payout); second.Body != first.Body || second.Outcome() != string(kind) {
			t.Errorf("%s again: %d %s", kind, second.StatusCode, second.Body)
		}
		payout.Body = strings.Replace(payout.Body, "12.30", "12.31", 1)
		if other := g.Must(payout); other.Problem() != "request-id-reused" {
			t.Errorf("%s otherwise: %d %s", kind, other.StatusCode, other.Body)
		}
		if n := len(sentFor(g, "pg"+string(kind))); n != 1 {
			t.Errorf("%s was sent %d times", kind, n)
		}
	}
	g.Must(paid("pglost", "1.50", simulator.CloseAfterDebit))
	settled(t, g, "pglost", "success")

	client := g.Client("h2")
	var calling sync.WaitGroup
	for range 20 {
		calling.Go(func() {
			answer, err := g.Do(client, g.TLSURL, gatewaytest.Call{Body: gatewaytest.Payout("pgcrowd", "1.50")})
			if err != nil || answer.Outcome() != "success" && answer.Problem() != "in-flight" {
				t.Errorf("%v %s", err, answer.Body)
			}
		})
	}
	calling.Wait()
	client.CloseIdleConnections() // a server that stops waits for them
	executed(t, g, "pgcrowd", 1)
	if linesWith(g, server.Password()) > 0 {
		t.Error("the database's password is in the log")
	}
}

// TestPostgresStops and comes back, also while a payment is under way, and also
// before the gateway has started.
func TestPostgresStops(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	server := postgrestest.Start(t)
	options, door := postgres(t, server.NewDatabase(t)), newDoor(t)
	options.Provider = door.wrap
	server.Stop()
	g := gatewaytest.Start(t, options)
	mustBeDown(t, g, "stop1")
	if answer := g.Must(gatewaytest.Call{Method: http.MethodGet, Path: "/transactions/stop1"}); answer.Problem() != "journal-unavailable" {
		t.Errorf("%d %s", answer.StatusCode, answer.Body)
	}
	server.Restart()
	gatewaytest.Eventually(t, "readiness to go green", isReady(g))
	mustPay(t, g, gatewaytest.ShopToken, "stop1")

	open := door.hold()
	end := begin(t.Context(), t, g, "http/1.1", gatewaytest.Call{Body: gatewaytest.Payout("stop2", "1.50")})
	<-door.arrived
	door.pass()
	server.Kill()
	open()
	first, err := end()
	if err != nil || first.Outcome() != "unknown" {
		t.Errorf("%v %d %s", err, first.StatusCode, first.Body)
	}
	mustBeDown(t, g, "stop3")
	server.Restart()
	mustRecover(t, g, "stop3")
	settled(t, g, "stop2", "success")
	if again := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("stop2", "1.50")}); again.Outcome() != "success" || !replayed(again) {
		t.Errorf("%d %s", again.StatusCode, again.Body)
	}
	executed(t, g, "stop2", 1)
}

// TestReloadKeepsTheJournal: there is no moment without it, whatever else of the
// configuration changes.
func TestReloadKeepsTheJournal(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	g := gatewaytest.Start(t, gatewaytest.Options{})
	client := g.Client("h2")
	stop := make(chan struct{})
	var merchants sync.WaitGroup
	for m := range 4 {
		merchants.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("keep%dn%d", m, i)
				for range 2 { // the second is a repeat, perhaps with the next configuration
					answer, err := g.Do(client, g.TLSURL, gatewaytest.Call{Body: gatewaytest.Payout(id, "1.00")})
					if err == nil && answer.Outcome() != "success" {
						t.Errorf("%s: %d %s", id, answer.StatusCode, answer.Body)
					}
				}
			}
		})
	}
	for i := range 10 {
		o := gatewaytest.Options{Reconcile: fmt.Sprintf("person_after %dh", i+1)}
		if i%2 == 1 {
			o.Nowpay = asks(byRequestID, "pending")
		}
		mustReload(t, g, o)
		time.Sleep(50 * time.Millisecond)
	}
	close(stop)
	merchants.Wait()
	client.CloseIdleConnections()
	if linesWith(g, "journal-unavailable") > 0 {
		t.Error("the journal was not there for a moment")
	}
	for id, n := range g.Simulator.Ledger().Executions {
		if n != 1 {
			t.Errorf("%s was executed %d times", id, n)
		}
	}
}
