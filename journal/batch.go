package journal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// Intent is a transaction that is about to be sent.
type Intent struct {
	ID        string // a new ULID
	Account   string
	RequestID string // as it is sent
	Merchant  string
	Operation string
	Amount    nowpay.Paise
	Canonical []byte // the body's canonical text, of which a fingerprint is kept
	// Fields are those of the request that a status query needs; stored
	// encrypted.
	Fields   map[string]string
	Deadline time.Time // when a transaction without an outcome becomes unknown
	// DailyLimit is what the merchant may spend on a day; 0: no limit.
	DailyLimit nowpay.Paise
	// Next gives the time at which to look at the transaction again; required.
	Next func(Transaction) time.Time
}

// Begun is what became of an intent.
type Begun struct {
	Transaction Transaction
	// Fresh is set if the intent was recorded: it may be sent now, once. If
	// not, the transaction was there, of the same merchant and request.
	Fresh bool
}

// Claim asks for transactions that are due.
type Claim struct {
	Accounts []string
	Limit    int
	Lease    time.Duration // nobody else is given them for so long
	// Next gives the time for those whose deadline has passed.
	Next func(Transaction) time.Time
}

// operation is one write that waits for its batch. One of begin, change, claim,
// notify, nonce and other is set.
type operation struct {
	begin  *Intent
	change *Change
	id     string // of the transaction that changes
	claim  *Claim
	notify bool
	nonce  *UsedNonce
	other  func(context.Context, Tx) error
	// must be written, however late: nobody can decide otherwise any more.
	must bool

	first bool // its row or its nonce was added, in the batch that is tried

	// What became of it, in the batch that was tried last.
	begun   Begun
	claimed []Transaction
	stuck   map[string]error // what could not be claimed, by ID
	err     error

	taken    atomic.Bool   // by the writer, or by the one who gives up waiting
	late     atomic.Bool   // the one who waited has given up
	finished bool          // the writer is done with it
	done     chan struct{} // closed when the above is good
}

// batch is what operations come to in one transaction of the store.
type batch struct {
	keys  *keyring
	chain Chain // its head after the batch
	now   time.Time

	rows   map[string]*Transaction // by ID; locked, or inserted here
	known  map[RequestKey]*Transaction
	dirty  []*Transaction // rows to be updated, some of them more than once
	events []Event
	// messages tell merchants of what has changed.
	messages []Message
	spent    map[spendingKey]nowpay.Paise // by merchants with a limit, locked
	spends   map[spendingKey]nowpay.Paise // what this batch adds to it
}

type spendingKey struct {
	merchant string
	day      int
}

func newBatch(keys *keyring, chain Chain, now time.Time) *batch {
	return &batch{
		keys: keys, chain: chain, now: now,
		rows: make(map[string]*Transaction), known: make(map[RequestKey]*Transaction),
		spent: make(map[spendingKey]nowpay.Paise), spends: make(map[spendingKey]nowpay.Paise),
	}
}

// run decides all operations and writes what they come to.
func (b *batch) run(ctx context.Context, tx Tx, operations []*operation) error {
	b.events = make([]Event, 0, len(operations)) // about as many
	if err := b.load(ctx, tx, operations); err != nil {
		return err
	}
	if err := b.insert(ctx, tx, operations); err != nil {
		return err
	}
	if err := b.useNonces(ctx, tx, operations); err != nil {
		return err
	}
	for _, o := range operations {
		o.begun, o.claimed, o.stuck, o.err = Begun{}, nil, nil, nil
		switch {
		case o.begin != nil:
			o.begun, o.err = b.begin(o)
		case o.change != nil:
			o.begun.Transaction, o.err = b.change(o.id, o.said())
		case o.claim != nil:
			if err := b.claim(ctx, tx, o); err != nil {
				return err
			}
		case o.notify:
			o.err = b.notifyAgain(o.id)
		case o.nonce != nil:
			o.err = b.nonce(o)
		case o.other != nil:
			if err := o.other(ctx, tx); err != nil {
				return err
			}
		}
		if errors.Is(o.err, ErrUnavailable) { // nothing is decided: not this time
			return o.err
		}
	}
	return b.write(ctx, tx)
}

