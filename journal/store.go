package journal

import (
	"context"
	"errors"
	"iter"
	"time"
)

// ErrRetry is wrapped by the errors of [Store.Write] after which the same
// batch may succeed at once: a deadlock, or a conflict of serialisable
// transactions.
var ErrRetry = errors.New("the database asks to try again")

// Store is a database with the tables of a journal. It keeps rows and knows no
// rules. All its methods but Exists, Open and Close are safe for concurrent use, and so
// are they while Write runs, which the journal calls from one goroutine.
//
// Errors that come from the database not being there, or not being able to
// write, wrap [ErrUnavailable].
type Store interface {
	Reader

	// Exists reports whether there is a journal, and makes nothing. It may be
	// called before Open.
	Exists(ctx context.Context) (bool, error)

	// Open makes the database ready: takes ownership where there is any,
	// connects, and brings the tables to the newest version, under a lock. It
	// can be called again after it failed.
	Open(ctx context.Context) error

	// Close gives everything back. It may be called once, also without Open.
	Close() error

	// Write runs batch in one transaction. If it returns nil, all that batch
	// did is durable; after an error it may have been committed only if the
	// connection was lost meanwhile. The batch may run more than once only by
	// being passed to Write again.
	Write(ctx context.Context, batch func(ctx context.Context, tx Tx) error) error

	// Snapshot runs read on a consistent state of the database.
	Snapshot(ctx context.Context, read func(ctx context.Context, r Reader) error) error
}

// RequestKey is what a transaction is unique by.
type RequestKey struct {
	Account, RequestID string
}

// Tx is one write transaction. Slices may be empty; then nothing happens, but for
// Append.
type Tx interface {
	// LockByRequest and LockByID read rows and lock them until the end, in
	// ascending order of their keys. Rows that do not exist are left out.
	LockByRequest(ctx context.Context, keys []RequestKey) ([]Transaction, error)
	LockByID(ctx context.Context, ids []string) ([]Transaction, error)

	// LockDue locks and reads at most limit rows of the accounts whose NextCheck
	// is set and not after now, those that wait longest first. Rows that others
	// have locked are skipped.
	LockDue(ctx context.Context, accounts []string, now time.Time, limit int) ([]Transaction, error)

	// Insert adds the rows whose account and request ID are not there yet, and
	// returns the IDs of those it added. It waits for other transactions that
	// are adding the same ones.
	Insert(ctx context.Context, rows []Transaction) (added []string, err error)

	// Update writes rows that are locked, all but ID, Account, RequestID,
	// Merchant, Operation, Amount and Created, which never change.
	Update(ctx context.Context, rows []Transaction) error

	// Append adds events, and moves the chain's head to next, if it is at the
	// number before still; else it fails. Without events it sets the head all
	// the same; a database need not write what it has already.
	Append(ctx context.Context, events []Event, before int64, next Chain) error

	// LockSpending locks and reads what the merchants spend on the days; what
	// is not there yet is 0, and locked all the same.
	LockSpending(ctx context.Context, keys []Spending) ([]Spending, error)

	// AddSpending adds amounts, which may be negative.
	AddSpending(ctx context.Context, amounts []Spending) error

	// AddMessages adds messages. Where there is one with the ID, it is seen so
	// often more, and updated then; if it was dead, or is a notification that does
	// not wait, it waits from the beginning, as the new one: State, Note, Due and
	// Tries are its.
	AddMessages(ctx context.Context, messages []Message) error

	// LockMessages locks and reads messages, in ascending order of their IDs.
	// Those that do not exist are left out.
	LockMessages(ctx context.Context, ids []string) ([]Message, error)

	// LockMessagesDue locks and reads messages of a claim, whose Due is set and
	// not after now, of each lane those that wait longest first. Messages of which
	// an earlier one of the same box and transaction waits, and those that others
	// have locked, are skipped. However many are due, it reads few.
	LockMessagesDue(ctx context.Context, claim MessageClaim, now time.Time) ([]Message, error)

	// UpdateMessages writes Transaction, State, Note, Updated, Due and Tries of
	// messages that are locked.
	UpdateMessages(ctx context.Context, messages []Message) error

	// DeleteMessages deletes at most limit messages that do not wait and were
	// updated before the time, and returns how many.
	DeleteMessages(ctx context.Context, before time.Time, limit int) (int, error)

	// AddNonces adds nonces, each of which is among them once, and returns the IDs
	// of those it added. One that is there is not added, unless it had expired by
	// now: then it is replaced. It waits for other transactions that are adding the
	// same ones.
	AddNonces(ctx context.Context, nonces []UsedNonce, now time.Time) (added []NonceID, err error)

	// DeleteNonces deletes at most limit nonces that had expired by the time, and
	// returns how many.
	DeleteNonces(ctx context.Context, before time.Time, limit int) (int, error)

	// AddKey adds a data key unless there is one with its ID, and reports
	// whether it did. SetKey replaces the wrapped key.
	AddKey(ctx context.Context, key DataKey) (added bool, err error)
	SetKey(ctx context.Context, key DataKey) error

	// AddChain adds a chain unless there is one with its ID, and reports
	// whether it did.
	AddChain(ctx context.Context, chain Chain) (added bool, err error)
}

