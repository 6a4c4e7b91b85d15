package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

const (
	// maxBatch bounds how many operations share a transaction.
	maxBatch = 256
	// gatherTurns is how often the writer lets others run who may have more
	// operations, before it begins: a larger transaction costs less than two.
	// (To sleep costs a millisecond when nobody else has anything to do.)
	gatherTurns = 16
	// maxTries is how often a batch is tried that the database rolls back to
	// let another one pass.
	maxTries = 10
	// writeTime bounds one transaction; a database that takes longer counts as
	// gone.
	writeTime = 10 * time.Second
	// closeTime is how long Close waits for what must be written.
	closeTime = 10 * time.Second
)

// writer commits operations, many that wait in one transaction. All of it but
// the queue belongs to its goroutine.
type writer struct {
	*Journal
	chain   Chain        // its head, as far as it is known; zero: none was opened yet
	kept    []*operation // must be written, and could not be yet
	doubts  []doubt      // batches behind the head, of which one may have been committed
	failing bool         // the last batch could not be written
	wait    *backoff.ExponentialBackOff
}

// doubt is a batch that failed so late that it may have been committed, or may
// be still: the server may not have seen yet that nobody waits for it. It is in
// doubt until the head of the chain has moved, since then it must fail.
type doubt struct {
	after      Chain // the chain if it was committed
	operations []*operation
}

// write works until the journal is closed, and then until all is written that
// must be, or closeTime is over.
func (w *writer) write() {
	defer close(w.written)
	for more := true; more; {
		var operations []*operation
		operations, more = w.collect()
		_ = w.commit(operations)
	}
	for w.owes() && w.pause(w.wait.InitialInterval) {
		_ = w.commit(nil)
	}
	for _, o := range w.kept {
		if o.notify {
			continue
		}
		w.logger().Error("ending without having written what became of a transaction: it stays sent, and becomes unknown at its deadline",
			"transaction", o.id)
		o.finish(ErrUnavailable)
	}
}

// owes reports whether something is still to be written, or to be found out.
func (w *writer) owes() bool { return len(w.kept) > 0 || w.failing && len(w.doubts) > 0 }

// pause waits, and reports whether there is time left.
func (w *writer) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.life.Done():
		return false
	}
}

// collect waits for an operation and takes all that wait with it. While the
// database fails it returns now and then without one, to look at it again. It
// reports false when the journal is closed and the queue is empty.
func (w *writer) collect() (operations []*operation, more bool) {
	var again <-chan time.Time
	if w.failing {
		timer := time.NewTimer(w.wait.NextBackOff())
		defer timer.Stop()
		again = timer.C
	}
	select {
	case o := <-w.queue:
		operations = take(operations, o)
	case <-again:
	case <-w.running.Done():
	}
	for range gatherTurns {
		waiting := len(w.queue)
		if runtime.Gosched(); len(w.queue) == waiting {
			break
		}
	}
	for len(operations) < maxBatch {
		select {
		case o := <-w.queue:
			operations = take(operations, o)
		default:
			return operations, w.running.Err() == nil
		}
	}
	return operations, true
}

// take adds an operation, unless nobody waits for it any more.
func take(operations []*operation, o *operation) []*operation {
	if !o.taken.CompareAndSwap(false, true) {
		return operations
	}
	return append(operations, o)
}

// commit writes what was kept and the operations, and tells those who wait. Its
// error says that the database cannot be written to.
func (w *writer) commit(operations []*operation) error {
	operations = append(w.kept, operations...)
	w.kept = nil
	if len(operations) == 0 && !w.failing {
		return nil
	}
	operations, err := w.try(operations)
	switch {
	case err == nil:
		w.recovered()
	case errors.Is(err, ErrUnavailable):
		w.postpone(operations, err)
		return err
	case len(operations) == 1:
		if operations[0].must { // who waited for it may be gone
			w.logger().Error("the journal cannot write what became of a transaction", "transaction", operations[0].id, "error", err)
		}
		operations[0].finish(err)
	default: // one of them spoils it for the others
		for i := range operations {
			if err := w.commit(operations[i : i+1 : i+1]); err != nil {
				w.postpone(operations[i+1:], err)
				return err
			}
		}
	}
	return nil
}

// try writes operations in one transaction, again if the database asks for it.
// After an error it returns those that are still to be written.
func (w *writer) try(operations []*operation) ([]*operation, error) {
	operations, err := w.resolve(operations)
	if err != nil {
		return operations, err
	}
	if err := w.extend(operations); err != nil {
		return operations, err
	}
	for tries := 1; ; tries++ {
		head := w.chain
		b := newBatch(w.keys, head, truncate(w.options.Now()))
		err := w.transact(b, operations)
		moved := b.chain.Number != head.Number
		if err == nil {
			if moved {
				w.chain, w.doubts = b.chain, nil
			}
			w.committed(operations)
			return nil, nil
		}
		if moved { // it came as far as the end
			w.doubts = append(w.doubts, doubt{b.chain, operations})
		}
		left, headErr := w.resolve(operations)
		switch {
		case headErr != nil:
			return left, headErr
		case len(left) == 0 && len(operations) > 0:
			return nil, nil
		case w.chain.Number != head.Number: // an earlier batch had been committed
			if !moved {
				left = refuseNonces(left, err)
			}
		case !errors.Is(err, ErrRetry):
			return left, err
		case tries >= maxTries || !w.pause(w.wait.InitialInterval/maxTries):
			return left, unavailable(err)
		}
		operations = left
	}
}

