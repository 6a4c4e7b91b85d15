package journaltest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// verifying are the tests of tampering.
var verifying = []journalTest{
	{name: "Honest", run: testHonest},
	{name: "Tampered", run: testTampered},
	{name: "TurnedBack", run: testTurnedBack},
	{name: "CutOff", run: testCutOff},
	{name: "ChainTurnedBack", run: testChainTurnedBack},
	{name: "Forged", run: testForged},
	{name: "AbsurdChains", run: testAbsurdChains},
	{name: "KeysGone", run: testKeysGone},
}

// live fills a journal over three chains: of two gateways, of which one starts
// again.
func (w *world) live(t *testing.T) {
	t.Helper()
	for round := range 3 {
		g := w.start(t, fmt.Sprintf("gateway-%d", round%2))
		for i, state := range []journal.State{
			journal.Success, journal.Failed, journal.Refused, journal.Pending, journal.Unknown, journal.Unsent, journal.Sent,
		} {
			w.pass(time.Second)
			row := w.settled(t, g, fmt.Sprintf("R%d%d", round, i), state)
			if i < 2 {
				g.settle(t, row.ID, w.says(journal.ByDailyCheck, journal.Pending))
				g.settle(t, row.ID, w.says(journal.ByOperator, journal.Refused))
			}
		}
		g.end(t)
	}
}

func testHonest(t *testing.T, w *world) {
	w.live(t)
	gateways := w.two(t)
	row := w.settled(t, gateways[0], "R1", journal.Pending)
	gateways[1].settle(t, row.ID, w.says(journal.ByReconciliation, journal.Success))
	report := gateways[0].checkHonest(t)
	if chains := 4 + map[bool]int{true: 1}[w.Shared]; report.Transactions != 22 || len(report.Heads) != chains {
		t.Errorf("Verify() = %+v, want 22 transactions and %d chains", report, chains)
	}
	events := 0
	for _, head := range report.Heads {
		events += int(head.Number)
	}
	if events != report.Events || events < 40 {
		t.Errorf("%d events in the chains, %d read", events, report.Events)
	}
	again, err := gateways[1].Verify(t.Context(), report.Heads...)
	if err != nil || len(again.Problems) > 0 {
		t.Errorf("Verify() with known heads = %v, %v", again.Problems, err)
	}
}

// columns are those that events vouch for: texts, numbers and bytes.
var columns = map[string][3][]string{
	"transactions": {
		{"account", "request_id", "merchant", "operation", "state", "provider_id", "integrity", "reversed"},
		{"amount", "day", "attempt", "attention", "created", "updated", "deadline", "version", "key_id"},
		{"fingerprint", "sealed"},
	},
	"events": {
		{"transaction_id", "kind", "cause", "actor", "reason", "evidence"},
		{"chain", "number", "seq", "at"},
		{"row_digest", "mac"},
	},
	"chains": {
		{"gateway", "heads"},
		{"id", "started", "key_id", "number"},
		{"opening", "mac", "sealing"},
	},
}

// some is a row in the midst of each table.
var some = map[string]string{
	"transactions": "request_id = 'R11'",
	"events":       "chain = 2 AND number = 9",
	"chains":       "id = 2",
}

