package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/gofrs/flock"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// Store keeps a journal in a file. Make it with [New].
type Store struct {
	reader

	path    string
	writing sync.Mutex // held by who writes, opens or closes
	opened  atomic.Pointer[opened]
}

// opened is what an open store has.
type opened struct {
	lock        *flock.Flock
	readers     *sql.DB
	writers     *sql.DB
	writer      *writer // nil: the connection broke; it is made anew by the next batch
	checkpoints *checkpointer
}

// New returns a store that keeps its rows in the file of that path. It does not
// look at the file: [Store.Open] does.
func New(path string) *Store {
	s := &Store{path: path}
	s.reader = reader{query: s.query}
	return s
}

// Exists reports whether the file is there, and not empty.
func (s *Store) Exists(context.Context) (bool, error) {
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("looking for the journal: %w", err)
	}
	return info.Size() > 0, nil
}

// Open makes the file if it is absent, as well as its folder, takes the
// ownership, and brings the tables to this version. It never waits for another
// process: if one has the file, the error wraps [journal.ErrLocked].
//
// What a disk may get over wraps [journal.ErrUnavailable]. Other errors, such as
// a file of something else or a missing permission, stay until a person acts.
func (s *Store) Open(ctx context.Context) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.opened.Load() != nil {
		return errors.New("opening the journal: it is open already")
	}
	opened, err := open(ctx, s.path, &s.writing)
	if err != nil {
		return fmt.Errorf("opening the journal %s: %w", s.path, err)
	}
	s.opened.Store(opened)
	return nil
}

// open does what Open says. It leaves nothing behind when it fails.
func open(ctx context.Context, path string, writing sync.Locker) (_ *opened, err error) {
	path, err = prepareFolder(path)
	if err != nil {
		return nil, err
	}
	o := &opened{}
	if o.lock, err = takeLock(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = o.close() // err says more
		}
	}()
	if err := prepareFile(path); err != nil {
		return nil, err
	}
	if o.writers, err = connect(path, 2, writerSettings); err != nil { // one of them makes checkpoints
		return nil, err
	}
	if err := migrate(ctx, o.writers); err != nil {
		return nil, err
	}
	if o.writer, err = newWriter(ctx, o.writers); err != nil {
		return nil, err
	}
	if o.readers, err = connect(path, maxReaders, readerSettings); err != nil {
		return nil, err
	}
	o.checkpoints = startCheckpoints(context.WithoutCancel(ctx), o.writers, writing)
	return o, nil
}

// Close waits for a batch that is under way and gives the file back. Reads that
// are under way may fail.
func (s *Store) Close() error {
	s.writing.Lock()
	opened := s.opened.Swap(nil)
	s.writing.Unlock()
	if opened == nil {
		return nil
	}
	if err := opened.close(); err != nil {
		return fmt.Errorf("closing the journal %s: %w", s.path, err)
	}
	return nil
}

// close gives back what there is. The writers go last: who leaves a file last
// moves the log into it.
func (o *opened) close() error {
	var errs []error
	if o.checkpoints != nil {
		o.checkpoints.stop()
	}
	if o.readers != nil {
		errs = append(errs, o.readers.Close())
	}
	if o.writer != nil {
		o.writer.discard()
	}
	if o.writers != nil {
		errs = append(errs, o.writers.Close())
	}
	return explain("closing the file", errors.Join(append(errs, o.lock.Close())...))
}

// Write runs batch in one transaction. It is on the disk when Write returns nil.
func (s *Store) Write(ctx context.Context, batch func(ctx context.Context, tx journal.Tx) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	o := s.opened.Load()
	if o == nil {
		return errNotOpen
	}
	if err := o.checkpoints.failed(); err != nil {
		return err
	}
	if o.writer == nil {
		writer, err := newWriter(ctx, o.writers)
		if err != nil {
			return err
		}
		o.writer = writer
	}
	written, err := o.writer.run(ctx, batch)
	if o.writer.broken {
		o.writer.discard()
		o.writer = nil
	}
	o.checkpoints.wrote(written)
	return err
}

// Snapshot runs read on the state of the file as it is at the first read.
func (s *Store) Snapshot(ctx context.Context, read func(ctx context.Context, r journal.Reader) error) error {
	o := s.opened.Load()
	if o == nil {
		return errNotOpen
	}
	tx, err := o.readers.BeginTx(ctx, nil)
	if err != nil {
		return explain("beginning a snapshot", err)
	}
	defer func() { _ = tx.Rollback() }() // it has read only
	return read(ctx, reader{query: tx.QueryContext})
}

func (s *Store) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	o := s.opened.Load()
	if o == nil {
		return nil, errNotOpen
	}
	rows, err := o.readers.QueryContext(ctx, query, args...)
	if err != nil && s.opened.Load() == nil { // closed meanwhile
		return nil, errNotOpen
	}
	return rows, err //nolint:wrapcheck // read says what it was
}

var _ journal.Store = (*Store)(nil)
