//go:build linux

package powercut

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// callbackBooks are what is known of callbacks and notifications at the end.
type callbackBooks struct {
	rows     []journal.Transaction
	orders   []*order
	events   map[string][]journal.Event // by transaction
	messages map[string]journal.Message // by ID
	sent     []sentCallback
	receipts []receipt                  // in the order in which they came
	revised  map[string]simulator.State // what the provider made of what was final, by request ID
	noStatus bool
}

// sentCallback is one with the ID that it has in the journal.
type sentCallback struct {
	simulator.Callback
	id string
}

// callbackAudit is what is wrong with them, and what there was.
type callbackAudit struct {
	lost  []string // acknowledged and not acted on; to be told and not told
	wrong []string // contradicts the books, or goes where it does not belong

	acked, down, cut, refused, unavailable int // callbacks, by their replies
	left                                   int // acknowledged callbacks that were left to a person
	unheard                                int // pending, and its callback was not answered
	late                                   int // told that an outcome is not known that the exchange then knew
	repeated                               int // notifications that came again
	reversed                               int // transactions with one of the success, and one of its reversal
	settled                                map[journal.Cause]int
}

func (a *callbackAudit) isLost(format string, args ...any) {
	a.lost = append(a.lost, fmt.Sprintf(format, args...))
}

func (a *callbackAudit) isWrong(format string, args ...any) {
	a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
}

// check compares them, row by row.
func (b callbackBooks) check() *callbackAudit {
	a := &callbackAudit{settled: make(map[journal.Cause]int)}
	byID, byRequest := make(map[string]*journal.Transaction), make(map[string]*journal.Transaction)
	for i := range b.rows {
		byID[b.rows[i].ID], byRequest[b.rows[i].RequestID] = &b.rows[i], &b.rows[i]
	}
	unheard := make(map[string]bool)
	seen := make(map[string]int)
	for _, c := range b.sent {
		a.reply(c)
		t := byRequest[c.RequestID]
		switch {
		case c.Status == http.StatusOK:
			seen[c.id]++
			b.checkAcknowledged(a, c, t)
		case t != nil && t.State == journal.Pending && !unheard[t.ID]:
			unheard[t.ID] = true
			a.unheard++
		}
	}
	for id, n := range seen {
		if m, ok := b.messages[id]; ok && m.Seen < n {
			a.isLost("callback %s of transaction %s was acknowledged %d times and is counted %d times", id, m.Transaction, n, m.Seen)
		}
	}
	taken := b.checkReceipts(a, byID)
	b.checkOutbox(a, taken)
	told := b.toldNothing()
	for i := range b.rows {
		b.checkTold(a, &b.rows[i], told[b.rows[i].RequestID], taken)
	}
	return a
}

// reply counts a callback by its reply. Only one from elsewhere is refused.
func (a *callbackAudit) reply(c sentCallback) {
	elsewhere := c.Fault == simulator.CallbackWrongSource
	switch {
	case c.Status == http.StatusOK && !elsewhere:
		a.acked++
	case c.Status == http.StatusForbidden && elsewhere:
		a.refused++
	case c.Status == http.StatusServiceUnavailable:
		a.unavailable++
	case c.Status == 0 && strings.Contains(c.Error, "refused"):
		a.down++
	case c.Status == 0 && c.Error != "":
		a.cut++
	case c.Status == 0: // lost on purpose
	default:
		a.isWrong("the callback of %s (%s) was answered with %d", c.RequestID, c.Fault, c.Status)
	}
}

// genuine reports whether a callback says what the provider's books do.
func genuine(c sentCallback) bool {
	switch c.Fault {
	case simulator.CallbackWrongProviderID, simulator.CallbackWrongRequestID, simulator.CallbackJunk, simulator.CallbackContradicts:
		return false
	}
	return true
}

