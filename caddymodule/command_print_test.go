package caddymodule

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// TestShown: what a terminal would obey is quoted, what can be read is not.
func TestShown(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "",
		"1001":                "1001",
		"Zahlung an Jörg, ₹5": "Zahlung an Jörg, ₹5",
		`say "no"\`:           `say "no"\`,
		"\x1b[2J":             `"\x1b[2J"`,
		"a\tb\n":              `"a\tb\n"`,
		"right\u202eleft":     `"right\u202eleft"`,
		"\xff":                `"\xff"`,
	} {
		if got := shown(text); got != want {
			t.Errorf("shown(%q) = %s, want %s", text, got, want)
		}
	}
}

var errTest = errors.New("the database has gone")

// entriesOf yields entries and, if there is one, an error.
func entriesOf(err error, entries ...entry) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(entry{}, err)
		}
	}
}

func TestExportCSV(t *testing.T) {
	at := time.Date(2026, 11, 26, 10, 0, 0, 1000, time.UTC)
	var out bytes.Buffer
	err := exportCSV(&out, entriesOf(nil, entry{
		Transaction: "01T", Created: at, Updated: at, Day: 20261126, Account: "main", Merchant: "@shop", Operation: "bank/payout",
		RequestID: "=HYPERLINK(\"x\")", Amount: "1.50", State: journal.Success, ProviderID: "-1+1", Attempts: 1, Checks: 2,
	}))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%v %v", rows, err)
	}
	want := []string{
		"01T", "2026-11-26T10:00:00.000001Z", "2026-11-26T10:00:00.000001Z", "20261126", "main", "'@shop", "bank/payout",
		"'=HYPERLINK(\"x\")", "1.50", "success", "'-1+1", "", "", "", "1", "2",
	}
	if !slices.Equal(rows[1], want) || len(rows[0]) != len(want) {
		t.Errorf("%q\n%q, want\n%q", rows[0], rows[1], want)
	}
}

func TestCell(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "1001": "1001", "a=1": "a=1", "=1": "'=1", "+1": "'+1", "-1": "'-1", "@a": "'@a", "\ta": "'\ta", "\ra": "'\ra", "ä": "ä",
	} {
		if got := cell(text); got != want {
			t.Errorf("cell(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestExportThatBreaks: what was read is written, and the error says that it is
// not all.
func TestExportThatBreaks(t *testing.T) {
	for name, export := range map[string]func(*bytes.Buffer, iter.Seq2[entry, error]) error{
		"csv":   func(b *bytes.Buffer, s iter.Seq2[entry, error]) error { return exportCSV(b, s) },
		"jsonl": func(b *bytes.Buffer, s iter.Seq2[entry, error]) error { return exportLines(b, s) },
	} {
		var out bytes.Buffer
		if err := export(&out, entriesOf(errTest, entry{Transaction: "01T"})); !errors.Is(err, errTest) {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(out.String(), "01T") {
			t.Errorf("%s: wrote %q", name, out.String())
		}
	}
}

// TestEntryHoldsNothingPersonal: whoever adds a field decides it here again.
func TestEntryHoldsNothingPersonal(t *testing.T) {
	raw, err := json.Marshal(newEntry(journal.Transaction{
		Amount: 150, Attention: filterNow, NextCheck: filterNow, Deadline: filterNow, State: journal.Sent, Reversed: journal.Failed,
		ProviderID: "p", Integrity: "verified", Sealed: []byte("sealed"), Fingerprint: []byte("fingerprint"),
	}))
	var fields map[string]any
	if err := errors.Join(err, json.Unmarshal(raw, &fields)); err != nil {
		t.Fatal(err)
	}
	want := append(exportColumns(), "final", "needs_person", "deadline", "next_check")
	for name := range fields {
		if !slices.Contains(want, name) {
			t.Errorf("there is a field %s", name)
		}
	}
	if len(fields) != len(want) {
		t.Errorf("fields %v, want %v", fields, want)
	}
}
