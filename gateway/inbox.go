package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	// inboxKeep is how long a callback waits that cannot be read now.
	inboxKeep = 7 * 24 * time.Hour
)

// workOff does what a callback asks for: it has the provider asked, or settles
// what may be settled by a callback alone. It changes no final state.
func (g *Gateway) workOff(ctx context.Context, m journal.Message) journal.Message {
	received, err := g.received(m)
	if err != nil { // it may be a data key that another gateway has just made
		if g.inbox.age(m) < inboxKeep {
			return g.inbox.later(m, "it cannot be decrypted now", inboxLast)
		}
		g.Logger.ErrorContext(ctx, "a callback cannot be read", "message", m.ID, "error", err)
		return finished(m, journal.Dead, "it cannot be decrypted")
	}
	says, err := g.Callbacks.Shapes.Read(received.Received)
	if err != nil {
		return finished(m, journal.Dead, err.Error())
	}
	t, err := g.matching(ctx, says, received.Accounts)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return g.unmatched(ctx, m, says.RequestID == "" || errors.Is(err, errSeveral))
	case err != nil:
		return g.inbox.later(m, "the transaction cannot be read now", inboxLast)
	}
	m.Transaction = t.ID
	canAsk := g.asksAbout(t) && g.canAskBy(t, says)
	switch {
	case t.State == journal.Created || t.State == journal.Sent: // it overtook the answer
		return g.inbox.later(m, "the request is not answered yet", inboxLast)
	case agrees(t.State, says.Says) && t.Reversed == "" && (g.canAsk(t) || !canAsk):
		return finished(m, journal.Done, "it says what is known")
	case canAsk: // also if it says nothing that is known, or that it is pending, with an id to ask by
		return g.askBecause(ctx, m, t, says)
	}
	return g.believeCallback(ctx, m, t, says)
}

// received is the callback as it came.
func (g *Gateway) received(m journal.Message) (received receivedCallback, err error) {
	content, err := g.Journal.MessageContent(&m)
	if err != nil {
		return received, err
	}
	if err := json.Unmarshal(content, &received); err != nil {
		return received, fmt.Errorf("decoding a callback: %w", err)
	}
	return received, nil
}

// unmatched is for a callback of no transaction. It may have overtaken the answer
// in which the provider tells its own id.
func (g *Gateway) unmatched(ctx context.Context, m journal.Message, overtaken bool) journal.Message {
	if overtaken && g.inbox.age(m) < inboxFor {
		return g.inbox.later(m, "no transaction has this provider's id yet", inboxLast)
	}
	g.Logger.WarnContext(ctx, "a callback is of no transaction, or its ids and its amount are not of the same one", "message", m.ID, "shape", m.Kind)
	return finished(m, journal.Dead, "no transaction has these ids and this amount")
}

// agrees reports whether a callback says what is known.
func agrees(state journal.State, says nowpay.Outcome) bool {
	switch says {
	case nowpay.Failed:
		return state == journal.Failed || state == journal.Refused || state == journal.Unsent
	case nowpay.Pending:
		return state == journal.Pending || state == journal.Unknown
	case nowpay.Success:
		return state == journal.Success
	case nowpay.Unknown, nowpay.Refused, nowpay.Unsent:
	}
	return false
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
	alone := !g.canAsk(t) // only the callback has the id to ask by
	if alone {
		t.ProviderID = says.ProviderID
	}
	if g.asking.often(t.ID, g.Now()) {
		m.Note, m.Due = "the provider was asked a moment ago", g.Now().Add(askAgain)
		return m
	}
	asking, cancel := context.WithTimeout(ctx, postLease/2)
	defer cancel()
	told, err := g.inquire(asking, t, journal.ByCallback)
	if errors.Is(err, ErrAskedOften) {
		return g.inbox.later(m, "the provider is asked as often as it may be", inboxLast)
	}
	m.Tries++
	after := t
	if err == nil {
		after = told.Transaction
		alone = alone && !g.canAsk(after)
	}
	state, word := after.State, told.Verdict.Outcome
	nothing := err != nil || word == nowpay.Unknown
	switch {
	case !nothing && agrees(journal.State(word), says.Says) && (after.Reversed == journal.State(word) || agrees(state, says.Says)):
		return finished(m, journal.Done, "the provider's status confirms it")
	case !nothing && (says.Says == nowpay.Unknown || says.Says == nowpay.Pending):
		return finished(m, journal.Done, "the provider was asked")
	case ctx.Err() != nil: // cut short
		return m
	case (nothing || !state.Final()) && (m.Tries < inboxTries || alone && g.inbox.age(m) < g.Reconcile.PersonAfter):
		note := "the provider's status does not confirm it yet"
		if nothing {
			note = "the provider gave no answer that can be trusted"
		}
		return g.inbox.again(m, note, inboxLast)
	case alone && !state.Final(): // nobody else has the id
		return g.needsPerson(ctx, m, t, says, "the provider could not be asked by its id; left to a person")
	case nothing && state.Final():
		return g.needsPerson(ctx, m, t, says, "it contradicts what is final, and the provider does not say; a person decides")
	case state.Final():
		g.Logger.ErrorContext(ctx, "a callback contradicts what the provider's status says of a transaction",
			"message", m.ID, "transaction", t.ID, "merchant", t.Merchant, "state", string(state), "callback_says", string(says.Says))
	}
	return finished(m, journal.Done, "the provider's status does not confirm it")
}