// checkAcknowledged looks for a callback in the journal, and for what came of it.
func (b callbackBooks) checkAcknowledged(a *callbackAudit, c sentCallback, t *journal.Transaction) {
	m, ok := b.messages[c.id]
	switch {
	case !ok:
		a.isLost("the callback of %s (%s) was acknowledged, and is not in the journal", c.RequestID, c.Fault)
		return
	case m.Box != journal.Inbox || m.State == journal.Waiting:
		a.isWrong("the callback %s of %s is %s in box %s", m.ID, c.RequestID, m.State, m.Box)
		return
	case !genuine(c):
		return // what it has not done the other books tell
	case t == nil:
		a.isLost("the callback %s of %s was acknowledged, and there is no such transaction", m.ID, c.RequestID)
		return
	case m.State != journal.Done || m.Transaction != t.ID:
		a.isLost("the callback %s of %s is %s and of transaction %q: %s; %s", m.ID, c.RequestID, m.State, m.Transaction, m.Note, b.story(t))
		return
	case t.State.Final():
		says := b.revised[c.RequestID]
		switch {
		case says != c.State || t.State == journal.State(says) || t.Reversed == journal.State(says):
		default:
			a.isLost("the callback %s of %s did not have the provider contradict itself: %s; %s", m.ID, c.RequestID, m.Note, b.story(t))
		}
		return // and true, as the other books tell
	}
	switch known, person := b.rank(t, journal.Kind(journal.Pending)), b.rank(t, journal.KindAttention); {
	case !b.noStatus && t.Operation != walletTransfer:
		a.isLost("the callback %s of %s did not have the provider asked; %s", m.ID, c.RequestID, b.story(t))
	case t.Attention.IsZero() || person == 0:
		a.isLost("the callback %s of %s has done nothing: %s; %s", m.ID, c.RequestID, m.Note, b.story(t))
	case t.State == journal.Pending && t.ProviderID == c.ProviderID && known < person:
		a.isLost("the callback %s of %s was left to a person, though both ids were known: %s; %s", m.ID, c.RequestID, m.Note, b.story(t))
	default:
		a.left++
	}
}

// rank is the number of the last event of a kind; 0 if there is none.
func (b callbackBooks) rank(t *journal.Transaction, kind journal.Kind) (seq int) {
	for _, e := range b.events[t.ID] {
		if e.Kind == kind {
			seq = e.Seq
		}
	}
	return seq
}

// checkReceipts looks at each notification that came, and returns the IDs of the
// messages that were taken.
func (b callbackBooks) checkReceipts(a *callbackAudit, rows map[string]*journal.Transaction) map[string]bool {
	taken, came, last := make(map[string]bool), make(map[string]bool), make(map[string]int)
	for _, r := range b.receipts {
		m, ok := b.messages[strings.TrimPrefix(r.id, "msg_")]
		t := rows[m.Transaction]
		switch {
		case r.err != nil:
			a.isWrong("%s got %s, which is not genuine: %v", r.merchant, r.id, r.err)
			continue
		case !ok || m.Box != journal.Outbox || t == nil:
			a.isWrong("%s got %s, of which the journal knows nothing", r.merchant, r.id)
			continue
		}
		if why := b.unlike(r, m, t); why != "" {
			a.isWrong("%s got %s of %s, %s; %s", r.merchant, r.id, r.Data.RequestID, why, b.story(t))
		}
		if m.Seq < last[t.ID] {
			a.isWrong("%s got %s after version %d; %s", r.merchant, r.id, last[t.ID], b.story(t))
		}
		last[t.ID] = m.Seq
		if came[m.ID] {
			a.repeated++
		}
		came[m.ID] = true
		taken[m.ID] = taken[m.ID] || r.taken
	}
	return taken
}

