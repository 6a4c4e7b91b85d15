package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

const (
	// notifyLast is the longest time between two tries.
	notifyLast = 2 * time.Hour
	// notifyTries is how often a notification is tried: over more than four days. A
	// merchant may be down over a long weekend.
	notifyTries = 60
)

// Notifier sends a message to a merchant. It is implemented by [notify.Sender].
type Notifier interface {
	Send(ctx context.Context, m notify.Message) notify.Result
}

// Notification is the body of a notification.
type Notification struct {
	// Type is transaction.success, transaction.failed, transaction.refused,
	// transaction.unsent, transaction.reversed or transaction.test.
	Type      string           `json:"type"`
	Timestamp time.Time        `json:"timestamp"` // when it came to be so
	Data      *TransactionView `json:"data"`      // as it is now
}

// notifies reports whether the merchant is told of its transactions.
func (g *Gateway) notifies(merchant string) bool { return g.Notify[merchant] != nil }

// deliver sends a notification to its merchant.
func (g *Gateway) deliver(ctx context.Context, m journal.Message) journal.Message {
	sender, prefix, ok := g.recipient(m.Lane)
	if !ok {
		return g.outbox.later(m, "the merchant has no notify URL here", notifyLast)
	}
	t, err := g.Journal.Get(ctx, m.Transaction)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return finished(m, journal.Dead, "there is no such transaction")
	case err == nil && t.Merchant != m.Lane: // somebody has changed the rows
		return finished(m, journal.Dead, "the transaction is another merchant's")
	}
	var view *TransactionView
	if err == nil {
		view, err = g.viewOf(ctx, prefix, t)
	}
	if err != nil {
		return g.outbox.later(m, "the transaction cannot be read now", notifyLast)
	}
	body, err := json.Marshal(Notification{Type: "transaction." + m.Kind, Timestamp: m.Created.UTC(), Data: view})
	if err != nil {
		return finished(m, journal.Dead, "it cannot be written as JSON")
	}
	result := sender.Send(ctx, notify.Message{ID: messageID(m), Time: g.Now(), Body: body})
	m.Tries++
	if result.Delivered() {
		return finished(m, journal.Done, result.String())
	}
	return g.undelivered(ctx, m, result.String())
}

// undelivered is a notification that is tried again later, or given up.
func (g *Gateway) undelivered(ctx context.Context, m journal.Message, why string) journal.Message {
	if m.Tries < notifyTries || ctx.Err() != nil {
		return g.outbox.again(m, why, notifyLast)
	}
	g.Logger.ErrorContext(ctx, "a merchant could not be notified; it is not tried again unless replayed with `caddy nowpay notifications replay`",
		"merchant", m.Lane, "transaction", m.Transaction, "message", m.ID, "tries", m.Tries, "result", why)
	return finished(m, journal.Dead, why)
}

// messageID is what a merchant knows a notification by, however often it comes.
func messageID(m journal.Message) string { return "msg_" + m.ID }

// recipient is how a merchant is reached, and what is in front of its request IDs.
func (g *Gateway) recipient(merchant string) (sender Notifier, prefix string, ok bool) {
	sender = g.Notify[merchant]
	if sender == nil {
		return nil, "", false
	}
	for _, m := range g.Policy.Merchants() {
		if m.Name == merchant {
			prefix = m.RequestIDPrefix
		}
	}
	return sender, prefix, true
}

// SendTest sends a merchant a notification of a transaction that never was.
func (g *Gateway) SendTest(ctx context.Context, merchant string) (notify.Result, error) {
	sender, _, ok := g.recipient(merchant)
	if !ok {
		return notify.Result{}, fmt.Errorf("merchant %q has no notify URL", merchant)
	}
	now := g.Now().UTC()
	view := &TransactionView{
		RequestID: "TEST", Transaction: g.NewID(), Operation: "bank/payout", State: journal.Success, Outcome: journal.Success,
		Final: true, Amount: "1.00", ProviderID: "TEST", Reference: "TEST", Integrity: unverified, Created: now, Updated: now,
		Events: []EventView{},
	}
	body, err := json.Marshal(Notification{Type: "transaction.test", Timestamp: now, Data: view})
	if err != nil {
		return notify.Result{}, fmt.Errorf("writing a notification: %w", err)
	}
	return sender.Send(ctx, notify.Message{ID: "msg_" + g.NewID(), Time: now, Body: body}), nil
}
