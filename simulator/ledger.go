package simulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// Wallet names one of the partner's two wallets.
type Wallet string

// The wallets. Payouts are paid out of AEPS, all else out of Trade.
const (
	Trade Wallet = "trade"
	AEPS  Wallet = "aeps"
)

// State is what became of a transaction, in the provider's own books. It may
// differ from what an answer said: that is what the faults are for.
type State string

// The states of a transaction. A refused request makes no transaction.
const (
	StateSuccess State = "success"
	StateFailed  State = "failed"
	StatePending State = "pending"
)

// Errors of changes by hand.
var (
	ErrNotFound = errors.New("no transaction has this provider ID")
	ErrState    = errors.New("the transaction's state does not allow this")
)

// Entry is one execution: a transaction that was created and debited. A request
// ID that was executed twice has two entries.
type Entry struct {
	// Number counts the entries from 1.
	Number int `json:"number"`
	// ProviderID is Nowpay's id (ourrequestid). Two entries share one only
	// after the fault IDCollision.
	ProviderID string `json:"provider_id"`
	// RequestID is the partner's id, as it was sent.
	RequestID string `json:"request_id"`
	// Execution is 1 for the first execution of this request ID, 2 for the
	// second, and so on.
	Execution int    `json:"execution"`
	Operation string `json:"operation"`
	// Wallet is "" for an operation that moves no money; Amount is then 0.
	Wallet Wallet       `json:"wallet,omitempty"`
	Amount nowpay.Paise `json:"amount_paise"`
	// Surcharge is debited and credited along with the amount, but apart.
	Surcharge nowpay.Paise `json:"surcharge_paise"`
	State     State        `json:"state"`
	// RRN is the bank's reference, "" unless State is StateSuccess.
	RRN     string    `json:"rrn,omitempty"`
	Created time.Time `json:"created"`
	// Before and After are the wallet's balance around the debit.
	Before nowpay.Paise `json:"before_paise"`
	After  nowpay.Paise `json:"after_paise"`

	subject  string // the number that was recharged, or the PSA of the coupons
	operator string
	payee    string    // the name that an answer of success would have
	settle   State     // what a pending entry becomes by itself at settleAt
	settleAt time.Time // zero: only by hand
	callback Fault     // what the request asked for; Kind "" for nothing
}

// Ledger is a snapshot of the provider's books. It is the caller's own.
type Ledger struct {
	// TradeBalance and AEPSBalance are what is in the wallets now.
	TradeBalance nowpay.Paise `json:"trade_balance_paise"`
	AEPSBalance  nowpay.Paise `json:"aeps_balance_paise"`
	// Entries are all executions, oldest first.
	Entries []Entry `json:"entries"`
	// Executions tells how often each request ID was executed.
	Executions map[string]int `json:"executions"`
}

// Find returns the executions of a request ID, oldest first. It looks at all
// entries: to ask about many request IDs, use Executions.
func (l Ledger) Find(requestID string) []Entry {
	var found []Entry
	for _, e := range l.Entries {
		if e.RequestID == requestID {
			found = append(found, e)
		}
	}
	return found
}

// books are the live ledger. Not safe for concurrent use.
type books struct {
	ids        *ids
	balance    map[Wallet]nowpay.Paise
	surcharge  nowpay.Paise
	entries    []*Entry
	ours       index // by provider ID
	yours      index // by request ID
	executions map[string]int
	waiting    []*Entry // that settle by themselves
}

func newBooks(c Config) *books {
	return &books{
		ids:        newIDs(c.Seed),
		balance:    map[Wallet]nowpay.Paise{Trade: c.TradeBalance, AEPS: c.AEPSBalance},
		surcharge:  c.Surcharge,
		ours:       index{id: func(e *Entry) string { return e.ProviderID }},
		yours:      index{id: func(e *Entry) string { return e.RequestID }},
		executions: map[string]int{},
	}
}

// covers tells whether a wallet can pay an amount and its surcharge.
func (b *books) covers(w Wallet, amount nowpay.Paise) bool {
	return w == "" || b.balance[w] >= amount+b.surcharge
}

