//go:build linux

package powercut

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// settledByCallback are the books of one payout that a callback has settled, and
// whose merchant was told. All is as it should be.
func settledByCallback() *callbackBooks {
	const tx, amount = "T1", nowpay.Paise(150)
	b := &callbackBooks{noStatus: true}
	b.rows = []journal.Transaction{{
		ID: tx, RequestID: "Km1n1", Merchant: "kiosk", Operation: payout, Amount: amount, State: journal.Success, ProviderID: "99",
	}}
	b.orders = []*order{{prefix: kioskPrefix, requestID: "m1n1", operation: payout, amount: amount, sent: 1, told: answered(ok("pending"))}}
	b.events = map[string][]journal.Event{tx: {
		{Seq: 1, Kind: "sent", Cause: journal.ByExchange},
		{Seq: 2, Kind: "pending", Cause: journal.ByExchange},
		{Seq: 3, Kind: "success", Cause: journal.ByCallback},
	}}
	b.messages = map[string]journal.Message{
		"cb_1": {ID: "cb_1", Box: journal.Inbox, Transaction: tx, State: journal.Done, Seen: 1},
		"T1-3": {ID: "T1-3", Box: journal.Outbox, Lane: "kiosk", Transaction: tx, Seq: 3, Kind: "success", State: journal.Done},
	}
	b.sent = []sentCallback{{simulator.Callback{RequestID: "Km1n1", ProviderID: "99", State: simulator.StateSuccess, Status: http.StatusOK}, "cb_1"}}
	b.receipts = []receipt{{merchant: "kiosk", id: "msg_T1-3", taken: true, Type: "transaction.success"}}
	data := &b.receipts[0].Data
	data.RequestID, data.Transaction, data.State, data.Final, data.Amount = "m1n1", tx, journal.Success, true, amount.String()
	return b
}

// message changes one.
func (b *callbackBooks) message(id string, change func(*journal.Message)) {
	m := b.messages[id]
	change(&m)
	b.messages[id] = m
}

// leave takes back what the callback has settled.
func (b *callbackBooks) leave(state journal.State, events ...journal.Event) {
	b.rows[0].State = state
	b.events["T1"] = append(b.events["T1"][:1], events...)
	delete(b.messages, "T1-3")
	b.receipts = nil
}

// reverse lets the provider change its mind, of which the merchant is told too.
func (b *callbackBooks) reverse() {
	b.rows[0].Reversed = journal.Failed
	b.events["T1"] = append(b.events["T1"], journal.Event{Seq: 4, Kind: journal.KindReversed, Cause: journal.ByCallback})
	m := b.messages["T1-3"]
	m.ID, m.Seq, m.Kind = "T1-4", 4, "reversed"
	b.messages[m.ID] = m
	again := b.receipts[0]
	again.id, again.Type, again.Data.Reversed = "msg_T1-4", "transaction.reversed", journal.Failed
	b.receipts = append(b.receipts, again)
}

