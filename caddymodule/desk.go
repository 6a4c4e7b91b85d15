package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// desk is what an operator can do with transactions and with messages. There are
// two: ownDesk, in this process, and adminDesk, in a running gateway.
type desk interface {
	messageDesk
	// list yields the transactions of a filter, newest first, until the first
	// error.
	list(ctx context.Context, f journal.Filter) iter.Seq2[entry, error]
	// show finds one transaction and tells all of it.
	show(ctx context.Context, w wanted) (details, error)
	// revalidate asks the provider now.
	revalidate(ctx context.Context, id string) (revalidation, error)
	// settle records what a person says.
	settle(ctx context.Context, id string, h gateway.ByHand) (settlement, error)
	// verify looks for what was changed or deleted.
	verify(ctx context.Context, known []journal.Head) (journal.Report, error)
}

// entry is a transaction as operators see it, in JSON as in an export. Nothing
// in it tells anything about a person.
type entry struct {
	Transaction      string        `json:"transaction"`
	Created          time.Time     `json:"created"`
	Updated          time.Time     `json:"updated"`
	Day              int           `json:"day"` // in India, as in 20261126
	Account          string        `json:"account"`
	Merchant         string        `json:"merchant"`
	Operation        string        `json:"operation"`
	RequestID        string        `json:"request_id"`       // as it was sent to the provider
	Amount           string        `json:"amount,omitempty"` // rupees
	State            journal.State `json:"state"`
	Final            bool          `json:"final"`
	ProviderID       string        `json:"provider_id,omitempty"`
	Integrity        string        `json:"integrity,omitempty"`
	Reversed         journal.State `json:"reversed,omitempty"` // what the provider said later
	NeedsPerson      bool          `json:"needs_person"`
	NeedsPersonSince time.Time     `json:"needs_person_since,omitzero"`
	Attempts         int           `json:"attempts"`
	Checks           int           `json:"checks"`
	Deadline         time.Time     `json:"deadline,omitzero"`
	NextCheck        time.Time     `json:"next_check,omitzero"`
}

func newEntry(t journal.Transaction) entry {
	e := entry{
		Transaction: t.ID, Created: t.Created.UTC(), Updated: t.Updated.UTC(), Day: t.Day,
		Account: t.Account, Merchant: t.Merchant, Operation: t.Operation, RequestID: t.RequestID,
		State: t.State, Final: t.State.Final(), ProviderID: t.ProviderID, Integrity: t.Integrity, Reversed: t.Reversed,
		NeedsPerson: !t.Attention.IsZero(), NeedsPersonSince: t.Attention.UTC(),
		Attempts: t.Attempt, Checks: t.Checks, NextCheck: t.NextCheck.UTC(),
	}
	if t.Amount > 0 {
		e.Amount = t.Amount.String()
	}
	if t.State == journal.Created || t.State == journal.Sent {
		e.Deadline = t.Deadline.UTC()
	}
	return e
}

// wanted names a transaction.
type wanted struct {
	id      string // ours, or the request ID as it was sent to the provider
	account string // that the request ID is of; "" if there is only one
	content bool   // also what is stored encrypted
}

// details are all of a transaction.
type details struct {
	entry
	Events  []event  `json:"events"`
	Content *content `json:"content,omitempty"`
}

