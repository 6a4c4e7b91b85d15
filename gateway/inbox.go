package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

const (
	// inboxLast is the longest time between two looks at a callback.
	inboxLast = 10 * time.Minute
	// inboxTries is how often the provider is asked because of one callback. What
	// it does not confirm then is left to the background.
	inboxTries = 6
	// inboxFor is how long a callback may wait for its transaction to be known.
	inboxFor = time.Hour
)

// workOff does what a callback asks for: it has the provider asked, or settles
// what may be settled by a callback alone. It changes no final state.
func (g *Gateway) workOff(ctx context.Context, m journal.Message) journal.Message {
	content, err := g.Journal.MessageContent(&m)
	if err != nil {
		return finished(m, journal.Dead, "it cannot be decrypted")
	}
	if g.Callbacks == nil { // another gateway takes them, or this one again after a reload
		return g.inbox.later(m, "no callbacks are configured", inboxLast)
	}
	var received callback.Received
	if err := json.Unmarshal(content, &received); err != nil {
		return finished(m, journal.Dead, "it cannot be read")
	}
	says, err := g.Callbacks.Shapes.Read(received)
	if err != nil {
		return finished(m, journal.Dead, err.Error())
	}
	t, err := g.matching(ctx, says)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return g.unmatched(ctx, m, says)
	case err != nil:
		return g.inbox.later(m, "the transaction cannot be read now", inboxLast)
	}
	m.Transaction = t.ID
	switch {
	case t.State == journal.Created || t.State == journal.Sent: // it overtook the answer
		return g.inbox.later(m, "the request is not answered yet", inboxLast)
	case says.Says == nowpay.Unknown:
		return finished(m, journal.Dead, "its state is none that is known")
	case agrees(t.State, says.Says) && t.Reversed == "":
		return finished(m, journal.Done, "it says what is known")
	case g.asksAbout(t) && g.canAskBy(t, says):
		return g.askBecause(ctx, m, t, says)
	}
	return g.believeCallback(ctx, m, t, says)
}

// unmatched is for a callback of no transaction. One that names no request ID may
// have overtaken the answer in which the provider tells its own.
func (g *Gateway) unmatched(ctx context.Context, m journal.Message, says callback.Callback) journal.Message {
	if says.RequestID == "" && g.Now().Sub(m.Created) < inboxFor {
		return g.inbox.later(m, "no transaction has this provider's id yet", inboxLast)
	}
	g.Logger.WarnContext(ctx, "a callback is of no transaction, or its ids and its amount are not of the same one", "message", m.ID, "shape", m.Kind)
	return finished(m, journal.Dead, "no transaction has these ids and this amount")
}

// agrees reports whether a callback says what is known.
func agrees(state journal.State, says nowpay.Outcome) bool {
	return state == journal.State(says) || says == nowpay.Failed && (state == journal.Refused || state == journal.Unsent) ||
		says == nowpay.Pending && state == journal.Unknown
}

// canAskBy reports whether the provider can be asked about the transaction. Where
// its id is known from the callback alone, the status must repeat ours: else it
// could be that of another transaction.
func (g *Gateway) canAskBy(t journal.Transaction, says callback.Callback) bool {
	if g.canAsk(t) {
		return true
	}
	operation, ok := g.Catalogue.Lookup(t.Operation)
	if !ok || operation.Status == nil || says.ProviderID == "" {
		return false
	}
	repeats := slices.ContainsFunc(operation.Status.Match, func(f nowpay.StatusField) bool { return f.Source == nowpay.SourceRequestID })
	t.ProviderID = says.ProviderID
	return repeats && g.canAsk(t)
}

// askBecause has the provider asked: what its status says counts, not what the
// callback does.
func (g *Gateway) askBecause(ctx context.Context, m journal.Message, t journal.Transaction, says callback.Callback) journal.Message {
	if t.ProviderID == "" {
		t.ProviderID = says.ProviderID
	}
	if g.asking.often(t.ID, g.Now()) {
		m.Note, m.Due = "the provider was asked a moment ago", g.Now().Add(askAgain)
		return m
	}
	after, err := g.revalidate(ctx, t, journal.ByCallback)
	switch {
	case err == nil && after.Reversed == "" && agrees(after.State, says.Says):
		return finished(m, journal.Done, "the provider's status confirms it")
	case m.Tries+1 < inboxTries && err != nil:
		return g.inbox.later(m, "the provider could not be asked", inboxLast)
	case m.Tries+1 < inboxTries && !after.State.Final():
		return g.inbox.later(m, "the provider's status does not confirm it yet", inboxLast)
	}
	if err == nil && after.State.Final() {
		g.Logger.ErrorContext(ctx, "a callback contradicts what the provider's status says of a transaction",
			"message", m.ID, "transaction", t.ID, "merchant", t.Merchant, "state", string(after.State), "callback_says", string(says.Says))
	}
	return finished(m, journal.Done, "the provider's status does not confirm it")
}

// believeCallback is for a transaction about which the provider cannot be asked.
func (g *Gateway) believeCallback(ctx context.Context, m journal.Message, t journal.Transaction, says callback.Callback) journal.Message {
	change := journal.Change{
		Cause: journal.ByCallback, From: t.State, Attempt: t.Attempt,
		Evidence: evidenceText(map[string]any{"callback": m.ID, "shape": says.Shape, "callback_says": says.Says}),
		Next:     g.next, Notify: g.notifies(t.Merchant),
	}
	var note string
	switch {
	case t.State.Final() || t.Reversed != "":
		change.Attention, note = true, "it contradicts what is final; a person decides"
	case !g.Callbacks.Settle:
		change.Attention, note = true, "left to a person"
	case says.RequestID == "" || says.ProviderID == "" || says.ProviderID != t.ProviderID:
		change.Attention, note = true, "not both ids are known and the same; left to a person"
	case says.Says == nowpay.Success && g.lacksReference(t, says):
		change.Attention, note = true, "it says success without the bank's reference; left to a person"
	default:
		change.State, change.Reference, change.Integrity = journal.State(says.Says), says.Reference, unverified
		note = "settled by it"
	}
	after, err := g.Journal.Change(ctx, t.ID, change)
	switch {
	case errors.Is(err, journal.ErrTransition): // something else was quicker: what it says is compared again
		return g.inbox.later(m, "the transaction has changed meanwhile", inboxLast)
	case err != nil:
		return g.inbox.later(m, "the journal cannot be written now", inboxLast)
	case change.Attention && t.Attention.IsZero() && !after.Attention.IsZero():
		g.Logger.ErrorContext(ctx, "a callback needs a person: settle the transaction with `caddy nowpay transactions settle`",
			"message", m.ID, "transaction", t.ID, "merchant", t.Merchant, "state", string(t.State), "callback_says", string(says.Says), "why", note)
	}
	return finished(m, journal.Done, note)
}

// lacksReference reports whether the operation's success has a reference, and the
// callback names none.
func (g *Gateway) lacksReference(t journal.Transaction, says callback.Callback) bool {
	operation, ok := g.Catalogue.Lookup(t.Operation)
	return !ok || len(operation.SuccessNeeds) > 0 && says.Reference == ""
}