// Reader reads. What does not exist is [ErrNotFound].
type Reader interface {
	ByID(ctx context.Context, id string) (Transaction, error)
	ByRequest(ctx context.Context, key RequestKey) (Transaction, error)

	// List yields the transactions of a filter, newest first. It ends after the
	// first error.
	List(ctx context.Context, filter Filter) iter.Seq2[Transaction, error]

	// Events are those of a transaction, in order.
	Events(ctx context.Context, transaction string) ([]Event, error)
	// NewestEvents are the last ones of Events, at most limit.
	NewestEvents(ctx context.Context, transaction string, limit int) ([]Event, error)

	// AllEvents yields the events of a chain, in order. What no journal writes,
	// such as a number below 1, may be left out: CountEvents tells that it is there.
	AllEvents(ctx context.Context, chain int64) iter.Seq2[Event, error]

	// CountEvents counts all events, of whatever chain.
	CountEvents(ctx context.Context) (int, error)

	// LastEvents yields each transaction with its newest event, by ascending ID.
	// Orphans yields the IDs that events name and no transaction has.
	LastEvents(ctx context.Context) iter.Seq2[LastEvent, error]
	Orphans(ctx context.Context) iter.Seq2[string, error]

	// Message finds one by its ID. Messages yields those of a filter, the newest
	// first: by descending Created, then ID. It ends after the first error.
	Message(ctx context.Context, id string) (Message, error)
	Messages(ctx context.Context, filter MessageFilter) iter.Seq2[Message, error]

	// CountMessages counts those of a filter, up to its limit.
	CountMessages(ctx context.Context, filter MessageFilter) (int, error)

	// MessageStats counts those that wait, by box and lane, in their order.
	MessageStats(ctx context.Context) ([]MessageStats, error)

	// Keys and Chains are all there are, by ID.
	Keys(ctx context.Context) ([]DataKey, error)
	Chains(ctx context.Context) ([]Chain, error)
	// Chain is one of them.
	Chain(ctx context.Context, id int64) (Chain, error)

	// Stats counts what is not settled. It reads only such rows.
	Stats(ctx context.Context) (Stats, error)

	// Spent is what a merchant spends on a day, without locking anything.
	Spent(ctx context.Context, merchant string, day int) (Spending, error)

	// Spending yields what all merchants spend on all days, in any order.
	Spending(ctx context.Context) iter.Seq2[Spending, error]
}

// Filter selects transactions. Zero fields select all.
type Filter struct {
	Account    string
	Merchant   string
	Operation  string
	RequestID  string // as it was sent to the provider
	ProviderID string
	States     []State
	Since      time.Time // created at or after
	Until      time.Time // created before
	Attention  bool      // only those that need a person
	Reversed   bool      // only those that the provider contradicts
	Before     string    // only those with a smaller ID: the next page
	Limit      int       // at most so many; 0: all
}

// Stats is how much is not settled.
type Stats struct {
	Open      map[State]int // Created, Sent, Pending and Unknown
	Attention int           // that need a person, whatever their state
	Oldest    time.Time     // when the oldest of the open ones was created; zero: none
}

// LastEvent is a transaction and the event that led to its row.
type LastEvent struct {
	Transaction Transaction
	Event       Event // whose Seq is the transaction's Version; zero if there is none
	Events      int   // how many events name the transaction
}
