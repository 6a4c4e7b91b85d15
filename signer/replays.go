package signer

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// sweepInterval is the least time between two looks for what can be forgotten.
const sweepInterval = 10 * time.Second

// replays remembers signatures for as long as they are fresh. The zero value is
// empty. It is safe for concurrent use, and takes no lock that requests share.
type replays struct {
	seen  sync.Map     // of what [identity] gives, until when
	swept atomic.Int64 // when it was last looked through, in nanoseconds
}

// again reports whether a signature was seen before, and remembers it until it is
// not fresh any more.
func (r *replays) again(id [sha256.Size]byte, now, until time.Time) bool {
	r.sweep(now)
	_, seen := r.seen.LoadOrStore(id, until)
	return seen
}

// sweep forgets what is not fresh any more, now and then.
func (r *replays) sweep(now time.Time) {
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

// identity is what two answers have in common of which one is a replay of the
// other. Not the signature itself: of some algorithms, anyone can make another one
// that is as good.
func identity(v httpsig.Verified, a Answer) [sha256.Size]byte {
	hash := sha256.New()
	for _, part := range []string{
		v.KeyID, v.Nonce, v.Created.UTC().Format(time.RFC3339), a.Header.Get("Content-Digest"),
	} {
		hash.Write([]byte(part))
		hash.Write([]byte{0})
	}
	return [sha256.Size]byte(hash.Sum(nil))
}
