package secret

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
// anything.
type Source interface {
	// Acquire returns the current credential, to be released exactly once. The
	// error wraps ErrUnavailable.
	Acquire() (*Credential, error)
	// Known returns the credentials that answers and callbacks may be signed with:
	// the current one first, and for a while after a rotation the one before. Each
	// is to be released exactly once. There may be none.
	Known() []*Credential
	// Refresh reads the credential anew, for whoever has reason to think that there
	// is another one. Many who ask at the same time, or shortly after each other,
	// share one reading. A ctx that is over asks for it and does not wait. An error
	// says that the reading did not end in time; what it found, Acquire tells.
	Refresh(ctx context.Context) error
	// Status tells how things stand, for health checks and metrics.
	Status() Status
}

// Status is the state of a Store at one moment.
type Status struct {
	// Available says whether Acquire would succeed.
	Available bool
	// Version is that of the credential held, even of one too old to be used;
	// 0 if there is none.
	Version int64
	// FetchedAt is when the source last confirmed the credential, and Age how
	// long ago that was. Zero if there is none.
	FetchedAt time.Time
	Age       time.Duration
	// Err is why there is no credential, or why it could not be confirmed
	// lately; nil if all is well. It never holds the value.
	Err error
}

// Store holds the current credential of one account. It is safe for concurrent
// use.
type Store struct {
	staleFor time.Duration
	now      func() time.Time

	mu        sync.Mutex
	current   *Credential // the store has one reference; nil: none
	fetchedAt time.Time
	err       error // of the last refresh; nil if it succeeded
	counted   int64 // credentials seen that had no version of their own
	closed    bool
}

// NewStore returns an empty Store. A credential that was not confirmed for
// longer than staleFor is not given out any more; 0 means it never gets too
// old. The age is taken from now at each use.
func NewStore(staleFor time.Duration, now func() time.Time) *Store {
	return &Store{staleFor: staleFor, now: now, err: errNotFetched}
}

// Set makes c the current credential, and takes over the caller's reference.
// The same version with the same bytes only confirms the one that is there.
func (s *Store) Set(c *Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Release()
		return
	}
	s.fetchedAt, s.err = s.now(), nil
	counted := c.version == 0
	if s.current != nil && (counted || c.version == s.current.version) && c.equal(s.current) {
		c.Release()
		return
	}
	if counted {
		s.counted++
		c.version = s.counted
	}
	s.replace(c)
}

// Clear takes the credential away: the source says that there is none, or none
// that can be used. The error must not hold the value.
func (s *Store) Clear(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.replace(nil)
	s.fetchedAt, s.err = time.Time{}, err
}

// Fail records that the source could not be asked. The credential stays until
// it is too old. The error must not hold the value.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.err = err
	}
}

// Acquire returns the current credential. It waits for no one. The error wraps
// ErrUnavailable and the reason.
func (s *Store) Acquire() (*Credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.unavailable(); err != nil {
		return nil, err
	}
	s.current.refs.Add(1)
	return s.current, nil
}

// Known returns the credentials that may have signed, the current one first.
func (s *Store) Known() []*Credential {
	c, err := s.Acquire()
	if err != nil {
		return nil
	}
	return []*Credential{c}
}

// Status returns the state at this moment.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Err: s.err}
	if s.current != nil {
		st.Version = s.current.version
		st.FetchedAt = s.fetchedAt
		st.Age = s.now().Sub(s.fetchedAt)
	}
	if err := s.unavailable(); err != nil {
		st.Err = err
	} else {
		st.Available = true
	}
	return st
}

// Close takes the credential away for good. Those who hold it may use it to the
// end. Closing twice does nothing.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.replace(nil)
	s.err = errClosed
}

// replace gives back the store's reference of the old credential. It is called
// with the lock held, like all that follow.
func (s *Store) replace(c *Credential) {
	if s.current != nil {
		s.current.Release()
	}
	s.current = c
}

// unavailable says why the current credential may not be used; nil if it may.
func (s *Store) unavailable() error {
	if s.current == nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, s.err)
	}
	if age := s.now().Sub(s.fetchedAt); s.staleFor > 0 && age > s.staleFor {
		stale := fmt.Errorf("%w: last confirmed %v ago, longer than %v",
			ErrUnavailable, age, s.staleFor)
		if s.err != nil {
			return fmt.Errorf("%w: %w", stale, s.err)
		}
		return stale
	}
	return nil
}