// event is a line of the timeline.
type event struct {
	At       time.Time       `json:"at"`
	Event    journal.Kind    `json:"event"`
	Cause    journal.Cause   `json:"cause"`
	Actor    string          `json:"actor,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Evidence json.RawMessage `json:"evidence,omitempty"` // an object
}

// content is what is stored encrypted, since it tells something about a person.
type content struct {
	ContentType string            `json:"content_type,omitempty"`
	Answer      string            `json:"answer,omitempty"`    // what the merchant was answered
	Reference   string            `json:"reference,omitempty"` // the bank's
	Fields      map[string]string `json:"fields,omitempty"`    // of the request, for status queries
}

// revalidation is what came of asking the provider.
type revalidation struct {
	ProviderSays nowpay.Outcome      `json:"provider_says"` // "unknown": its answer does not tell
	Found        bool                `json:"found"`         // it knows the transaction
	Findings     []integrity.Finding `json:"findings,omitempty"`
	Transaction  entry               `json:"transaction"` // after it
}

// settlement is what a person's word has changed.
type settlement struct {
	Before entry `json:"before"`
	After  entry `json:"after"`
}

// errAmbiguous means that a request ID is one of several accounts.
var errAmbiguous = errors.New("there are several transactions with this request ID")

// ownDesk works in this process.
type ownDesk struct {
	gateway *gateway.Gateway
	journal *journal.Journal
	// prepare makes it possible to ask the provider with an account; nil where a
	// running gateway can anyway.
	prepare func(ctx context.Context, account string) error
}

func (d *ownDesk) list(ctx context.Context, f journal.Filter) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for t, err := range d.journal.List(ctx, f) {
			if !yield(newEntry(t), err) {
				return
			}
		}
	}
}

func (d *ownDesk) show(ctx context.Context, w wanted) (details, error) {
	t, err := d.find(ctx, w)
	if err != nil {
		return details{}, err
	}
	events, err := d.journal.Events(ctx, t.ID)
	if err != nil {
		return details{}, err
	}
	shown := details{entry: newEntry(t), Events: make([]event, 0, len(events))}
	for _, e := range events {
		shown.Events = append(shown.Events, event{e.At.UTC(), e.Kind, e.Cause, e.Actor, e.Reason, evidenceOf(e)})
	}
	if w.content {
		stored, err := d.journal.Content(&t)
		if err != nil {
			return details{}, err
		}
		shown.Content = newContent(stored)
	}
	return shown, nil
}

// find looks for a transaction of ours with the ID, then for the request ID.
func (d *ownDesk) find(ctx context.Context, w wanted) (journal.Transaction, error) {
	t, err := d.journal.Get(ctx, w.id)
	switch {
	case !errors.Is(err, journal.ErrNotFound):
		return t, err
	case w.account != "":
		return d.journal.Find(ctx, journal.RequestKey{Account: w.account, RequestID: w.id})
	}
	var found []journal.Transaction
	var accounts []string
	for t, err := range d.journal.List(ctx, journal.Filter{RequestID: w.id}) {
		if err != nil {
			return t, err
		}
		found = append(found, t)
		accounts = append(accounts, t.Account)
	}
	switch len(found) {
	case 0:
		return t, fmt.Errorf("%w; a request ID is looked for as it was sent to the provider, with the merchant's prefix", journal.ErrNotFound)
	case 1:
		return found[0], nil
	}
	return t, fmt.Errorf("%w, one of each of these accounts: %s; name the account", errAmbiguous, strings.Join(accounts, ", "))
}

// evidenceOf is the evidence of an event, quoted if somebody has made something
// else of it than JSON.
func evidenceOf(e journal.Event) json.RawMessage {
	switch {
	case e.Evidence == "" || e.Evidence == "{}":
		return nil
	case json.Valid([]byte(e.Evidence)):
		return json.RawMessage(e.Evidence)
	}
	text, _ := json.Marshal(e.Evidence) // a string always marshals
	return text
}

func newContent(c journal.Content) *content {
	shown := &content{Reference: c.Reference, Fields: c.Fields}
	if c.Answer != nil {
		shown.ContentType, shown.Answer = c.Answer.ContentType, string(c.Answer.Body)
	}
	return shown
}

func (d *ownDesk) revalidate(ctx context.Context, id string) (revalidation, error) {
	if d.prepare != nil {
		t, err := d.journal.Get(ctx, id)
		if err != nil {
			return revalidation{}, err
		}
		if err := d.prepare(ctx, t.Account); err != nil {
			return revalidation{}, err
		}
	}
	told, err := d.gateway.Revalidate(ctx, id)
	if err != nil {
		return revalidation{}, err
	}
	return revalidation{
		ProviderSays: told.Verdict.Outcome, Found: told.Verdict.Found, Findings: told.Verdict.Findings,
		Transaction: newEntry(told.Transaction),
	}, nil
}

func (d *ownDesk) settle(ctx context.Context, id string, h gateway.ByHand) (settlement, error) {
	before, after, err := d.gateway.SettleByHand(ctx, id, h)
	if err != nil {
		return settlement{}, err
	}
	return settlement{newEntry(before), newEntry(after)}, nil
}

func (d *ownDesk) verify(ctx context.Context, known []journal.Head) (journal.Report, error) {
	return d.journal.Verify(ctx, known...)
}

// Interface guards
var _ desk = (*ownDesk)(nil)
