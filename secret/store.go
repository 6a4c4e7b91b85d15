package secret

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrUnavailable says that there is no credential, or that it has not been
// confirmed for too long. What wraps it says why; that is for logs, not for
// merchants.
var ErrUnavailable = errors.New("no credential available")

var (
	errNotFetched = errors.New("not fetched yet")
	errClosed     = errors.New("closed")
)

// Source gives the current credential of one account, without waiting for
// anything but in Refresh. It is safe for concurrent use.
type Source interface {
	// Acquire returns the current credential, to be released exactly once. The
	// error wraps ErrUnavailable.
	Acquire() (*Credential, error)
	// Known returns the credentials that answers and callbacks may be signed with:
	// the current one first, and for a while after a rotation the one before. Each
	// is to be released exactly once. There is none when Acquire fails.
	Known() []*Credential
	// Refresh has the credential read anew, for whoever has reason to think that
	// there is another one, and waits for the end of a reading that began after the
	// call. All who wait share one, and readings that are asked for are about a
	// second apart. A ctx that is over asks for it all the same. The error says why the source could not be asked, or that ctx
	// ended before; what there is to use then, Acquire tells.
	Refresh(ctx context.Context) error
	// Status tells how things stand, for health checks, metrics and operators.
	Status() Status
}

// Status is the state of a Store at one moment.
type Status struct {
	// Available says whether Acquire would succeed.
	Available bool
	// Version is that of the credential held, even of one too old to be used;
	// 0 if there is none.
	Version int64
	// Since is when the credential held was first set. Zero if there is none.
	Since time.Time
	// FetchedAt is when the source last confirmed the credential, and Age how
	// long ago that was. Zero if there is none.
	FetchedAt time.Time
	Age       time.Duration
	// Previous is the version of the credential before, while Known returns it
	// too, and KeptUntil when that ends. Zero if it does not.
	Previous  int64
	KeptUntil time.Time
	// Err is why there is no credential, or why it could not be confirmed
	// lately; nil if all is well. It never holds the value.
	Err error
}

// Store holds the current credential of one account, and for a while after a
// rotation the one before, until Close. It is safe for concurrent use. Those who read take no
// lock: they look at a state that is replaced as a whole, and never changed.
type Store struct {
	staleFor time.Duration
	now      func() time.Time
	state    atomic.Pointer[state]

	// Of those who write.
	mu      sync.Mutex
	keep    time.Duration
	counted int64       // credentials seen that had no version of their own
	ending  *time.Timer // drops the credential before; nil: none is kept
	closed  bool
}

// state is what a Store holds. Of each credential it has one reference.
type state struct {
	current    *Credential // nil: none
	since      time.Time   // when it was first set
	fetchedAt  time.Time   // when it was last confirmed
	err        error       // of the last refresh; nil if it succeeded
	previous   *Credential // nil: none
	replacedAt time.Time   // when current took its place
	keptUntil  time.Time
}

// NewStore returns an empty Store. A credential that was not confirmed for
// longer than staleFor is not given out any more; 0 means it never gets too
// old. The age is taken from now at each use.
func NewStore(staleFor time.Duration, now func() time.Time) *Store {
	s := &Store{staleFor: staleFor, now: now}
	s.state.Store(&state{err: errNotFetched})
	return s
}

// Keep sets for how long after a rotation Known returns the credential before as
// well. It counts at once, also for the one that is kept already, but brings none
// back whose time is over. The default, 0, is not at all. A replaced credential is
// wiped at the end of its time, or with its last use if that is later.
func (s *Store) Keep(d time.Duration) {
	s.write(func(next *state) {
		s.keep = d
		next.keptUntil = next.replacedAt.Add(d)
	})
}

// Set makes c the current credential, and takes over the caller's reference.
// The same version with the same bytes only confirms the one that is there.
func (s *Store) Set(c *Credential) {
	taken := false
	s.write(func(next *state) {
		now := s.now()
		next.fetchedAt, next.err = now, nil
		counted := c.version == 0
		if next.current != nil && (counted || c.version == next.current.version) && c.equal(next.current) {
			return
		}
		if counted {
			s.counted++
			c.version = s.counted
		}
		next.previous, next.replacedAt, next.keptUntil = next.current, now, now.Add(s.keep)
		next.current, next.since, taken = c, now, true
	})
	if !taken {
		c.Release()
	}
}

