//go:build linux

package powercut

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// books are all that is known at the end: what the merchants were told, what the
// provider did, and what the journal says.
type books struct {
	orders  []*order
	entries []simulator.Entry
	rows    []journal.Transaction
}

// audit is what is wrong with the books.
type audit struct {
	doubles []string       // executed more than once
	lost    []string       // executed, and the journal does not say so
	wrong   []string       // the journal or an answer contradicts the ledger, or itself
	open    map[string]int // not settled, by the reason why that is right

	noStatus bool // nobody can ask what became of a transaction
}

// dossier is all that is known of one request ID.
type dossier struct {
	*audit
	id      string
	orders  []*order
	entries []simulator.Entry
	rows    []journal.Transaction
}

// check compares the books, row by row. noStatus is set if nobody can ask the
// provider about any transaction.
func (b books) check(noStatus bool) *audit {
	a := &audit{open: make(map[string]int), noStatus: noStatus}
	dossiers := make(map[string]*dossier)
	of := func(id string) *dossier {
		if dossiers[id] == nil {
			dossiers[id] = &dossier{audit: a, id: id}
		}
		return dossiers[id]
	}
	for _, o := range b.orders {
		d := of(o.id())
		d.orders = append(d.orders, o)
	}
	for _, e := range b.entries {
		d := of(e.RequestID)
		d.entries = append(d.entries, e)
	}
	for _, t := range b.rows {
		d := of(t.RequestID)
		d.rows = append(d.rows, t)
	}
	for _, d := range dossiers {
		d.check()
	}
	return a
}

func (d *dossier) check() {
	sent := 0
	for _, o := range d.orders {
		sent += o.sent
	}
	switch {
	case sent == 0 && len(d.entries)+len(d.rows) > 0:
		d.isWrong("nobody sent it")
		return
	case len(d.entries) > 1:
		d.doubles = append(d.doubles, fmt.Sprintf("%s: executed %d times", d.id, len(d.entries)))
		return
	case len(d.rows) > 1:
		d.isWrong("it has %d rows", len(d.rows))
		return
	case len(d.rows) == 0 && len(d.entries) == 1:
		d.isLost("executed, and not in the journal")
		return
	case len(d.rows) == 0:
		for _, o := range d.orders {
			d.checkUnrecorded(o)
		}
		return
	}
	d.checkRow(&d.rows[0])
	for _, o := range d.orders {
		if o.operation == d.rows[0].Operation && o.amount == d.rows[0].Amount {
			d.checkTold(o)
		} else {
			d.checkUnrecorded(o)
		}
	}
}

// checkRow compares the journal with the ledger.
func (d *dossier) checkRow(t *journal.Transaction) {
	executed := d.entry()
	if executed != nil && (executed.Amount != t.Amount || executed.Operation != t.Operation) {
		d.isLost("executed as %s of %s, and recorded as %s of %s", executed.Operation, executed.Amount, t.Operation, t.Amount)
	}
	if t.Reversed != "" {
		d.isWrong("the provider seems to contradict itself: %s, then %s", t.State, t.Reversed)
	}
	switch {
	case t.State == journal.Created || t.State == journal.Sent:
		d.isWrong("still %s in the journal", t.State)
	case t.State.Final():
		if !d.isTrue(t.State) {
			d.isWrong("%s in the journal, and %s in the ledger", t.State, d.state())
		}
	default:
		why := whyOpen(d.noStatus, t.Operation, executed)
		if why == "" {
			d.isWrong("%s in the journal, and %s in the ledger, which the gateway could know", t.State, d.state())
		}
		d.open[why]++
	}
}

// whyOpen tells why nobody can tell the gateway what became of a transaction; ""
// if the provider can. That the provider does not know it proves nothing.
func whyOpen(noStatus bool, operation string, executed *simulator.Entry) string {
	switch {
	case noStatus || operation == walletTransfer:
		return "no status operation"
	case executed == nil:
		return "not executed"
	case executed.State == simulator.StatePending:
		return "pending at the provider"
	}
	return ""
}

// entry is the execution; nil if there was none.
func (d *dossier) entry() *simulator.Entry {
	if len(d.entries) == 0 {
		return nil
	}
	return &d.entries[0]
}

