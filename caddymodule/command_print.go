package caddymodule

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// shown is a text as it may be printed on a terminal: quoted if there is anything
// in it that is not seen as what it is.
func shown(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text
	}
	return strconv.Quote(text)
}

// clock is a time as it is printed: in the zone of the machine, which it names.
func clock(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Local().Format(time.RFC3339)
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("printing JSON: %w", err)
	}
	return nil
}

func printTable(w io.Writer, entries []entry) error {
	columns := []string{"TIME", "TRANSACTION", "MERCHANT", "OPERATION", "REQUEST ID", "AMOUNT", "STATE", "PROVIDER ID", "NEEDS PERSON"}
	return printRows(w, columns, entries, func(e entry) []string {
		person := ""
		if e.NeedsPerson {
			person = "yes"
		}
		return []string{clock(e.Created), e.Transaction, e.Merchant, e.Operation, e.RequestID, e.Amount, stateOf(e), e.ProviderID, person}
	})
}

// printRows prints a table with a line for each of all.
func printRows[T any](w io.Writer, columns []string, all []T, cells func(T) []string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(columns, "\t"))
	for _, value := range all {
		row := cells(value)
		for i := range row {
			row[i] = shown(row[i])
		}
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	return nil
}

// stateOf is the state, with what the provider said against it.
func stateOf(e entry) string {
	if e.Reversed == "" {
		return string(e.State)
	}
	return fmt.Sprintf("%s, but the provider says %s", e.State, e.Reversed)
}

// printFields prints those that have a value.
func printFields(w io.Writer, fields ...[2]string) {
	for _, field := range fields {
		if field[1] != "" {
			fmt.Fprintf(w, "%-14s %s\n", field[0], shown(field[1]))
		}
	}
}

func printDetails(w io.Writer, d details) {
	printFields(w,
		[2]string{"transaction", d.Transaction},
		[2]string{"state", stateOf(d.entry)},
		[2]string{"needs person", since(d.NeedsPersonSince)},
		[2]string{"account", d.Account},
		[2]string{"merchant", d.Merchant},
		[2]string{"operation", d.Operation},
		[2]string{"request ID", d.RequestID},
		[2]string{"amount", d.Amount},
		[2]string{"provider ID", d.ProviderID},
		[2]string{"integrity", d.Integrity},
		[2]string{"created", clock(d.Created)},
		[2]string{"updated", clock(d.Updated)},
		[2]string{"counts for", strconv.Itoa(d.Day)},
		[2]string{"attempts", strconv.Itoa(d.Attempts)},
		[2]string{"status calls", strconv.Itoa(d.Checks)},
		[2]string{"deadline", clock(d.Deadline)},
		[2]string{"next check", clock(d.NextCheck)},
	)
	if c := d.Content; c != nil {
		printFields(w, [2]string{"reference", c.Reference})
		for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
			printFields(w, [2]string{"field " + shown(name), c.Fields[name]})
		}
		printFields(w, [2]string{"answered", c.ContentType}, [2]string{"", c.Answer})
	}
	fmt.Fprintln(w, "\ntimeline")
	for _, e := range d.Events {
		fmt.Fprintf(w, "  %s  %-9s by %s", clock(e.At), shown(string(e.Event)), shown(string(e.Cause)))
		if e.Actor != "" {
			fmt.Fprintf(w, " %s: %s", shown(e.Actor), shown(e.Reason))
		}
		fmt.Fprintln(w)
		if len(e.Evidence) > 0 {
			fmt.Fprintf(w, "    %s\n", shown(string(e.Evidence)))
		}
	}
}

func since(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return "since " + clock(at)
}

func printRevalidation(w io.Writer, r revalidation) {
	says := string(r.ProviderSays)
	switch {
	case r.ProviderSays != nowpay.Unknown:
	case len(r.Findings) > 0:
		says = "nothing that can be trusted"
	case !r.Found:
		says = "that it finds no such transaction, which does not mean that it failed"
	default:
		says = "nothing of its state"
	}
	findings := make([]string, 0, len(r.Findings))
	for _, finding := range r.Findings {
		findings = append(findings, string(finding))
	}
	printFields(w,
		[2]string{"provider says", says},
		[2]string{"findings", strings.Join(findings, ", ")},
		[2]string{"state", stateOf(r.Transaction)},
		[2]string{"provider ID", r.Transaction.ProviderID},
		[2]string{"needs person", since(r.Transaction.NeedsPersonSince)},
	)
}

func printSettlement(w io.Writer, s settlement) {
	printFields(w, [2]string{"transaction", s.After.Transaction}, [2]string{"before", stateOf(s.Before)}, [2]string{"after", stateOf(s.After)})
}

func printReport(w io.Writer, r journal.Report) {
	for _, problem := range r.Problems {
		fmt.Fprintf(w, "PROBLEM  %s\n", shown(problem))
	}
	if len(r.Problems) == 0 {
		fmt.Fprintln(w, "nothing was changed or deleted")
	}
	fmt.Fprintf(w, "%d transactions, %d events, %d chains, which end with\n", r.Transactions, r.Events, len(r.Heads))
	for _, head := range r.Heads {
		fmt.Fprintf(w, "  chain %d of %s, event %d: %s\n", head.Chain, shown(head.Gateway), head.Number, shown(head.MAC))
	}
}

// exportColumns are those of an export as CSV. Their order is a contract: new
// ones are added at the end.
func exportColumns() []string {
	return []string{
		"transaction", "created", "updated", "day", "account", "merchant", "operation", "request_id", "amount", "state",
		"provider_id", "integrity", "reversed", "needs_person_since", "attempts", "checks",
	}
}

func exportRow(e entry) []string {
	return []string{
		cell(e.Transaction), stamp(e.Created), stamp(e.Updated), strconv.Itoa(e.Day), cell(e.Account), cell(e.Merchant),
		cell(e.Operation), cell(e.RequestID), e.Amount, cell(string(e.State)), cell(e.ProviderID), cell(e.Integrity),
		cell(string(e.Reversed)), stamp(e.NeedsPersonSince), strconv.Itoa(e.Attempts), strconv.Itoa(e.Checks),
	}
}

// cell is a text that no spreadsheet takes for a formula.
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

// stamp is a time in a file: in UTC, to the microsecond.
func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000000Z07:00")
}

// exportCSV writes a line for each transaction, as it comes.
func exportCSV(w io.Writer, entries iter.Seq2[entry, error]) error {
	out := csv.NewWriter(w)
	_ = out.Write(exportColumns()) // Flush tells
	for e, err := range entries {
		if err != nil {
			out.Flush()
			return err
		}
		if err := out.Write(exportRow(e)); err != nil {
			return fmt.Errorf("writing the export: %w", err)
		}
	}
	if out.Flush(); out.Error() != nil {
		return fmt.Errorf("writing the export: %w", out.Error())
	}
	return nil
}

// exportLines is exportCSV as JSON.
func exportLines(w io.Writer, entries iter.Seq2[entry, error]) error {
	out := bufio.NewWriter(w)
	encoder := json.NewEncoder(out)
	for e, err := range entries {
		if err != nil {
			_ = out.Flush() // the error tells that it is not complete
			return err
		}
		if err := encoder.Encode(e); err != nil {
			return fmt.Errorf("writing the export: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the export: %w", err)
	}
	return nil
}
