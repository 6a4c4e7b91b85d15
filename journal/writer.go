package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// maxBatch bounds how many operations share a transaction.
	maxBatch = 256
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
	chain   Chain        // its head, as far as it is known
	kept    []*operation // must be written, and could not be yet
	doubted *doubt       // nil: it is known what was committed
	failing bool         // the last batch could not be written
	wait    *backoff.ExponentialBackOff
}

// doubt is a batch of which nobody knows whether it was committed.
type doubt struct {
	after      Chain // the chain if it was
	operations []*operation
}

// write works until the journal is closed, and then until all is written that
// must be, or closeTime is over.
func (w *writer) write() {
	defer close(w.written)
	for more := true; more; {
		var operations []*operation
		operations, more = w.collect()
		w.commit(operations)
	}
	for end := w.options.Now().Add(closeTime); w.owes() && w.options.Now().Before(end); {
		time.Sleep(w.wait.InitialInterval)
		w.commit(nil)
	}
	for _, o := range w.kept {
		w.logger().Error("ending without having written what became of a transaction: it stays sent, and becomes unknown at its deadline",
			"transaction", o.id)
		o.finish(ErrUnavailable)
	}
}

// owes reports whether something is still to be written.
func (w *writer) owes() bool { return len(w.kept) > 0 || w.doubted != nil }

// collect waits for an operation and takes all that wait with it. While the
// database fails it returns now and then without one, to look at it again. It
// reports false when the journal is closed.
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
	case <-w.closing:
		more = len(w.queue) > 0
	}
	for len(operations) < maxBatch {
		select {
		case o := <-w.queue:
			operations = take(operations, o)
			continue
		default:
		}
		break
	}
	select {
	case <-w.closing:
		return operations, more
	default:
		return operations, true
	}
}

// take adds an operation, unless nobody waits for it any more.
func take(operations []*operation, o *operation) []*operation {
	if !o.taken.CompareAndSwap(false, true) {
		return operations
	}
	return append(operations, o)
}

// commit writes what was kept and the operations, and tells those who wait.
func (w *writer) commit(operations []*operation) {
	if err := w.settleDoubt(); err != nil {
		w.postpone(operations, err)
		return
	}
	operations = append(w.kept, operations...)
	w.kept = nil
	if len(operations) == 0 && !w.failing {
		return
	}
	err := w.try(operations)
	switch {
	case err == nil:
		w.recovered()
		w.commits.Add(1)
		w.writes.Add(uint64(len(operations)))
		for _, o := range operations {
			o.finish(nil)
		}
	case w.doubted != nil || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRetry) || len(operations) == 0:
		w.postpone(operations, err)
	case len(operations) == 1:
		w.logger().Error("the journal cannot write an operation", "error", err)
		operations[0].finish(err)
	default: // one of them spoils it for the others
		for _, o := range operations {
			w.commit([]*operation{o})
		}
	}
}

// try writes operations in one transaction, again if the database asks for it.
func (w *writer) try(operations []*operation) error {
	for tries := 1; ; tries++ {
		b := newBatch(w.keys, w.chain, truncate(w.options.Now()))
		err := w.transact(func(ctx context.Context, tx Tx) error {
			if len(operations) == 0 { // only to see whether it works
				return tx.Append(ctx, nil, w.chain.Number, w.chain)
			}
			return b.run(ctx, tx, operations)
		})
		if err == nil {
			w.chain = b.chain
			return nil
		}
		if b.chain.Number != w.chain.Number { // it came as far as the end
			w.doubted = &doubt{b.chain, operations}
			if committed, headErr := w.resolve(); headErr != nil {
				return fmt.Errorf("%w: %w", err, headErr)
			} else if committed {
				return nil
			}
		}
		if !errors.Is(err, ErrRetry) || tries == maxTries {
			return err
		}
		time.Sleep(w.wait.InitialInterval / maxTries)
	}
}

func (w *writer) transact(batch func(context.Context, Tx) error) error {
	ctx, cancel := context.WithTimeout(w.life, writeTime)
	defer cancel()
	return w.options.Store.Write(ctx, batch)
}

// resolve finds out whether the batch in doubt was committed: nobody but this
// writer moves the head of its chain.
func (w *writer) resolve() (committed bool, err error) {
	ctx, cancel := context.WithTimeout(w.life, writeTime)
	defer cancel()
	head, err := w.options.Store.Chain(ctx, w.chain.ID)
	if err != nil {
		return false, err
	}
	after := w.doubted.after
	w.doubted = nil
	switch {
	case head.Number == after.Number && bytes.Equal(head.MAC, after.MAC):
		w.chain = after
		return true, nil
	case head.Number == w.chain.Number && bytes.Equal(head.MAC, w.chain.MAC):
		return false, nil
	}
	return false, fmt.Errorf("%w: somebody else has written the chain of this gateway", ErrUnavailable)
}

// settleDoubt resolves a doubt that was left by an earlier batch. If that was
// committed after all, its intents were refused meanwhile: they are unsent.
func (w *writer) settleDoubt() error {
	if w.doubted == nil {
		return nil
	}
	doubted := w.doubted.operations
	committed, err := w.resolve()
	if err != nil {
		return err
	}
	if !committed {
		return nil
	}
	for _, o := range doubted {
		switch {
		case o.must:
			o.finish(nil)
			w.dropKept(o)
		case o.begin != nil && o.begun.Fresh:
			w.kept = append(w.kept, abandon(o.begun.Transaction))
		}
	}
	return nil
}

func (w *writer) dropKept(o *operation) {
	for i, kept := range w.kept {
		if kept == o {
			w.kept = append(w.kept[:i], w.kept[i+1:]...)
			return
		}
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
			o.finish(fmt.Errorf("%w: %w", ErrUnavailable, err))
		}
	}
}

// finish tells the one who waits. err is for an operation that was not written.
func (o *operation) finish(err error) {
	if err != nil {
		o.err = err
	}
	close(o.done)
}

func newChange(id string, c *Change, must bool) *operation {
	return &operation{id: id, change: c, must: must, done: make(chan struct{})}
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