// Clear takes the credential away, and the one before: the source says that
// there is none, or none that can be used. The error must not hold the value.
func (s *Store) Clear(err error) {
	s.write(func(next *state) { *next = state{err: err} })
}

// Fail records that the source could not be asked. The credential stays until
// it is too old. The error must not hold the value.
func (s *Store) Fail(err error) {
	s.write(func(next *state) { next.err = err })
}

// Close takes the credentials away for good, with the timer of one that is kept. Those
// who hold one may use it to the end. Closing twice does nothing.
func (s *Store) Close() {
	s.write(func(next *state) {
		s.closed = true
		*next = state{err: errClosed}
	})
}

// write replaces the state by a changed one, unless the Store is closed, and
// gives back what it does not hold any more. Those who read the state before may
// have got hold of it until then, or find that it is gone and look again.
func (s *Store) write(change func(next *state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	before := s.state.Load()
	next := *before
	s.drop(&next) // before the change too, which may be of the time
	change(&next)
	s.drop(&next)
	s.state.Store(&next)
	s.arm(&next)
	for _, c := range []*Credential{before.current, before.previous} {
		if c != nil && c != next.current && c != next.previous {
			c.Release()
		}
	}
}

// drop takes the credential before away if its time is over.
func (s *Store) drop(next *state) {
	if !s.keeps(next) {
		next.previous = nil
	}
}

// arm has the credential before dropped at the end of its time, even if nobody
// writes then.
func (s *Store) arm(held *state) {
	if s.ending != nil {
		s.ending.Stop()
		s.ending = nil
	}
	if held.previous != nil {
		s.ending = time.AfterFunc(held.keptUntil.Sub(s.now()), func() { s.write(func(*state) {}) })
	}
}

// Acquire returns the current credential. It waits for no one. The error wraps
// ErrUnavailable and the reason.
func (s *Store) Acquire() (*Credential, error) {
	for {
		held := s.state.Load()
		if err := s.unavailable(held); err != nil {
			return nil, err
		}
		if held.current.acquire() {
			return held.current, nil
		}
	}
}

// Known returns the credentials that may have signed: the current one first, then
// the one before if it is kept. There is none when Acquire fails: what may be
// revoked proves nothing either.
func (s *Store) Known() []*Credential {
	for {
		held := s.state.Load()
		if s.unavailable(held) != nil {
			return nil
		}
		if !held.current.acquire() {
			continue
		}
		if !s.keeps(held) {
			return []*Credential{held.current}
		}
		if held.previous.acquire() {
			return []*Credential{held.current, held.previous}
		}
		held.current.Release()
	}
}

// Status returns the state at this moment.
func (s *Store) Status() Status {
	held := s.state.Load()
	st := Status{Available: true, Err: held.err}
	if held.current != nil {
		st.Version, st.Since = held.current.version, held.since
		st.FetchedAt, st.Age = held.fetchedAt, s.now().Sub(held.fetchedAt)
	}
	if err := s.unavailable(held); err != nil {
		st.Available, st.Err = false, err
	} else if s.keeps(held) {
		st.Previous, st.KeptUntil = held.previous.version, held.keptUntil
	}
	return st
}

// keeps reports whether the credential before is still given out.
func (s *Store) keeps(held *state) bool {
	return held.previous != nil && s.now().Before(held.keptUntil)
}

// unavailable says why the current credential may not be used; nil if it may.
func (s *Store) unavailable(held *state) error {
	if held.current == nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, held.err)
	}
	if s.staleFor == 0 {
		return nil
	}
	if age := s.now().Sub(held.fetchedAt); age > s.staleFor {
		stale := fmt.Errorf("%w: last confirmed %v ago, longer than %v", ErrUnavailable, age, s.staleFor)
		if held.err != nil {
			return fmt.Errorf("%w: %w", stale, held.err)
		}
		return stale
	}
	return nil
}
