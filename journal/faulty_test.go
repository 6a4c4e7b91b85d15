package journal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// fault is what happens to a write.
type fault int

const (
	works fault = iota
	down        // the database does not answer
	lost        // committed, but the answer does not arrive
	late        // committed only when the next write comes
	retry       // rolled back, to be tried again
	hangs       // no answer until the context ends
	full        // nothing can be written any more
)

// faulty is a store on SQLite that fails as told.
type faulty struct {
	journal.Store
	folder string
	log    *slog.Logger
	poison string       // the request ID of a row that is never taken
	fault  atomic.Int32 // of each write
	times  atomic.Int32 // how many writes have it; negative: all
	blind  atomic.Bool  // reading the chain fails as well
	slow   atomic.Bool  // what is committed late is so later still
	stuck  atomic.Bool  // reading the keys takes until its context ends
	tries  atomic.Int32

	mu   sync.Mutex
	held func() error // a write that is committed late
}

func (s *faulty) set(f fault, times int32) {
	s.times.Store(times)
	s.fault.Store(int32(f))
}

func (s *faulty) next() fault {
	s.tries.Add(1)
	f := fault(s.fault.Load())
	if f != works && s.times.Load() >= 0 && s.times.Add(-1) < 0 {
		s.fault.Store(int32(works))
		return works
	}
	return f
}

var errInvalid = errors.New("invalid byte sequence")

func unavailable(why string) error { return fmt.Errorf("%w: %s", journal.ErrUnavailable, why) }

func (s *faulty) Write(ctx context.Context, batch func(context.Context, journal.Tx) error) error {
	f := s.next()
	s.mu.Lock()
	var held func() error
	if !s.slow.Load() {
		held, s.held = s.held, nil
	}
	s.mu.Unlock()
	if held != nil && f != down {
		_ = held() // it fails if the chain has moved on
	}
	poisoned := func(ctx context.Context, tx journal.Tx) error { return batch(ctx, poisonedTx{tx, s.poison}) }
	switch f {
	case down:
		return unavailable("connection refused")
	case hangs:
		<-ctx.Done()
		return fmt.Errorf("waiting for an answer: %w", ctx.Err())
	case lost:
		if err := s.Store.Write(ctx, poisoned); err != nil {
			return err
		}
		return unavailable("connection reset")
	case late:
		return s.hold(ctx, poisoned)
	case retry:
		return s.Store.Write(ctx, func(ctx context.Context, tx journal.Tx) error {
			return errors.Join(poisoned(ctx, tx), journal.ErrRetry)
		})
	case full:
		return s.Store.Write(ctx, func(ctx context.Context, tx journal.Tx) error { return batch(ctx, fullTx{tx}) })
	case works:
	}
	return s.Store.Write(ctx, poisoned)
}

// hold runs a batch as if its commit was under way still, and keeps what it did.
func (s *faulty) hold(ctx context.Context, batch func(context.Context, journal.Tx) error) error {
	recorder := &recorder{}
	err := s.Store.Write(ctx, func(ctx context.Context, tx journal.Tx) error {
		recorder.Tx = tx
		return errors.Join(batch(ctx, recorder), errInvalid)
	})
	if !errors.Is(err, errInvalid) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = func() error {
		return s.Store.Write(context.WithoutCancel(ctx), func(ctx context.Context, tx journal.Tx) error {
			for _, step := range recorder.steps {
				if err := step(ctx, tx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return unavailable("connection reset")
}

// recorder keeps what a batch writes.
type recorder struct {
	journal.Tx
	steps []func(context.Context, journal.Tx) error
}

func (r *recorder) Insert(ctx context.Context, rows []journal.Transaction) ([]string, error) {
	r.steps = append(r.steps, func(ctx context.Context, tx journal.Tx) error { _, err := tx.Insert(ctx, rows); return err })
	return r.Tx.Insert(ctx, rows)
}

func (r *recorder) Update(ctx context.Context, rows []journal.Transaction) error {
	r.steps = append(r.steps, func(ctx context.Context, tx journal.Tx) error { return tx.Update(ctx, rows) })
	return r.Tx.Update(ctx, rows)
}

func (r *recorder) AddSpending(ctx context.Context, amounts []journal.Spending) error {
	r.steps = append(r.steps, func(ctx context.Context, tx journal.Tx) error { return tx.AddSpending(ctx, amounts) })
	return r.Tx.AddSpending(ctx, amounts)
}

func (r *recorder) Append(ctx context.Context, events []journal.Event, before int64, next journal.Chain) error {
	r.steps = append(r.steps, func(ctx context.Context, tx journal.Tx) error { return tx.Append(ctx, events, before, next) })
	return r.Tx.Append(ctx, events, before, next)
}

func (r *recorder) AddNonces(ctx context.Context, nonces []journal.UsedNonce, now time.Time) ([]journal.NonceID, error) {
	r.steps = append(r.steps, func(ctx context.Context, tx journal.Tx) error { _, err := tx.AddNonces(ctx, nonces, now); return err })
	return r.Tx.AddNonces(ctx, nonces, now)
}

func (s *faulty) Chain(ctx context.Context, id int64) (journal.Chain, error) {
	if s.blind.Load() {
		return journal.Chain{}, unavailable("connection refused")
	}
	return s.Store.Chain(ctx, id)
}

func (s *faulty) Keys(ctx context.Context) ([]journal.DataKey, error) {
	if s.stuck.Load() {
		<-ctx.Done()
		return nil, unavailable(ctx.Err().Error())
	}
	return s.Store.Keys(ctx)
}

// poisonedTx does not take a row.
type poisonedTx struct {
	journal.Tx
	poison string
}

func (tx poisonedTx) Insert(ctx context.Context, rows []journal.Transaction) ([]string, error) {
	for _, row := range rows {
		if tx.poison != "" && row.RequestID == tx.poison {
			return nil, errInvalid
		}
	}
	return tx.Tx.Insert(ctx, rows)
}

// fullTx commits only batches that change nothing.
type fullTx struct{ journal.Tx }

var errFull = unavailable("the disk is full")

func (fullTx) Insert(_ context.Context, rows []journal.Transaction) ([]string, error) {
	if len(rows) > 0 {
		return nil, errFull
	}
	return nil, nil
}

func (fullTx) AddNonces(_ context.Context, nonces []journal.UsedNonce, _ time.Time) ([]journal.NonceID, error) {
	if len(nonces) > 0 {
		return nil, errFull
	}
	return nil, nil
}

func (fullTx) Update(_ context.Context, rows []journal.Transaction) error {
	if len(rows) > 0 {
		return errFull
	}
	return nil
}

func (fullTx) AddSpending(context.Context, []journal.Spending) error { return errFull }
