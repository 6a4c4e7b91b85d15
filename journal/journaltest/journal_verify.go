package journaltest

import (
	"fmt"
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
	if events != report.Events || events < 60 {
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
		{"gateway"},
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
		"DELETE FROM events WHERE transaction_id = (SELECT id FROM transactions WHERE request_id = 'R13') AND seq = 3;"+
			"UPDATE transactions SET state = 'sent', version = 2 WHERE request_id = 'R13'",
		// Two rows with each other's answers.
		"UPDATE transactions SET sealed = (SELECT sealed FROM transactions WHERE request_id = 'R21') WHERE request_id = 'R11'",
	)
}

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
	tables := []string{"transactions", "events", "chains", "data_keys", "spending"}
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
	w.copyTables(t, "transactions")
	row := g.begin(t, w.intent("R1"))
	g.settle(t, row.ID, w.settlement(row, journal.Success))
	g.checkHonest(t)
	w.putBack(t, "transactions")
	report, err := g.Verify(t.Context())
	if err != nil || len(report.Problems) != 1 {
		t.Errorf("Verify() = %q, %v; want one problem", report.Problems, err)
	}
}

// What is cut off at the very end is found by a head that was written down.
func testCutOff(t *testing.T, w *world) {
	w.live(t)
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
	g = w.start(t, "gateway")
	g.checkHonest(t) // alone it knows nothing of what was there
	w.settled(t, g, "R1", journal.Success)
	for name, heads := range map[string][]journal.Head{"changed": before.Heads, "missing": after.Heads} {
		report, err := g.Verify(t.Context(), heads...)
		if err != nil || len(report.Problems) != 1 {
			t.Errorf("Verify() with a known head that is %s = %q, %v", name, report.Problems, err)
		}
	}
}