// believeCallback is for a transaction about which the provider cannot be asked.
func (g *Gateway) believeCallback(ctx context.Context, m journal.Message, t journal.Transaction, says callback.Callback) journal.Message {
	switch {
	case says.Says == nowpay.Unknown && !exact(t, says):
		return finished(m, journal.Dead, "its state is none that is known")
	case says.Says == nowpay.Unknown:
		return g.needsPerson(ctx, m, t, says, "its state is none that is known; left to a person")
	case t.State.Final() || t.Reversed != "":
		return g.needsPerson(ctx, m, t, says, "it contradicts what is final; a person decides")
	case !g.Callbacks.Settle:
		return g.needsPerson(ctx, m, t, says, "left to a person")
	case !exact(t, says):
		return g.needsPerson(ctx, m, t, says, "not both ids are known and the same; left to a person")
	case says.Says == nowpay.Success && g.lacksReference(t, says):
		return g.needsPerson(ctx, m, t, says, "it says success without the bank's reference; left to a person")
	}
	change := g.byCallback(m, t, says)
	change.State, change.Reference, change.Integrity = journal.State(says.Says), says.Reference, unverified
	_, m = g.changeBy(ctx, m, t, change, "settled by it")
	return m
}

// needsPerson calls for a person because of a callback.
func (g *Gateway) needsPerson(ctx context.Context, m journal.Message, t journal.Transaction, says callback.Callback, why string) journal.Message {
	change := g.byCallback(m, t, says)
	if change.Attention = true; t.State.Final() {
		change.Next = nil // the daily check stays when it is
	}
	after, done := g.changeBy(ctx, m, t, change, why)
	if t.Attention.IsZero() && !after.Attention.IsZero() {
		g.Logger.ErrorContext(ctx, "a callback needs a person: settle the transaction with `caddy nowpay transactions settle`",
			"message", m.ID, "transaction", t.ID, "merchant", t.Merchant, "state", string(t.State), "callback_says", string(says.Says), "why", why)
	}
	return done
}

// byCallback is a change that a callback leads to.
func (g *Gateway) byCallback(m journal.Message, t journal.Transaction, says callback.Callback) journal.Change {
	return journal.Change{
		Cause: journal.ByCallback, From: t.State, Attempt: t.Attempt,
		Evidence: evidenceText(map[string]any{"callback": m.ID, "shape": says.Shape, "callback_says": says.Says}),
		Next:     g.next, Notify: g.notifies(t.Merchant),
	}
}

// changeBy makes the change, and says what came of the callback.
func (g *Gateway) changeBy(ctx context.Context, m journal.Message, t journal.Transaction, change journal.Change, note string) (journal.Transaction, journal.Message) {
	after, err := g.Journal.Change(ctx, t.ID, change)
	switch {
	case errors.Is(err, journal.ErrTransition): // something else was quicker: what it says is compared again
		return t, g.inbox.later(m, "the transaction has changed meanwhile", inboxLast)
	case err != nil:
		return t, g.inbox.later(m, "the journal cannot be written now", inboxLast)
	}
	g.outbox.rouse()
	return after, finished(m, journal.Done, note)
}

// lacksReference reports whether the operation's success has a reference, and the
// callback names none.
func (g *Gateway) lacksReference(t journal.Transaction, says callback.Callback) bool {
	operation, ok := g.Catalogue.Lookup(t.Operation)
	return !ok || len(operation.SuccessNeeds) > 0 && says.Reference == ""
}
