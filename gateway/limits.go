package gateway

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// Limits hold merchants to their rates. Safe for concurrent use.
type Limits struct {
	now     func() time.Time
	buckets map[string]*bucket // by merchant; without one there is no limit
}

// NewLimits makes the limits of the merchants that have a rate. A bucket of
// previous, which may be nil, lives on if the merchant's rate is the same: a
// reload is no way to begin anew. Other buckets begin full.
func NewLimits(merchants []*whitelist.Merchant, previous *Limits, now func() time.Time) *Limits {
	l := &Limits{now: now, buckets: make(map[string]*bucket)}
	for _, m := range merchants {
		if m.Rate == (whitelist.Rate{}) {
			continue
		}
		if previous != nil {
			if b := previous.buckets[m.Name]; b != nil && b.rate == m.Rate {
				l.buckets[m.Name] = b
				continue
			}
		}
		l.buckets[m.Name] = newBucket(m.Rate)
	}
	return l
}

// Allow reports whether the merchant may call now, and counts the call. If not,
// it says how long to wait; a refused call does not count.
func (l *Limits) Allow(merchant string) (retryAfter time.Duration, ok bool) {
	b := l.buckets[merchant]
	if b == nil {
		return 0, true
	}
	return b.take(l.now)
}

// GiveBack takes a call back that was counted and turned out not to be the merchant's.
func (l *Limits) GiveBack(merchant string) {
	if b := l.buckets[merchant]; b != nil {
		b.giveBack(l.now)
	}
}

// bucket is the tokens of one merchant.
type bucket struct {
	rate whitelist.Rate

	mu      sync.Mutex
	limiter *rate.Limiter
}

func newBucket(r whitelist.Rate) *bucket {
	perSecond := rate.Limit(float64(r.Requests) / r.Per.Seconds())
	return &bucket{rate: r, limiter: rate.NewLimiter(perSecond, r.Burst)}
}

// take takes a token, or says when there will be one. The clock is read under
// the lock: a limiter that sees it go back counts the same time twice.
func (b *bucket) take(now func() time.Time) (retryAfter time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := now()
	// Not AllowN: once it has refused, it would go on until a clock that was set
	// back has caught up.
	reservation := b.limiter.ReserveN(t, 1)
	wait := reservation.DelayFrom(t)
	if wait > 0 {
		reservation.CancelAt(t)
	}
	return wait, wait == 0
}

// giveBack puts a token back, which is never more than there is room for.
func (b *bucket) giveBack(now func() time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := now()
	if b.limiter.TokensAt(t) <= float64(b.rate.Burst-1) {
		b.limiter.ReserveN(t, -1)
	}
}