// execute creates a transaction: debited always, and credited again if it
// failed. The wallet must cover it.
func (b *books) execute(e Entry, collide bool) *Entry {
	e.Number = len(b.entries) + 1
	if collide && len(b.entries) > 0 {
		e.ProviderID = b.entries[len(b.entries)-1].ProviderID
	} else {
		e.ProviderID = b.ids.provider(e.Created)
	}
	e.Execution = 1
	if e.RequestID != "" { // AEPS queries may go without
		b.executions[e.RequestID]++
		e.Execution = b.executions[e.RequestID]
	}
	if e.Wallet != "" {
		e.Surcharge = b.surcharge
		e.Before = b.balance[e.Wallet]
		b.balance[e.Wallet] -= e.Amount + e.Surcharge
		e.After = b.balance[e.Wallet]
	}
	state := e.State
	e.State = StatePending
	b.entries = append(b.entries, &e)
	b.ours.add(&e)
	b.yours.add(&e)
	b.change(&e, state)
	if !e.settleAt.IsZero() {
		b.waiting = append(b.waiting, &e)
	}
	return &e
}

// change moves an entry to a state: into failed credits the wallet, out of it
// debits it again, even below zero, as an operator may.
func (b *books) change(e *Entry, to State) {
	total := e.Amount + e.Surcharge
	if e.Wallet != "" {
		switch {
		case e.State != StateFailed && to == StateFailed:
			b.balance[e.Wallet] += total
		case e.State == StateFailed && to != StateFailed:
			b.balance[e.Wallet] -= total
		}
	}
	e.State = to
	switch {
	case to != StateSuccess:
		e.RRN = ""
	case e.RRN == "":
		e.RRN = b.ids.digits(12)
	}
}

// settleDue settles what has waited long enough, and returns it.
func (b *books) settleDue(now time.Time) (settled []*Entry) {
	b.waiting = slices.DeleteFunc(b.waiting, func(e *Entry) bool {
		due := !now.Before(e.settleAt)
		if due && e.State == StatePending {
			b.change(e, e.settle)
			settled = append(settled, e)
		}
		return due
	})
	return settled
}

// find returns the newest entry with a provider ID, nil if there is none.
func (b *books) find(providerID string) *Entry {
	for _, e := range b.withPrefix(providerID, "") {
		if e.ProviderID == providerID {
			return e
		}
	}
	return nil
}

// withPrefix returns the entries whose provider ID and request ID begin as
// given, newest first.
func (b *books) withPrefix(ours, yours string) []*Entry {
	by, prefix := &b.ours, ours
	if ours == "" {
		by, prefix = &b.yours, yours
	}
	var found []*Entry
	for _, e := range by.withPrefix(prefix) {
		if strings.HasPrefix(e.ProviderID, ours) && strings.HasPrefix(e.RequestID, yours) {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b *Entry) int { return b.Number - a.Number })
	return found
}

// byHand moves an entry to another state as an operator at Nowpay would, and
// returns it.
func (b *books) byHand(providerID string, to State, pending bool) (*Entry, error) {
	e := b.find(providerID)
	switch {
	case to != StateSuccess && to != StateFailed && (pending || to != StatePending):
		return nil, fmt.Errorf("changing a transaction to %q: %w", to, ErrState)
	case e == nil:
		return nil, ErrNotFound
	case (e.State == StatePending) != pending || e.State == to:
		return nil, fmt.Errorf("changing a transaction from %s to %s: %w", e.State, to, ErrState)
	}
	b.change(e, to)
	return e, nil
}

func (b *books) snapshot() Ledger {
	l := Ledger{
		TradeBalance: b.balance[Trade],
		AEPSBalance:  b.balance[AEPS],
		Entries:      make([]Entry, len(b.entries)),
		Executions:   maps.Clone(b.executions),
	}
	for i, e := range b.entries {
		l.Entries[i] = *e
	}
	return l
}