// unlike says in what a notification differs from its transaction.
func (b callbackBooks) unlike(r receipt, m journal.Message, t *journal.Transaction) string {
	switch {
	case r.merchant != t.Merchant || m.Lane != t.Merchant:
		return "which is of " + t.Merchant
	case r.Data.Transaction != t.ID || prefixOf(t.Merchant)+r.Data.RequestID != t.RequestID || r.Data.Amount != t.Amount.String():
		return "which is " + t.RequestID + " of " + t.Amount.String()
	case r.Type != "transaction."+m.Kind || m.Kind != string(b.stateAt(t, m.Seq)):
		return "as " + r.Type + " of a version that is " + string(b.stateAt(t, m.Seq))
	case r.Data.State != t.State || !r.Data.Final || r.Data.Reversed != "" && r.Data.Reversed != t.Reversed:
		return "which is " + string(t.State) + " now, and not " + string(r.Data.State)
	}
	return ""
}

// prefixOf is what is in front of a merchant's request IDs.
func prefixOf(merchant string) string {
	if merchant == "kiosk" {
		return kioskPrefix
	}
	return ""
}

// stateAt is the state of a transaction at one of its versions.
func (b callbackBooks) stateAt(t *journal.Transaction, version int) (state journal.Kind) {
	for _, e := range b.events[t.ID] {
		if e.Seq <= version && e.Kind != journal.KindAttention {
			state = e.Kind
		}
	}
	return state
}

// checkOutbox makes sure that what counts as delivered was.
func (b callbackBooks) checkOutbox(a *callbackAudit, taken map[string]bool) {
	for _, m := range b.messages {
		switch {
		case m.Box != journal.Outbox:
		case m.State != journal.Done:
			a.isWrong("the notification %s is %s: %s", m.ID, m.State, m.Note)
		case !taken[m.ID]:
			a.isLost("the notification %s counts as delivered (%s), and %s did not take it", m.ID, m.Note, m.Lane)
		}
	}
}

// toldNothing are the request IDs whose merchants were told first, by an answer,
// that the outcome is not known.
func (b callbackBooks) toldNothing() map[string]bool {
	nothing := make(map[string]bool)
	for _, o := range b.orders {
		first := slices.IndexFunc(o.told, func(t told) bool { return t.status == http.StatusOK })
		if first >= 0 && !o.told[first].outcome.Final() {
			nothing[o.id()] = true
		}
	}
	return nothing
}

// checkTold makes sure that the merchant was told what the exchange's answer did
// not tell it.
func (b callbackBooks) checkTold(a *callbackAudit, t *journal.Transaction, toldNothing bool, taken map[string]bool) {
	var last journal.Event
	for _, e := range b.events[t.ID] {
		if e.Kind == journal.Kind(t.State) {
			last = e
		}
	}
	if !t.State.Final() {
		return
	}
	a.settled[last.Cause]++
	byExchange := last.Cause == journal.ByExchange
	if byExchange && toldNothing {
		a.late++
	}
	told := taken[messageOf(t, last.Seq)]
	if (!byExchange || toldNothing) && !told {
		a.isLost("%s became %s by %s, and %s was not told; %s", t.RequestID, t.State, last.Cause, t.Merchant, b.story(t))
	}
	if t.Reversed == "" {
		return
	}
	if !taken[messageOf(t, b.rank(t, journal.KindReversed))] {
		a.isLost("%s was reversed, and %s was not told; %s", t.RequestID, t.Merchant, b.story(t))
	} else if told {
		a.reversed++
	}
}

// messageOf is the ID of the notification of a version.
func messageOf(t *journal.Transaction, version int) string { return t.ID + "-" + strconv.Itoa(version) }

// story is what the journal says of a transaction.
func (b callbackBooks) story(t *journal.Transaction) string {
	text := fmt.Sprintf("%s %s, %s, provider's id %q:", t.ID, t.Operation, t.State, t.ProviderID)
	for _, e := range b.events[t.ID] {
		text += fmt.Sprintf(" %s by %s,", e.Kind, e.Cause)
	}
	for _, o := range b.orders {
		if o.id() == t.RequestID {
			text += fmt.Sprintf(" sim:%s, told", o.kind)
			for _, answer := range o.told {
				text += fmt.Sprintf(" %d×(%d %s%s)", answer.times, answer.status, answer.outcome, answer.problem)
			}
		}
	}
	return text
}