// deeds are what somebody does who wants to hide something.
func deeds() (all []string) {
	for table, kinds := range columns {
		for kind, names := range kinds {
			for _, name := range names {
				value := []string{name + " || 'x'", name + " + 100", blobs[table]}[kind]
				if name == blobs[table] {
					value = others[table]
				}
				all = append(all, fmt.Sprintf("UPDATE %s SET %s = %s WHERE %s", table, name, value, some[table]))
			}
		}
	}
	return append(
		all,
		"DELETE FROM events WHERE chain = 2 AND number = 9",
		"DELETE FROM events WHERE chain = 2 AND number = 1",
		"DELETE FROM events WHERE chain = 2 AND number = (SELECT number FROM chains WHERE id = 2)",
		"DELETE FROM events WHERE chain = 2",
		"DELETE FROM transactions WHERE request_id = 'R11'",
		"DELETE FROM events WHERE transaction_id = (SELECT id FROM transactions WHERE request_id = 'R11');"+
			"DELETE FROM transactions WHERE request_id = 'R11'",
		"DELETE FROM chains WHERE id = 2",
		"DELETE FROM chains WHERE id = 1",
		"DELETE FROM events WHERE chain = 2; DELETE FROM chains WHERE id = 2",
		// The newest event, and the head and the row moved back behind it.
		"DELETE FROM events WHERE chain = 3 AND number = (SELECT number FROM chains WHERE id = 3);"+
			"UPDATE chains SET number = number - 1, mac = (SELECT mac FROM events WHERE chain = 3 AND number = chains.number - 1) WHERE id = 3",
		// A row as it was before, with the event that led to it then.
		"DELETE FROM events WHERE transaction_id = (SELECT id FROM transactions WHERE request_id = 'R13') AND seq = 2;"+
			"UPDATE transactions SET state = 'sent', version = 1 WHERE request_id = 'R13'",
		// What is spent, and nobody's.
		"UPDATE spending SET amount = amount - 100 WHERE merchant = 'shop'",
		"DELETE FROM spending WHERE merchant = 'shop'",
		"INSERT INTO spending (merchant, day, amount) VALUES ('', 1, 5)",
		// A transaction that nobody looks at again.
		"UPDATE transactions SET next_check = 0 WHERE request_id = 'R13'",
		"UPDATE transactions SET next_check = 0 WHERE request_id = 'R16'",
		// Without keys the next start is the end of it.
		"DELETE FROM data_keys",
		"UPDATE data_keys SET wrapped = (SELECT mac FROM events WHERE chain = 1 AND number = 1)",
		// Gaps that nobody can count through.
		"UPDATE chains SET id = 9223372036854775807 WHERE id = 3",
		"UPDATE chains SET id = 0 WHERE id = 1",
		"UPDATE chains SET id = -5 WHERE id = 1",
		// Two rows with each other's answers.
		"UPDATE transactions SET sealed = (SELECT sealed FROM transactions WHERE request_id = 'R21') WHERE request_id = 'R11'",
	)
}

// tables are all there are.
var tables = []string{"transactions", "events", "chains", "data_keys", "spending"}

// blobs and others are byte columns that differ.
var (
	blobs  = map[string]string{"transactions": "fingerprint", "events": "row_digest", "chains": "opening"}
	others = map[string]string{"transactions": "sealed", "events": "mac", "chains": "sealing"}
)

// Whatever is changed or deleted in a live journal is found. Each deed is undone
// again by what was copied before.
func testTampered(t *testing.T, w *world) {
	w.live(t)
	g := w.start(t, "gateway")
	g.checkHonest(t)
	w.copyTables(t, tables...)
	for _, deed := range deeds() {
		w.exec(t, strings.Split(deed, ";")...)
		report, err := g.Verify(t.Context())
		if err != nil {
			t.Errorf("%s: Verify() = %v", deed, err)
		} else if len(report.Problems) == 0 {
			t.Errorf("%s: not noticed", deed)
		}
		w.putBack(t, tables...)
	}
	g.checkHonest(t)
}

// A row that is put back as it truly was once is not as its last event left it.
func testTurnedBack(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	w.settled(t, g, "R1", journal.Unsent)
	w.copyTables(t, "transactions", "spending")
	row := g.begin(t, w.intent("R1"))
	g.settle(t, row.ID, w.settlement(row, journal.Success))
	g.checkHonest(t)
	w.putBack(t, "transactions", "spending")
	report, err := g.Verify(t.Context())
	if err != nil || len(report.Problems) != 1 {
		t.Errorf("Verify() = %q, %v; want one problem", report.Problems, err)
	}
}

// What is cut off at the very end is found by a head that was written down.
func testCutOff(t *testing.T, w *world) {
	w.live(t)
	w.copyTables(t, "spending")
	g := w.start(t, "gateway")
	w.settled(t, g, "R1", journal.Success)
	before := g.checkHonest(t)
	w.settled(t, g, "R2", journal.Success)
	after := g.checkHonest(t)
	g.end(t)
	if report, err := g.Verify(t.Context()); err == nil {
		t.Errorf("Verify() after Close = %+v", report)
	}
	id := after.Heads[len(after.Heads)-1].Chain
	w.exec(t,
		fmt.Sprintf("DELETE FROM transactions WHERE id IN (SELECT transaction_id FROM events WHERE chain = %d)", id),
		fmt.Sprintf("DELETE FROM events WHERE chain = %d", id),
		fmt.Sprintf("DELETE FROM chains WHERE id = %d", id))
	w.putBack(t, "spending")
	g = w.start(t, "gateway")
	g.checkHonest(t) // alone it knows nothing of what was there
	w.settled(t, g, "R1", journal.Success)
	for name, heads := range map[string][]journal.Head{"changed": before.Heads, "missing": after.Heads, "empty": {{Chain: 1, Number: 0, MAC: "00"}}} {
		report, err := g.Verify(t.Context(), heads...)
		if err != nil || len(report.Problems) != 1 {
			t.Errorf("Verify() with a known head that is %s = %q, %v", name, report.Problems, err)
		}
	}
}

