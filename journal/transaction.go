package journal

import (
	"errors"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// State of a transaction. All but the first two are outcomes.
type State string

// The states. Success, Failed, Refused and Unsent are final.
const (
	Created State = "created" // recorded; in the same step it is sent
	Sent    State = "sent"    // a byte may have left
	Success       = State(nowpay.Success)
	Failed        = State(nowpay.Failed)
	Refused       = State(nowpay.Refused)
	Pending       = State(nowpay.Pending)
	Unknown       = State(nowpay.Unknown)
	Unsent        = State(nowpay.Unsent)
)

// Final reports whether the state is not expected to change any more.
func (s State) Final() bool {
	return s == Success || s == Failed || s == Refused || s == Unsent
}

// Spends reports whether the transaction's amount counts as spent: also what
// may have been paid does.
func (s State) Spends() bool {
	return s == Created || s == Sent || s == Success || s == Pending || s == Unknown
}

// Transaction is the row of one transaction. Times are whole microseconds.
type Transaction struct {
	ID        string       // ours, a ULID: they sort by time
	Account   string       // the account at the provider
	RequestID string       // as it is sent to the provider; unique for the account
	Merchant  string       // whose transaction it is
	Operation string       // such as bank/payout
	Amount    nowpay.Paise // 0 if the price is not known beforehand
	Day       int          // the Indian calendar day it counts for, as in 20261126

	State      State
	Attempt    int       // counts how often it was begun, from 1; above 1 it was unsent before
	ProviderID string    // "" until the provider gave one
	Integrity  string    // what the header Nowpay-Gateway-Integrity said
	Reversed   State     // what the provider said against the state; "" if nothing
	Attention  time.Time // since when it needs a person; zero if it does not

	Created  time.Time
	Updated  time.Time // when the last event happened
	Deadline time.Time // when a transaction that is still sent becomes unknown
	Version  int       // how many events it has

	NextCheck time.Time // when to look at it again; zero: never
	Checks    int       // how often the provider was asked about it

	KeyID       int64  // the data key of Fingerprint and Sealed
	Fingerprint []byte // of operation and body, 32 bytes
	Sealed      []byte // the encrypted Content
}

// Expired reports whether it was sent so long ago that no answer comes any more.
func (t *Transaction) Expired(now time.Time) bool {
	return (t.State == Sent || t.State == Created) && !now.Before(t.Deadline)
}

// Content is what of a transaction is stored encrypted.
type Content struct {
	// Answer is what the merchant was answered; nil if it was no answer of the
	// provider's.
	Answer *Answer `json:"answer,omitempty"`
	// Reference is the bank's reference, as a status query told it.
	Reference string `json:"reference,omitempty"`
	// Fields are those of the request that a status query needs.
	Fields map[string]string `json:"fields,omitempty"`
}

// Answer is an HTTP answer of status 200.
type Answer struct {
	ContentType string `json:"content_type"`
	Body        []byte `json:"body"`
}

// Cause says what led to an event.
type Cause string

// The causes.
const (
	ByExchange       Cause = "exchange"       // the merchant's request and its answer
	ByDeadline       Cause = "deadline"       // no answer in time, or a gateway that ended
	ByRevalidation   Cause = "revalidation"   // the provider was asked for a merchant or an operator
	ByReconciliation Cause = "reconciliation" // the provider was asked in the background
	ByDailyCheck     Cause = "daily-check"    // the provider was asked about a final state
	ByCallback       Cause = "callback"       // the provider said so by itself
	ByOperator       Cause = "operator"       // a person decided
)

// Kind names what an event says: one of the states, or one of these.
type Kind string

// The kinds that are no states.
const (
	// KindReversed says that the provider contradicts the state.
	KindReversed Kind = "reversed"
	// KindAttention says that the transaction needs a person from now on.
	KindAttention Kind = "attention"
)

// Event is one change of a transaction. It is never changed.
type Event struct {
	Chain       int64  // of the gateway that wrote it
	Number      int64  // in the chain, from 1 without gaps
	Transaction string // its ID
	Seq         int    // in the transaction, from 1 without gaps; 0 for what is told with the first
	At          time.Time
	Kind        Kind
	Cause       Cause
	Actor       string // who, if a person; else ""
	Reason      string // why, if a person; else ""
	// Evidence is a JSON object with what led to the event. It holds no secret
	// and nothing about a person.
	Evidence string
	Row      []byte // digest of the transaction's row after the event, 32 bytes
	MAC      []byte // over the MAC before it and all of the above, 32 bytes
}

// Chain is the chain of events that one gateway writes, from its first one until
// it closes the journal, or until there is a new data key.
type Chain struct {
	ID      int64 // from 1 without gaps
	Gateway string
	Started time.Time
	KeyID   int64  // the data key of its MACs
	Heads   string // JSON of the heads that chains had when it was opened, as far as no chain before it has them
	Opening []byte // MAC over the opening of the chain before it and the above
	Number  int64  // of the last event; 0: none yet
	MAC     []byte // of the last event; the opening if there is none yet
	Sealing []byte // MAC over Number and MAC, so that a cut tail is noticed
}

// DataKey is a key that encrypts what is stored, itself encrypted with a key of
// the key file.
type DataKey struct {
	ID      int64
	Wrapped []byte
	Created time.Time
}

// Spending is what a merchant spends on a day.
type Spending struct {
	Merchant string
	Day      int
	Amount   nowpay.Paise
}

// The errors that callers decide by.
var (
	// ErrUnavailable means that the journal cannot write (or read) now. Nothing
	// may be sent for an intent that fails with it.
	ErrUnavailable = errors.New("the journal is not available")
	// ErrAbsent means that there is no journal, where one was to be.
	ErrAbsent = errors.New("there is no journal")
	// ErrLocked means that another process owns the journal's file.
	ErrLocked = errors.New("another process owns the journal")
	// ErrKey means that the key file does not fit the journal, or is unreadable.
	ErrKey = errors.New("the journal's key file does not fit")
	// ErrReused means that the request ID belongs to another body, operation or
	// merchant.
	ErrReused = errors.New("the request ID was used for something else")
	// ErrDailyLimit means that the amount would exceed what the merchant may
	// spend on a day.
	ErrDailyLimit = errors.New("the daily amount would be exceeded")
	// ErrReplayed means that a nonce was used before.
	ErrReplayed = errors.New("the nonce was used before")
	// ErrNotFound means that there is no such transaction.
	ErrNotFound = errors.New("there is no such transaction")
	// ErrTransition means that the transaction's state does not allow the change.
	ErrTransition = errors.New("the transaction's state does not allow this")
)
