package sqlite

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
)

const (
	pageSize = 4096
	// enough is how many changes, and pages of long values, are between two
	// checkpoints. A change touches a handful of pages.
	enough = 2000
	// tooMany is how many pages the log may have before writers wait for a
	// checkpoint: 64 MiB.
	tooMany = 16384
)

// checkpointer moves what was committed from SQLite's log into the file, with a
// connection and a goroutine of its own.
//
// SQLite would do it within COMMIT, every thousand pages, and all payments of
// that batch would wait until they are copied and synced: that is the slowest
// hundredth of all. Here a commit only ever appends to the log. The copying goes
// on beside it. But the log can begin anew only when all of it is copied and
// nobody writes, so that under constant load it would grow for ever; when it is
// too long, the checkpointer keeps writers out for the little that came since.
// What a long snapshot keeps it from copying stays in the log until the snapshot
// ends, and then the log's file is cut.
//
// While checkpoints fail, so do writes: else the log would fill the disk.
type checkpointer struct {
	db      *sql.DB
	writing sync.Locker
	wake    chan struct{}
	done    sync.WaitGroup
	pending int // changes since the last wake; of the writer
	failure atomic.Pointer[error]
}

func startCheckpoints(ctx context.Context, db *sql.DB, writing sync.Locker) *checkpointer {
	c := &checkpointer{db: db, writing: writing, wake: make(chan struct{}, 1)}
	c.done.Go(func() {
		for range c.wake {
			if err := c.run(ctx); err != nil {
				c.failure.Store(&err)
			} else {
				c.failure.Store(nil)
			}
		}
	})
	return c
}

// stop waits for what is under way. Nobody may write any more.
func (c *checkpointer) stop() {
	close(c.wake)
	c.done.Wait()
}

// wrote is told how much was committed.
func (c *checkpointer) wrote(pages int) {
	if c.pending += pages; c.pending >= enough {
		c.pending = 0
		c.now()
	}
}

func (c *checkpointer) now() {
	select {
	case c.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// failed returns why the last checkpoint failed, and has another one tried.
func (c *checkpointer) failed() error {
	failure := c.failure.Load()
	if failure == nil {
		return nil
	}
	c.now()
	return *failure
}

func (c *checkpointer) run(ctx context.Context) error {
	length, err := c.checkpoint(ctx)
	if err != nil || length < tooMany {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err = c.checkpoint(ctx)
	return err
}

// checkpoint copies what it can without waiting for anybody, and returns the
// length of the log in pages.
func (c *checkpointer) checkpoint(ctx context.Context) (length int, err error) {
	var busy, copied int
	err = c.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &length, &copied)
	return length, explain("making a checkpoint", err)
}
