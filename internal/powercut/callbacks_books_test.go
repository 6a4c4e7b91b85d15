//go:build linux

package powercut

import (
	"net/url"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// audit compares all books, when the gateways have ended.
func (w *callbackWorld) audit() {
	w.t.Helper()
	j := w.openJournal(w.store(), w.keyFile)
	defer j.Close()
	b := w.readBooks(j)
	payments := w.before(b).check(w.noStatus)
	w.complain(map[string][]string{"double": payments.doubles, "lost": payments.lost, "wrong": payments.wrong})
	books := w.readCallbacks(j, b)
	a := books.check()
	w.showCallbacks(payments, a, books)
	w.complain(map[string][]string{"callbacks, lost": a.lost, "callbacks, wrong": a.wrong})
}

// readCallbacks reads all there is about callbacks and notifications.
func (w *callbackWorld) readCallbacks(j *journal.Journal, b books) callbackBooks {
	w.t.Helper()
	books := callbackBooks{
		rows: b.rows, orders: b.orders, receipts: w.receiver.receipts(), noStatus: w.noStatus, revised: w.revised,
		events: make(map[string][]journal.Event), messages: make(map[string]journal.Message),
	}
	for _, t := range b.rows {
		events, err := j.Events(w.t.Context(), t.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		books.events[t.ID] = events
	}
	for m, err := range j.Messages(w.t.Context(), journal.MessageFilter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		books.messages[m.ID] = m
	}
	for _, c := range w.sent {
		digest := received(c).Digest()
		id, err := j.MessageID(digest[:])
		if err != nil {
			w.t.Fatal(err)
		}
		books.sent = append(books.sent, sentCallback{c, id})
	}
	return books
}

// received is a callback as the gateway gets it.
func received(c simulator.Callback) callback.Received {
	r := callback.Received{Method: c.Method, ContentType: c.ContentType, Body: []byte(c.Body)}
	if u, err := url.Parse(c.URL); err == nil {
		r.Query = u.RawQuery
	}
	return r
}

// showCallbacks prints the figures.
func (w *callbackWorld) showCallbacks(payments *audit, a *callbackAudit, b callbackBooks) {
	w.t.Helper()
	states := make(map[journal.State]int)
	for _, t := range b.rows {
		states[t.State]++
	}
	notices, persons := make(map[journal.MessageState]int), 0
	for _, m := range b.messages {
		if m.Box == journal.Outbox {
			notices[m.State]++
		}
	}
	for _, t := range b.rows {
		if !t.Attention.IsZero() {
			persons++
		}
	}
	w.t.Logf("seed %d: %d kills, %d restarts of the database, %d outages of the provider", w.seed, w.kills(), w.restarts, w.outages)
	w.t.Logf("the journal: %d transactions %v, open for good reasons %v, need a person %d", len(b.rows), states, payments.open, persons)
	w.t.Logf("callbacks: %d sent, %d acknowledged, %d found nobody, %d cut, %d not recorded, %d refused",
		len(b.sent), a.acked, a.down, a.cut, a.unavailable, a.refused)
	w.t.Logf("final by %v; %d acknowledged callbacks left to a person, %d pending whose callback was not answered", a.settled, a.left, a.unheard)
	w.t.Logf("notifications: %v, received %d, repeated %d, of what was told as not known %d; %v", notices, len(b.receipts), a.repeated, a.late, w.receiver.refused)
	if !w.noStatus {
		w.t.Logf("%d revised by the provider, of which merchants were told %d", len(w.revised), a.reversed)
	}
	w.t.Logf("doubles %d, lost %d, wrong %d", len(payments.doubles), len(payments.lost)+len(a.lost), len(payments.wrong)+len(a.wrong))
	must := map[string]int{
		"acknowledged callbacks": a.acked, "callbacks without an answer": a.down + a.cut, "refused callbacks": a.refused,
		"transactions settled by callbacks": a.settled[journal.ByCallback], "repeated notifications": a.repeated,
		"errors of merchants":    w.receiver.refused["answered 500"],
		"merchants that hung up": w.receiver.refused["hung up"],
	}
	if w.noStatus {
		if w.restarts > 0 {
			must["outcomes that were told as not known"] = a.late
		}
		must["callbacks that were left to a person"] = a.left
	} else {
		must["transactions settled in the background"] = a.settled[journal.ByReconciliation]
		must["transactions with two notifications"] = a.reversed
	}
	w.mustHaveHappened(must)
}