// extend opens a chain if operations may need one: the first, or another one when
// there is a new data key, which the key file of before cannot decrypt. A chain
// that is in doubt is not left.
func (w *writer) extend(operations []*operation) error {
	tells := func(o *operation) bool { return o.other == nil && o.nonce == nil && !o.notify }
	if w.chain.KeyID == w.keys.newest().id || len(w.doubts) > 0 || !slices.ContainsFunc(operations, tells) {
		return nil
	}
	ctx, cancel := context.WithTimeout(w.life, writeTime)
	defer cancel()
	chain, err := w.openChain(ctx)
	if err != nil {
		return unavailable(err)
	}
	w.chain = chain
	return nil
}

// transact runs a batch, or sees whether one could be written.
func (w *writer) transact(b *batch, operations []*operation) error {
	ctx, cancel := context.WithTimeout(w.life, writeTime)
	defer cancel()
	if len(operations) == 0 {
		return unavailable(w.options.Store.Write(ctx, probe))
	}
	err := w.options.Store.Write(ctx, func(ctx context.Context, tx Tx) error { return b.run(ctx, tx, operations) })
	if ctx.Err() != nil {
		return unavailable(err)
	}
	return err
}

// probe writes something that stays what it was: a database that is full or
// read-only would commit nothing at all.
func probe(ctx context.Context, tx Tx) error {
	nobody := Spending{}
	if _, err := tx.LockSpending(ctx, []Spending{nobody}); err != nil {
		return err
	}
	for _, amount := range []nowpay.Paise{1, -1} {
		nobody.Amount = amount
		if err := tx.AddSpending(ctx, []Spending{nobody}); err != nil {
			return err
		}
	}
	return nil
}

// resolve finds out which of the batches in doubt was committed, if any: nobody
// but this writer moves the head of its chain. It returns the operations that
// are still to be written. Intents that were refused meanwhile, though they had
// been written, are unsent.
func (w *writer) resolve(operations []*operation) ([]*operation, error) {
	if len(w.doubts) == 0 {
		return operations, nil
	}
	ctx, cancel := context.WithTimeout(w.life, writeTime)
	defer cancel()
	head, err := w.options.Store.Chain(ctx, w.chain.ID)
	if err != nil {
		return operations, unavailable(err)
	}
	if head.at(w.chain) {
		return operations, nil
	}
	i := slices.IndexFunc(w.doubts, func(d doubt) bool { return head.at(d.after) })
	if i < 0 {
		return operations, fmt.Errorf("%w: the chain of this gateway is not as it was left: "+
			"another process has written it, or the database has lost what it had confirmed; "+
			"find out which, and start the gateway again", ErrUnavailable)
	}
	found := w.doubts[i]
	w.chain, w.doubts = found.after, nil
	var left []*operation
	for _, o := range found.operations {
		if o.finished && o.begun.Fresh {
			left = append(left, abandon(o.begun.Transaction))
		}
	}
	w.committed(found.operations)
	for _, o := range operations {
		if !o.finished {
			left = append(left, o)
		}
	}
	return left, nil
}

// at reports whether two chains have the same last event.
func (c Chain) at(other Chain) bool { return c.Number == other.Number && bytes.Equal(c.MAC, other.MAC) }

// committed tells those who wait.
func (w *writer) committed(operations []*operation) {
	if len(operations) == 0 {
		return
	}
	w.commits.Add(1)
	w.writes.Add(uint64(len(operations)))
	for _, o := range operations {
		o.finish(nil)
	}
}

// abandon is for an intent that was written though its exchange was told that
// it was not.
func abandon(t Transaction) *operation {
	return newChange(t.ID, &Change{
		State: Unsent, Cause: ByExchange, Attempt: t.Attempt,
		Evidence: `{"reason":"the journal did not confirm the intent in time, so nothing was sent"}`,
	}, true)
}

// postpone keeps what must be written, and refuses the rest.
func (w *writer) postpone(operations []*operation, err error) {
	w.failed(err)
	for _, o := range operations {
		if o.must {
			w.kept = append(w.kept, o)
		} else {
			o.finish(err)
		}
	}
}

// finish tells the one who waits, once. err is for an operation that was not
// written.
func (o *operation) finish(err error) {
	if o.finished {
		return
	}
	if err != nil {
		o.err = err
	}
	o.finished = true
	close(o.done)
}

func newChange(id string, c *Change, must bool) *operation {
	return &operation{id: id, change: c, must: must, done: make(chan struct{})}
}

// unavailable makes an error one that wraps [ErrUnavailable].
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// failed notes that the database cannot be written to.
func (w *writer) failed(err error) {
	if !w.failing {
		w.logger().Error("the journal cannot be written; refusing money operations until it can", "error", err)
	}
	w.failing = true
	w.health.Store(&err)
}

// recovered notes that it can.
func (w *writer) recovered() {
	if !w.failing {
		return
	}
	w.logger().Info("the journal can be written again")
	w.failing = false
	w.wait.Reset()
	w.health.Store(nil)
}