// load locks the rows that change, those that limited intents may repeat, and
// what their merchants have spent.
func (b *batch) load(ctx context.Context, tx Tx, operations []*operation) error {
	var ids []string
	var keys []RequestKey
	var spent []Spending
	for _, o := range operations {
		o.first = false
		switch {
		case o.change != nil, o.notify:
			ids = append(ids, o.id)
		case o.begin != nil && o.begin.DailyLimit > 0:
			keys = append(keys, o.begin.key())
			spent = append(spent, Spending{Merchant: o.begin.Merchant, Day: day(b.now)})
		}
	}
	rows, err := tx.LockByID(ctx, distinct(ids, cmp.Compare))
	if err != nil {
		return err
	}
	b.keep(rows)
	if rows, err = tx.LockByRequest(ctx, distinct(keys, compareKeys)); err != nil {
		return err
	}
	b.keep(rows)
	spent, err = tx.LockSpending(ctx, distinct(spent, compareSpending))
	for _, s := range spent {
		b.spent[spendingKey{s.Merchant, s.Day}] = s.Amount
	}
	return err
}

func (b *batch) keep(rows []Transaction) {
	for i := range rows {
		t := &rows[i]
		if b.rows[t.ID] == nil { // or it may have been changed meanwhile
			b.rows[t.ID], b.known[t.key()] = t, t
		}
	}
}

// insert adds the rows of intents that are not known, one for each request ID,
// and loads those that were there.
func (b *batch) insert(ctx context.Context, tx Tx, operations []*operation) error {
	var begin []*operation
	asked := make(map[RequestKey]bool)
	for _, o := range operations {
		if o.begin == nil || b.known[o.begin.key()] != nil || asked[o.begin.key()] || !b.afford(o.begin) {
			continue
		}
		asked[o.begin.key()] = true
		begin = append(begin, o)
	}
	// So that two gateways wait for each other in one order.
	slices.SortFunc(begin, func(x, y *operation) int { return compareKeys(x.begin.key(), y.begin.key()) })
	rows := make([]Transaction, len(begin))
	for i, o := range begin {
		var err error
		if rows[i], err = b.row(o.begin); err != nil {
			return err
		}
	}
	added, err := tx.Insert(ctx, rows)
	if err != nil {
		return err
	}
	slices.Sort(added)
	var there []RequestKey
	for i := range rows {
		t := &rows[i]
		if _, ok := slices.BinarySearch(added, t.ID); !ok {
			b.spend(t, -t.Amount)
			there = append(there, t.key())
			continue
		}
		b.rows[t.ID], b.known[t.key()] = t, t
		begin[i].first = true
		b.tell(t, &Change{Cause: ByExchange}, Kind(Sent))
	}
	existing, err := tx.LockByRequest(ctx, there)
	b.keep(existing)
	return err
}

// afford reports whether the merchant may spend the amount today, and counts it.
func (b *batch) afford(in *Intent) bool {
	key := spendingKey{in.Merchant, day(b.now)}
	if in.DailyLimit > 0 && b.spent[key]+b.spends[key]+in.Amount > in.DailyLimit {
		return false
	}
	b.spends[key] += in.Amount
	return true
}

// spend counts an amount on the day of the transaction.
func (b *batch) spend(t *Transaction, amount nowpay.Paise) {
	b.spends[spendingKey{t.Merchant, t.Day}] += amount
}

// row is that of a new intent.
func (b *batch) row(in *Intent) (Transaction, error) {
	key := b.keys.newest()
	t := Transaction{
		ID: in.ID, Account: in.Account, RequestID: in.RequestID, Merchant: in.Merchant, Operation: in.Operation,
		Amount: in.Amount, Day: day(b.now), State: Sent, Attempt: 1,
		Created: b.now, Updated: b.now, Deadline: truncate(in.Deadline), Version: 1,
		KeyID: key.id, Fingerprint: key.sum(in.Operation, in.Canonical),
	}
	if len(in.Fields) > 0 {
		var err error
		if t.Sealed, err = key.seal(&t, Content{Fields: in.Fields}); err != nil {
			return t, err
		}
	}
	t.NextCheck = truncate(in.Next(t))
	return t, nil
}

