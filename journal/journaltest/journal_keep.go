package journaltest

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// keeping are the tests of what is stored encrypted.
var keeping = []journalTest{
	{name: "Content", run: testContent},
	{name: "Encrypted", run: testEncrypted},
	{name: "Swapped", run: testSwapped},
	{name: "Renamed", run: testRenamed},
}

// What nobody may find in the database.
const (
	secretAnswer = `{"success":"1","beneficiaryName":"Lakshmi Narayanan"}`
	secretField  = "50100012345678"
	secretRRN    = "633012345678"
)

// content decrypts what is stored of a transaction.
func (g *gateway) content(t tb, row journal.Transaction) journal.Content {
	t.Helper()
	content, err := g.Content(&row)
	if err != nil {
		t.Fatalf("Content(%s) = %v", row.RequestID, err)
	}
	return content
}

// checkAnswer compares the stored answer; "" is none.
func checkAnswer(t tb, g *gateway, row journal.Transaction, want string) {
	t.Helper()
	var got string
	if answer := g.content(t, row).Answer; answer != nil {
		got = string(answer.Body)
	}
	if got != want {
		t.Errorf("the answer of %s is %q, want %q", row.RequestID, got, want)
	}
}

// An answer belongs to the state that it told: it is forgotten with it. Fields
// and references stay.
func testContent(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	fields := map[string]string{"accountnumber": secretField}
	row := g.begin(t, w.intent("R1"))
	check(t, "content of an intent", []journal.Content{g.content(t, row)}, []journal.Content{{Fields: fields}})
	row = g.settle(t, row.ID, w.settlement(row, journal.Pending))
	answer := &journal.Answer{ContentType: "application/json", Body: []byte(secretAnswer)}
	check(t, "content with an answer", []journal.Content{g.content(t, row)}, []journal.Content{{Answer: answer, Fields: fields}})
	change := w.says(journal.ByReconciliation, journal.Success)
	change.Reference = secretRRN
	row = g.settle(t, row.ID, change)
	want := []journal.Content{{Reference: secretRRN, Fields: fields}}
	check(t, "content after the state has moved", []journal.Content{g.content(t, row)}, want)
	row = g.settle(t, row.ID, w.says(journal.ByOperator, journal.Failed))
	check(t, "content after that", []journal.Content{g.content(t, row)}, want)

	bare := w.intent("R2")
	bare.Fields = nil
	row = g.begin(t, bare)
	check(t, "content of nothing", []journal.Content{g.content(t, row)}, []journal.Content{{}})
	row = g.settle(t, row.ID, w.settlement(row, journal.Pending))
	row = g.settle(t, row.ID, w.says(journal.ByReconciliation, journal.Success))
	check(t, "content of nothing any more", []journal.Content{g.content(t, row)}, []journal.Content{{}})
	g.checkHonest(t)
}

func testEncrypted(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	in := w.intent("Rfind-me")
	in.Canonical = []byte(`{"yourrequestid":"R1","name":"Meenakshi Sundaram"}`)
	row := g.begin(t, in)
	row = g.settle(t, row.ID, w.settlement(row, journal.Pending))
	change := w.says(journal.ByReconciliation, journal.Success)
	change.Reference, change.Answer = secretRRN, &journal.Answer{Body: []byte(secretAnswer)}
	g.settle(t, row.ID, change)
	w.checkRaw(t)
	g.end(t)
	raw := w.checkRaw(t)
	for _, plain := range []string{"Rfind-me", merchant} {
		if !bytes.Contains(raw, []byte(plain)) {
			t.Errorf("%q is not to be found either: the search is of no use", plain)
		}
	}
	for i, line := range bytes.Split(bytes.TrimSpace(readFile(t, w.keyFile)), []byte("\n")) {
		if bytes.Contains(raw, line) {
			t.Errorf("the database holds line %d of the key file", i+1)
		}
	}
}