// A chain's row that is put back as it truly was once, with all that was
// recorded later cut out, is not what the chains after it know.
func testChainTurnedBack(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	w.settled(t, g, "R1", journal.Success)
	w.copyTables(t, "chains", "spending")
	w.settled(t, g, "R2", journal.Success)
	for range 2 { // the second one does not say again what the first one does
		g.end(t)
		g = w.start(t, "gateway")
		w.settled(t, g, fmt.Sprintf("R%d", w.ids.Load()+10), journal.Failed)
	}
	g.checkHonest(t)
	w.exec(t,
		"DELETE FROM events WHERE chain = 1 AND number > (SELECT number FROM copied_chains WHERE id = 1)",
		"DELETE FROM transactions WHERE request_id = 'R2'",
		"DELETE FROM chains WHERE id = 1",
		"INSERT INTO chains SELECT * FROM copied_chains WHERE id = 1")
	w.putBack(t, "spending")
	report, err := g.Verify(t.Context())
	if err != nil || len(report.Problems) != 1 {
		t.Errorf("Verify() = %q, %v; want one problem", report.Problems, err)
	}
}

// An event that fits a forged row counts only in a chain. To have one with the
// right digest, the change is really made, and then all is put back.
func testForged(t *testing.T, w *world) {
	w.live(t)
	w.copyTables(t, tables...)
	g := w.start(t, "gateway")
	row, err := g.Find(t.Context(), journal.RequestKey{Account: account, RequestID: "R13"})
	if err != nil {
		t.Fatal(err)
	}
	g.settle(t, row.ID, w.says(journal.ByReconciliation, journal.Failed))
	for _, statement := range []string{
		"CREATE TABLE forged_row AS SELECT * FROM transactions WHERE request_id = 'R13'",
		"CREATE TABLE forged_event AS SELECT * FROM events WHERE chain = 4",
		"CREATE TABLE forged_spending AS SELECT * FROM spending",
	} {
		if _, err := w.SQL.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	g.end(t)
	w.putBack(t, tables...)
	g = w.start(t, "gateway")
	g.checkHonest(t)
	for _, place := range []string{
		"chain = 99", "chain = 0", "chain = -1, number = -1", "chain = 1, number = 0", "chain = 1, number = -1", "chain = 1, number = 1000",
	} {
		w.exec(t,
			"UPDATE forged_event SET "+place,
			"INSERT INTO events SELECT * FROM forged_event",
			"DELETE FROM transactions WHERE request_id = 'R13'",
			"INSERT INTO transactions SELECT * FROM forged_row",
			"DELETE FROM spending",
			"INSERT INTO spending SELECT * FROM forged_spending")
		report, err := g.Verify(t.Context())
		if err != nil || len(report.Problems) == 0 {
			t.Errorf("%s: not noticed, %v", place, err)
		}
		w.exec(t, "DELETE FROM events WHERE mac = (SELECT mac FROM forged_event)")
		w.putBack(t, "transactions", "spending")
		g.checkHonest(t)
	}
	w.exec(t, "UPDATE forged_row SET id = '', request_id = 'new'", "INSERT INTO transactions SELECT * FROM forged_row")
	report, err := g.Verify(t.Context())
	if err != nil || !slices.ContainsFunc(report.Problems, func(p string) bool { return strings.HasPrefix(p, "transaction : ") }) {
		t.Errorf("Verify() with a row without an ID = %q, %v", report.Problems, err)
	}
}

// A chain that no gateway can have opened stops the next one, rather than that
// it goes on from there.
func testAbsurdChains(t *testing.T, w *world) {
	w.live(t)
	w.copyTables(t, "chains")
	for _, id := range []string{"0", "-1", "9223372036854775807"} {
		w.exec(t, "UPDATE chains SET id = "+id+" WHERE id = 2")
		if g, err := w.try(t.Context(), "gateway", w.keyFile); err == nil || errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("chain %s: Start() = %v", id, err)
			if err == nil {
				g.end(t)
			}
		}
		w.putBack(t, "chains")
	}
}

// A journal whose data keys were deleted gets no new ones.
func testKeysGone(t *testing.T, w *world) {
	w.live(t)
	w.exec(t, "DELETE FROM data_keys")
	for _, rest := range []string{"", "DELETE FROM chains"} {
		if rest != "" {
			w.exec(t, rest)
		}
		_, err := w.try(t.Context(), "gateway", w.keyFile)
		checkError(t, "Start without data keys", err, journal.ErrKey)
		if n := w.keys(t); n != 0 {
			t.Fatalf("%d data keys were made", n)
		}
	}
}