// begin decides an intent, whose row is there in any case but one.
func (b *batch) begin(o *operation) (Begun, error) {
	in := o.begin
	t := b.known[in.key()]
	switch {
	case o.first:
		return Begun{Transaction: *t, Fresh: true}, nil
	case t == nil && in.DailyLimit > 0:
		return Begun{}, ErrDailyLimit
	case t == nil: // somebody deletes rows
		return Begun{}, ErrUnavailable
	}
	key, err := b.keys.get(t.KeyID)
	if err != nil {
		return Begun{}, err
	}
	if t.Merchant != in.Merchant || t.Operation != in.Operation || !bytes.Equal(t.Fingerprint, key.sum(in.Operation, in.Canonical)) {
		return Begun{}, ErrReused
	}
	switch {
	case t.State == Unsent && t.Reversed == "" && t.Attention.IsZero(): // else somebody says that it was sent
		return b.again(t, in)
	case t.Expired(b.now):
		if _, err := b.change(t.ID, expire(in.Next)); err != nil {
			return Begun{}, err
		}
	}
	return Begun{Transaction: *t}, nil
}

// again begins a transaction of which certainly nothing has left.
func (b *batch) again(t *Transaction, in *Intent) (Begun, error) {
	sealed, err := b.seal(t, &Change{}, true)
	if err != nil {
		return Begun{}, err
	}
	if !b.afford(in) {
		return Begun{}, ErrDailyLimit
	}
	t.Sealed = sealed
	t.State, t.Attempt, t.Day = Sent, t.Attempt+1, day(b.now)
	t.Deadline, t.Version = truncate(in.Deadline), t.Version+1
	t.Integrity, t.Attention = "", time.Time{}
	t.Updated = b.now
	t.NextCheck = truncate(in.Next(*t))
	b.tell(t, &Change{Cause: ByExchange}, Kind(Sent))
	b.dirty = append(b.dirty, t)
	return Begun{Transaction: *t, Fresh: true}, nil
}

// said is the change, of which the merchant is told if nobody waits for it any more.
func (o *operation) said() *Change {
	if o.change.NotifyLate && o.late.Load() {
		told := *o.change
		told.Notify = true
		return &told
	}
	return o.change
}

// change applies a change to a row that is locked.
func (b *batch) change(id string, c *Change) (Transaction, error) {
	t := b.rows[id]
	if t == nil {
		return Transaction{}, ErrNotFound
	}
	if c.Cause == ByOperator && t.Expired(b.now) { // it is not under way any more
		if _, err := b.change(id, expire(c.Next)); err != nil {
			return Transaction{}, err
		}
	}
	after, kinds, err := apply(*t, c, b.now)
	if err != nil {
		return *t, err
	}
	after.NextCheck = truncate(after.NextCheck)
	if len(kinds) > 0 {
		if after.Sealed, err = b.seal(t, c, after.State != t.State); err != nil {
			return *t, err
		}
		after.Version = t.Version + len(kinds)
	}
	switch before, now := t.State.Spends(), after.State.Spends(); {
	case before && !now:
		b.spend(t, -t.Amount)
	case !before && now:
		b.spend(t, t.Amount)
	}
	if kind := tellsMerchant(t, &after); c.Notify && kind != "" {
		b.notify(&after, kind)
	}
	*t = after
	b.dirty = append(b.dirty, t)
	b.tell(t, c, kinds...)
	return *t, nil
}

// seal is the row's content after a change.
func (b *batch) seal(t *Transaction, c *Change, moved bool) ([]byte, error) {
	if !moved && c.Reference == "" {
		return t.Sealed, nil
	}
	key, err := b.keys.get(t.KeyID)
	if err != nil {
		return nil, err
	}
	content, err := key.open(t)
	if err != nil {
		return nil, err
	}
	if moved {
		content.Answer = c.Answer
	}
	content.Reference = cmp.Or(c.Reference, content.Reference)
	if content.Answer == nil && content.Reference == "" && content.Fields == nil {
		return nil, nil
	}
	return key.seal(t, content)
}