func (d *dossier) state() string {
	if e := d.entry(); e != nil {
		return string(e.State)
	}
	return "nothing"
}

// isTrue reports whether the ledger says the same as a final state.
func (d *dossier) isTrue(state journal.State) bool {
	executed := d.entry()
	switch state {
	case journal.Success:
		return executed != nil && executed.State == simulator.StateSuccess
	case journal.Failed:
		return executed != nil && executed.State == simulator.StateFailed
	case journal.Refused, journal.Unsent:
		return executed == nil
	}
	return false
}

// checkTold compares what an order was told with the ledger, and with itself.
func (d *dossier) checkTold(o *order) {
	var end *told
	onlyUnsent := true
	for i := range o.told {
		answer := &o.told[i]
		onlyUnsent = onlyUnsent && answer.status == http.StatusServiceUnavailable
		if e := d.entry(); e != nil && onlyUnsent && !o.parallel && e.Created.Before(answer.last) {
			d.isWrong("told that nothing was sent (%s) when it was executed", answer.problem)
		}
		switch answer.status {
		case 0, http.StatusServiceUnavailable, http.StatusConflict:
			continue
		case http.StatusOK:
		default:
			d.isWrong("told %d %s", answer.status, answer.problem)
			continue
		}
		d.checkAnswer(o, answer)
		switch {
		case answer.final() && end == nil:
			end = answer
		case end == nil || o.parallel && !answer.final():
		case answer.outcome != end.outcome || answer.body != end.body:
			d.isWrong("told %s %s after %s %s", answer.outcome, answer.body, end.outcome, end.body)
		}
	}
	if t := &d.rows[0]; end != nil && t.State != end.outcome {
		d.isWrong("told %s, and %s in the journal", end.outcome, t.State)
	}
}

// checkAnswer checks an answer with an outcome.
func (d *dossier) checkAnswer(o *order, answer *told) {
	switch {
	case !o.echoes(answer.body):
		d.isWrong("told of something else: %s", answer.body)
	case strings.Contains(answer.body, key):
		d.isWrong("told the key")
	case says(answer.body) != codes[answer.outcome]:
		d.isWrong("told %q as %s", answer.outcome, answer.body)
	case answer.final() && !d.isTrue(answer.outcome):
		d.isWrong("told %s, and %s in the ledger", answer.outcome, d.state())
	}
}

// codes are what `success` is in the answers that merchants may get.
var codes = map[journal.State]string{
	journal.Success: "1", journal.Failed: "0", journal.Refused: "0", journal.Pending: "2", journal.Unknown: "2",
}

// says is `success` of an answer, which may be a text or a number.
func says(body string) string {
	var answer struct{ Success any }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Success == nil {
		return "nothing"
	}
	return fmt.Sprint(answer.Success)
}

// checkUnrecorded checks an order that has no row: no answer may look as if it
// was executed.
func (d *dossier) checkUnrecorded(o *order) {
	for _, answer := range o.told {
		switch answer.status {
		case 0, http.StatusServiceUnavailable:
		case http.StatusUnprocessableEntity:
			if len(d.rows) == 0 {
				d.isWrong("told that the request ID was used, which it was not")
			}
		default:
			d.isWrong("%s of %s is not recorded, and was told %d %s %s", o.operation, o.amount, answer.status, answer.problem, answer.outcome)
		}
	}
}

func (d *dossier) isWrong(format string, args ...any) {
	d.wrong = append(d.wrong, d.line(format, args...))
}

func (d *dossier) isLost(format string, args ...any) {
	d.lost = append(d.lost, d.line(format, args...))
}

// line names the request ID and, since that explains most, what the provider
// was told to do and how the answers followed each other.
func (d *dossier) line(format string, args ...any) string {
	text := d.id + ": " + fmt.Sprintf(format, args...)
	for _, o := range d.orders {
		text += fmt.Sprintf("\n\t%s of %s, sim:%s, told", o.operation, o.amount, o.kind)
		for _, answer := range o.told {
			text += fmt.Sprintf(" %d×(%d %s%s)", answer.times, answer.status, answer.outcome, answer.problem)
		}
	}
	return text
}