// checkRaw searches all that is stored, and returns it.
func (w *world) checkRaw(t *testing.T) []byte {
	t.Helper()
	raw := w.dump(t)
	if w.Files != nil {
		for _, path := range w.Files() {
			raw = append(raw, readFile(t, path)...)
		}
	}
	for _, secret := range []string{"Lakshmi", "success\":\"1", secretField, "accountnumber", secretRRN, "Meenakshi", "yourrequestid"} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the database holds %q", secret)
		}
	}
	return raw
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// dump returns all values of all tables.
func (w *world) dump(t *testing.T) (raw []byte) {
	t.Helper()
	for _, table := range []string{"transactions", "events", "chains", "data_keys", "spending", "nonces"} {
		raw = w.dumpTable(t, raw, table)
	}
	return raw
}

func (w *world) dumpTable(t *testing.T, raw []byte, table string) []byte {
	t.Helper()
	rows, err := w.SQL.QueryContext(t.Context(), "SELECT * FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		for _, value := range values {
			if bytes, ok := value.([]byte); ok {
				raw = append(raw, bytes...)
			} else {
				raw = fmt.Append(raw, value)
			}
			raw = append(raw, '\n')
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return raw
}

// exec changes the database behind the journal's back.
func (w *world) exec(t tb, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		result, err := w.SQL.ExecContext(t.Context(), statement)
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			t.Fatalf("%s: changed nothing, %v", statement, err)
		}
	}
}

// copyTables keeps tables as they are now, and putBack restores them.
func (w *world) copyTables(t tb, tables ...string) {
	t.Helper()
	for _, table := range tables {
		if _, err := w.SQL.ExecContext(t.Context(), fmt.Sprintf("CREATE TABLE copied_%[1]s AS SELECT * FROM %[1]s", table)); err != nil {
			t.Fatalf("copying %s: %v", table, err)
		}
	}
}

func (w *world) putBack(t tb, tables ...string) {
	t.Helper()
	for _, table := range tables {
		for _, statement := range []string{"DELETE FROM %[1]s", "INSERT INTO %[1]s SELECT * FROM copied_%[1]s"} {
			if _, err := w.SQL.ExecContext(t.Context(), fmt.Sprintf(statement, table)); err != nil {
				t.Fatalf("putting %s back: %v", table, err)
			}
		}
	}
}

// An encrypted content is of no use in another row.
func testSwapped(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	w.settled(t, g, "R1", journal.Success)
	w.settled(t, g, "R2", journal.Success)
	w.exec(t, `UPDATE transactions SET sealed = (SELECT sealed FROM transactions WHERE request_id = 'R2') WHERE request_id = 'R1'`)
	row := g.repeat(t, w.intent("R1"))
	content, err := g.Content(&row)
	checkError(t, "Content of a swapped row", err, journal.ErrKey)
	check(t, "what is told then", []journal.Content{content}, []journal.Content{{}})
	checkAnswer(t, g, g.repeat(t, w.intent("R2")), secretAnswer)
}

// A row that is made another merchant's, or another payment's, keeps its answer
// to itself.
func testRenamed(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	victim := w.settled(t, g, "R1", journal.Success)
	w.copyTables(t, "transactions")
	for column, value := range map[string]string{
		"account": "'other'", "request_id": "'R2'", "merchant": "'kiosk'", "operation": "'bank/transfer'",
		"amount": "amount + 1", "fingerprint": "mac",
	} {
		w.exec(t, fmt.Sprintf("UPDATE transactions SET %s = (SELECT %s FROM events WHERE transaction_id = id AND seq = 1)", column, value))
		row, err := g.Get(t.Context(), victim.ID)
		if err != nil {
			t.Fatal(err)
		}
		_, err = g.Content(&row)
		checkError(t, "Content with another "+column, err, journal.ErrKey)
		w.putBack(t, "transactions")
	}
	checkAnswer(t, g, g.repeat(t, w.intent("R1")), secretAnswer)
}