// claim takes rows that are due.
func (b *batch) claim(ctx context.Context, tx Tx, o *operation) error {
	due, err := tx.LockDue(ctx, o.claim.Accounts, b.now, o.claim.Limit)
	if err != nil {
		return err
	}
	b.keep(due)
	o.stuck = make(map[string]error)
	for _, row := range due {
		t := b.rows[row.ID]
		if t.NextCheck.IsZero() || t.NextCheck.After(b.now) {
			continue // changed in this batch
		}
		if t.Expired(b.now) {
			_, err := b.change(t.ID, expire(o.claim.Next))
			if errors.Is(err, ErrUnavailable) {
				return err
			}
			if err != nil {
				o.stuck[t.ID] = err
			}
		}
		t.NextCheck = truncate(b.now.Add(o.claim.Lease))
		b.dirty = append(b.dirty, t)
		if o.stuck[t.ID] == nil { // else it must not stand in the way of others
			o.claimed = append(o.claimed, *t)
		}
	}
	return nil
}

// tell adds the events of a step, which has led to the row as it is.
func (b *batch) tell(t *Transaction, c *Change, kinds ...Kind) {
	if len(kinds) == 0 {
		return
	}
	digest := t.digest()
	for i, kind := range kinds {
		b.events = append(b.events, Event{
			Transaction: t.ID, Seq: t.Version - len(kinds) + 1 + i, At: b.now,
			Kind: kind, Cause: c.Cause, Actor: c.Actor, Reason: c.Reason, Evidence: cmp.Or(c.Evidence, "{}"), Row: digest,
		})
	}
}

// write stores what has changed.
func (b *batch) write(ctx context.Context, tx Tx) error {
	slices.SortFunc(b.dirty, func(x, y *Transaction) int { return cmp.Compare(x.ID, y.ID) })
	b.dirty = slices.Compact(b.dirty)
	dirty := make([]Transaction, 0, len(b.dirty))
	for _, t := range b.dirty {
		dirty = append(dirty, *t)
	}
	if err := tx.Update(ctx, dirty); err != nil {
		return err
	}
	var spends []Spending
	for key, amount := range b.spends {
		if amount != 0 {
			spends = append(spends, Spending{Merchant: key.merchant, Day: key.day, Amount: amount})
		}
	}
	slices.SortFunc(spends, compareSpending)
	if err := tx.AddSpending(ctx, spends); err != nil {
		return err
	}
	if err := tx.AddMessages(ctx, b.messages); err != nil {
		return err
	}
	if len(b.events) == 0 {
		return nil
	}
	key, err := b.keys.get(b.chain.KeyID)
	if err != nil {
		return err
	}
	before := b.chain.Number
	for i := range b.events {
		key.follow(&b.chain, &b.events[i])
	}
	b.chain.Sealing = key.sealing(&b.chain)
	return tx.Append(ctx, b.events, before, b.chain)
}

func (in *Intent) key() RequestKey     { return RequestKey{in.Account, in.RequestID} }
func (t *Transaction) key() RequestKey { return RequestKey{t.Account, t.RequestID} }

func compareKeys(a, b RequestKey) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.RequestID, b.RequestID))
}

func compareSpending(a, b Spending) int {
	return cmp.Or(cmp.Compare(a.Merchant, b.Merchant), cmp.Compare(a.Day, b.Day))
}

// distinct sorts values and drops those that are there twice.
func distinct[T any](values []T, compare func(a, b T) int) []T {
	slices.SortFunc(values, compare)
	return slices.CompactFunc(values, func(a, b T) bool { return compare(a, b) == 0 })
}

// truncate drops what no store keeps of a time.
func truncate(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Truncate(time.Microsecond)
}

// day is the Indian calendar day of a time, as in 20261126. India has no
// daylight saving time.
func day(t time.Time) int {
	const ahead = 5*time.Hour + 30*time.Minute
	year, month, day := t.UTC().Add(ahead).Date()
	return year*10_000 + int(month)*100 + day
}