// TestCallbackAudit shows that the audit of callbacks and notifications finds what
// it is for, and nothing else.
func TestCallbackAudit(t *testing.T) {
	pending := journal.Event{Seq: 2, Kind: "pending", Cause: journal.ByExchange}
	person := journal.Event{Seq: 3, Kind: journal.KindAttention, Cause: journal.ByCallback}
	for _, test := range []struct {
		name   string
		change func(*callbackBooks)
		want   string // "", or "<kind>: <part of the line>"
	}{
		{"all is well", func(*callbackBooks) {}, ""},
		{"not answered, and pending", func(b *callbackBooks) { b.sent[0].Status = 0; b.leave(journal.Pending, pending) }, ""},
		{"not answered, and settled", func(b *callbackBooks) { b.sent[0].Status = 0 }, ""},
		{"left to a person", func(b *callbackBooks) {
			b.leave(journal.Unknown, person)
			b.rows[0].ProviderID, b.rows[0].Attention = "", at(1)
		}, ""},
		{"told by the answer", func(b *callbackBooks) {
			b.sent = nil
			b.leave(journal.Success, journal.Event{Seq: 2, Kind: "success", Cause: journal.ByExchange})
			b.orders[0].told = answered(ok("success"))
		}, ""},
		{"refused at first", func(b *callbackBooks) { b.receipts = append([]receipt{untaken(b)}, b.receipts...) }, ""},
		{"reversed", (*callbackBooks).reverse, ""},
		{"junk that is of no use", func(b *callbackBooks) {
			b.sent[0].Fault = simulator.CallbackJunk
			b.message("cb_1", func(m *journal.Message) { m.State, m.Transaction = journal.Dead, "" })
		}, ""},

		{"acknowledged, not recorded", func(b *callbackBooks) { delete(b.messages, "cb_1") }, "lost: is not in the journal"},
		{"acknowledged, of no use", func(b *callbackBooks) { b.message("cb_1", func(m *journal.Message) { m.State = journal.Dead }) }, "lost: is dead"},
		{"acknowledged, of another", func(b *callbackBooks) { b.message("cb_1", func(m *journal.Message) { m.Transaction = "T2" }) }, "lost: of transaction \"T2\""},
		{"acknowledged, waits", func(b *callbackBooks) { b.message("cb_1", func(m *journal.Message) { m.State = journal.Waiting }) }, "wrong: is waiting"},
		{"acknowledged twice, counted once", func(b *callbackBooks) { b.sent = append(b.sent, b.sent[0]) }, "lost: acknowledged 2 times"},
		{"acknowledged, nothing done", func(b *callbackBooks) { b.leave(journal.Pending, pending) }, "lost: has done nothing"},
		{"left to a person without need", func(b *callbackBooks) {
			b.leave(journal.Pending, pending, person)
			b.rows[0].Attention = at(1)
		}, "lost: though both ids were known"},
		{"not asked", func(b *callbackBooks) { b.noStatus = false; b.leave(journal.Pending, pending) }, "lost: did not have the provider asked"},
		{"from elsewhere, taken", func(b *callbackBooks) { b.sent[0].Fault = simulator.CallbackWrongSource }, "wrong: answered with 200"},
		{"from the provider, refused", func(b *callbackBooks) { b.sent[0].Status = http.StatusForbidden }, "wrong: answered with 403"},
		{"revised, and not seen", func(b *callbackBooks) {
			b.revised = map[string]simulator.State{"Km1n1": simulator.StateFailed}
			b.sent[0].State = simulator.StateFailed
		}, "lost: contradict itself"},

		{"not told", func(b *callbackBooks) { delete(b.messages, "T1-3"); b.receipts = nil }, "lost: was not told"},
		{"not told of what was told as not known", func(b *callbackBooks) {
			b.sent = nil
			b.leave(journal.Success, journal.Event{Seq: 2, Kind: "success", Cause: journal.ByExchange})
			b.orders[0].told = answered(ok("unknown"))
		}, "lost: by exchange, and kiosk was not told"},
		{"not told of the reversal", func(b *callbackBooks) {
			b.reverse()
			delete(b.messages, "T1-4")
			b.receipts = b.receipts[:1]
		}, "lost: was reversed, and kiosk was not told"},
		{"delivered, and not taken", func(b *callbackBooks) { b.receipts[0].taken = false }, "lost: counts as delivered"},
		{"given up", func(b *callbackBooks) { b.message("T1-3", func(m *journal.Message) { m.State = journal.Dead }) }, "wrong: is dead"},
		{"the other way round", func(b *callbackBooks) {
			b.reverse()
			b.receipts[0], b.receipts[1] = b.receipts[1], b.receipts[0]
		}, "wrong: after version 4"},
		{"not genuine", func(b *callbackBooks) { b.receipts[0].err = errors.New("signature") }, "wrong: not genuine"},
		{"repeated by another id", func(b *callbackBooks) {
			again := b.receipts[0]
			again.id = "msg_T1-3-again"
			b.receipts = append(b.receipts, again)
		}, "wrong: knows nothing"},
		{"of another merchant", func(b *callbackBooks) { b.receipts[0].merchant = "shop" }, "wrong: which is of kiosk"},
		{"of another request", func(b *callbackBooks) { b.receipts[0].Data.RequestID = "m1n2" }, "wrong: which is Km1n1"},
		{"of another type", func(b *callbackBooks) { b.receipts[0].Type = "transaction.failed" }, "wrong: as transaction.failed"},
		{"of another state", func(b *callbackBooks) { b.receipts[0].Data.State = journal.Failed }, "wrong: and not failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := settledByCallback()
			test.change(b)
			a := b.check()
			found := make([]string, 0, len(a.lost)+len(a.wrong))
			for _, line := range a.lost {
				found = append(found, "lost: "+line)
			}
			for _, line := range a.wrong {
				found = append(found, "wrong: "+line)
			}
			checkFound(t, found, test.want)
		})
	}
}

// untaken is the notification, answered with an error.
func untaken(b *callbackBooks) receipt {
	r := b.receipts[0]
	r.taken = false
	return r
}

// checkFound wants a line of the kind and with the part, or none.
func checkFound(t *testing.T, found []string, want string) {
	t.Helper()
	kind, part, _ := strings.Cut(want, ": ")
	for _, line := range found {
		if want != "" && strings.HasPrefix(line, kind+": ") && strings.Contains(line, part) {
			return
		}
	}
	if want != "" || len(found) > 0 {
		t.Errorf("found %q, want %q", found, want)
	}
}
