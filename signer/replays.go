package signer

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

// sweepInterval is the least time between two looks for what can be forgotten.
const sweepInterval = 10 * time.Second

// Replays remembers signatures for as long as they are fresh. The zero value is empty.
// It is safe for concurrent use, and takes no lock that requests share.
type Replays struct {
	seen  sync.Map     // by [httpsig.Verified.Identity]: until when
	swept atomic.Int64 // when it was last looked through, in nanoseconds
}

// again reports whether a signature was seen before, and remembers it until it is
// not fresh any more.
func (r *Replays) again(id [sha256.Size]byte, now, until time.Time) bool {
	r.sweep(now)
	_, seen := r.seen.LoadOrStore(id, until)
	return seen
}

// sweep forgets what is not fresh any more, now and then.
func (r *Replays) sweep(now time.Time) {
	last := r.swept.Load()
	if now.UnixNano()-last < int64(sweepInterval) || !r.swept.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	r.seen.Range(func(id, until any) bool {
		if now.After(until.(time.Time)) {
			r.seen.Delete(id)
		}
		return true
	})
}
