package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// keeper is what both sources are made of: the store, the life of the one
// background goroutine, and the log of what changes.
type keeper struct {
	store  *secret.Store
	attrs  []any // of every log record
	logger atomic.Pointer[slog.Logger]
	last   situation // as reported; the goroutine's (and before it, Start's)

	wake chan struct{} // tells the goroutine that somebody has asked for a reading

	mu      sync.Mutex
	asked   *reading           // the next one to begin; nil: nobody waits for it
	end     context.CancelFunc // ends the background work; nil before Start
	closed  bool
	working sync.WaitGroup
}

// reading is one that somebody waits for.
type reading struct {
	over chan struct{} // closed at its end
	err  error         // of it, then
}

func newKeeper(staleFor time.Duration, opts Options, attrs ...any) *keeper {
	k := &keeper{store: secret.NewStore(staleFor, opts.Now), attrs: attrs, wake: make(chan struct{}, 1)}
	k.logger.Store(opts.Logger)
	return k
}

// Acquire implements secret.Source. It only looks into memory.
func (k *keeper) Acquire() (*secret.Credential, error) { return k.store.Acquire() }

// Known implements secret.Source.
func (k *keeper) Known() []*secret.Credential { return k.store.Known() }

// Keep sets for how long after a rotation Known returns the credential before as
// well; the default, 0, is not at all. The last word counts.
func (k *keeper) Keep(d time.Duration) { k.store.Keep(d) }

// Refresh implements secret.Source. It wakes the background work, and waits for it:
// before Start and after Close there is none, which is an error.
func (k *keeper) Refresh(ctx context.Context) error {
	r, err := k.ask()
	if err != nil {
		return err
	}
	select {
	case <-r.over:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the credential to be read: %w", ctx.Err())
	}
}

// ask returns the next reading to begin: one under way may have seen the source as
// it was before. All who ask get the same.
func (k *keeper) ask() (*reading, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return nil, errClosed
	case k.end == nil:
		return nil, errNoStart
	case k.asked == nil:
		k.asked = &reading{over: make(chan struct{})}
		k.wake <- struct{}{} // has room: taken out with what was asked before
	}
	return k.asked, nil
}

// answer does a reading, for those who have asked until now.
func (k *keeper) answer(read func() error) {
	k.mu.Lock()
	r := k.asked
	k.asked = nil
	select {
	case <-k.wake:
	default:
	}
	k.mu.Unlock()
	err := read()
	if r != nil {
		r.err = err
		close(r.over)
	}
}

// Status implements secret.Source.
func (k *keeper) Status() secret.Status { return k.store.Status() }

// SetLogger makes l the one that is told of changes from now on; nil: nobody
// is. After a reload the old configuration's logger must not be used any more.
func (k *keeper) SetLogger(l *slog.Logger) {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	k.logger.Store(l)
}

// Close ends the work in the background, waits for it, and takes the credential
// away; those who hold it may use it to the end. It may be called twice, and
// without Start.
func (k *keeper) Close() {
	k.mu.Lock()
	k.closed = true
	if k.end != nil {
		k.end()
	}
	k.mu.Unlock()
	k.working.Wait()
	k.store.Close()
}

// start does the first fetch, until ctx ends or Close comes, and leaves the
// rest to run, in the background.
func (k *keeper) start(ctx context.Context, first func(context.Context) error, run func(context.Context)) error {
	life, err := k.begin(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	err = first(ctx)
	go func() {
		defer k.working.Done()
		run(life)
		k.answer(func() error { return errClosed })
	}()
	return err
}

// begin makes Close wait for what start does, and end it. The context outlives
// ctx.
func (k *keeper) begin(ctx context.Context) (context.Context, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return nil, errClosed
	case k.end != nil:
		return nil, errStarted
	}
	ctx, k.end = context.WithCancel(context.WithoutCancel(ctx))
	k.working.Add(1)
	return ctx, nil
}

// situation is what is worth a log record when it changes.
type situation struct {
	state   state
	version int64
	since   time.Time // that it is there: a version may be written again
	step    Step      // that fails
}

type state int

const (
	unavailable state = iota // no credential, or too old
	failing                  // used on, but not confirmed lately
	current
)

// settle stores the outcome of a fetch.
func (k *keeper) settle(c *secret.Credential, err error) {
	switch {
	case err == nil:
		k.store.Set(c)
	case errors.Is(err, errGone):
		k.store.Clear(err)
	default:
		k.store.Fail(err)
	}
}

// situation returns how things stand.
func (k *keeper) situation() (situation, error) {
	st := k.store.Status()
	s := situation{version: st.Version, since: st.Since, state: unavailable}
	switch {
	case st.Available && st.Err == nil:
		s.state = current
	case st.Available:
		s.state = failing
	}
	if failed, ok := errors.AsType[*StepError](st.Err); ok {
		s.step = failed.Step
	}
	return s, st.Err
}

// report logs the situation if it has changed: once, not at each try.
func (k *keeper) report(ctx context.Context) {
	now, err := k.situation()
	before := k.last
	k.last = now
	if now == before {
		return
	}
	log := k.logger.Load().With(k.attrs...)
	switch {
	case now.state == unavailable:
		log.ErrorContext(ctx, "no credential available", "error", err)
	case now.state == failing:
		log.WarnContext(ctx, "refreshing the credential failed (continuing with the cached credential)", "error", err)
	case before.state == unavailable:
		log.InfoContext(ctx, "credential available", "version", now.version)
	case now.since != before.since:
		log.InfoContext(ctx, "new version of the credential", "version", now.version)
	default:
		log.InfoContext(ctx, "credential refreshed again", "version", now.version)
	}
}
