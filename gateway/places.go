package gateway

import (
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// Places bound how many exchanges are under way at once, of all merchants and of
// each: one that waits for the provider holds memory and a connection, and when the
// provider hangs, each second brings more of them. Safe for concurrent use; nobody
// waits here.
type Places struct {
	most      int64
	all       *atomic.Int64
	merchants map[string]quota
}

// quota is what one merchant may have of the places.
type quota struct {
	most  int64 // 0: all
	taken *atomic.Int64
}

// Place is held by an exchange for as long as it is under way.
type Place struct{ merchant, all *atomic.Int64 }

// Why there is no place.
var (
	errMerchantFull = errors.New("the merchant has max_in_flight requests under way")
	errFull         = errors.New("all merchants together have max_in_flight requests under way")
)

// NewPlaces makes as many places as there may be exchanges under way at once. The
// counts of previous, which may be nil, live on: what began before a reload is under
// way after it, also that of merchants who are gone, as they may come back.
func NewPlaces(merchants []*whitelist.Merchant, most int, previous *Places) *Places {
	p := &Places{most: int64(most), all: new(atomic.Int64), merchants: make(map[string]quota)}
	if previous != nil {
		p.all = previous.all
		for name, q := range previous.merchants {
			p.merchants[name] = quota{taken: q.taken}
		}
	}
	for _, m := range merchants {
		taken := p.merchants[m.Name].taken
		if taken == nil {
			taken = new(atomic.Int64)
		}
		p.merchants[m.Name] = quota{most: int64(m.MaxInFlight), taken: taken}
	}
	return p
}

// Take takes a place for an exchange of a merchant of the policy. Without an error
// it must be given back.
func (p *Places) Take(merchant string) (Place, error) {
	q := p.merchants[merchant]
	// The merchant first: one that is refused for its own sake leaves alone what all
	// share.
	if n := q.taken.Add(1); q.most > 0 && n > q.most {
		q.taken.Add(-1)
		return Place{}, errMerchantFull
	}
	if p.all.Add(1) > p.most {
		p.all.Add(-1)
		q.taken.Add(-1)
		return Place{}, errFull
	}
	return Place{q.taken, p.all}, nil
}

// GiveBack gives the place back, once.
func (p Place) GiveBack() {
	p.merchant.Add(-1)
	p.all.Add(-1)
}

// Taken tells how many exchanges of each merchant are under way. Merchants who are
// gone are left out once they have none.
func (p *Places) Taken() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for name, q := range p.merchants {
			n := int(q.taken.Load())
			if (n > 0 || q.most > 0) && !yield(name, n) {
				return
			}
		}
	}
}

// enter takes a place for what asks the provider. It comes before the rate, which a
// request that finds no place does not use up, and before the body is read.
func (g *Gateway) enter(x *exchange) (Place, *Problem) {
	place, err := g.Places.Take(x.merchant.Name)
	if err == nil {
		return place, nil
	}
	x.record.Rule, x.record.Reason = x.record.Rule+"; "+err.Error(), string(LimitExceeded)
	detail := "the gateway has as many requests under way as it takes at once; nothing was sent for this one, and it may be sent again"
	if errors.Is(err, errMerchantFull) {
		detail = "the merchant has as many requests under way as it may have at once; nothing was sent for this one, and it may be sent again"
	}
	return Place{}, &Problem{Code: LimitExceeded, Detail: detail, RetryAfter: time.Second}
}
