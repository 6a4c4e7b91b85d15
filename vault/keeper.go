package vault

import (
	"context"
	"errors"
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

	life context.Context // ends with Close; requests of the goroutine hang on it
	end  context.CancelFunc

	mu      sync.Mutex
	started bool
	closed  bool
	working sync.WaitGroup
}

func newKeeper(staleFor time.Duration, opts Options, attrs ...any) *keeper {
	k := &keeper{store: secret.NewStore(staleFor, opts.Now), attrs: attrs}
	k.life, k.end = context.WithCancel(context.Background())
	k.logger.Store(opts.Logger)
	return k
}

// Acquire implements secret.Source. It only looks into memory.
func (k *keeper) Acquire() (*secret.Credential, error) { return k.store.Acquire() }

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
	k.mu.Unlock()
	k.end()
	k.working.Wait()
	k.store.Close()
}

// start does the first fetch, for as long as ctx and the source live, and
// leaves the rest to run, in the background.
func (k *keeper) start(ctx context.Context, first func(context.Context) error, run func(context.Context)) error {
	if err := k.begin(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(k.life, cancel)()
	err := first(ctx)
	go func() {
		defer k.working.Done()
		run(k.life)
	}()
	return err
}

// begin makes Close wait for what start does.
func (k *keeper) begin() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return errClosed
	case k.started:
		return errStarted
	}
	k.started = true
	k.working.Add(1)
	return nil
}

// situation is what is worth a log record when it changes.
type situation struct {
	state   state
	version int64
	step    Step // that fails
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
	s := situation{version: st.Version, state: unavailable}
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
	case now.version != before.version:
		log.InfoContext(ctx, "new version of the credential", "version", now.version)
	default:
		log.InfoContext(ctx, "credential refreshed again", "version", now.version)
	}
}
