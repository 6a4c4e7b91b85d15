package gateway

import (
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// Reconcile says how transactions are settled in the background.
type Reconcile struct {
	// PersonAfter is how long a transaction may be unsettled before it needs a
	// person.
	PersonAfter time.Duration
	// StatusRate bounds the status calls of an account, all in all.
	StatusRate whitelist.Rate
	// StatusTimeout bounds one status call.
	StatusTimeout time.Duration
	// DailyCheck is the Indian time of day at which final transactions of the
	// day before are compared with the provider; negative: never.
	DailyCheck time.Duration
}

const (
	firstCheck = 5 * time.Second // after which a transaction is asked about
	lastCheck  = time.Hour       // the longest time between two checks
	// dailySpread is the time over which a day's comparisons are spread.
	dailySpread = 2 * time.Hour

	day   = 24 * time.Hour
	ahead = 5*time.Hour + 30*time.Minute // of India's clocks, all year round
)

// next is when a transaction is to be looked at again; zero: never.
func (g *Gateway) next(t journal.Transaction) time.Time {
	switch t.State {
	case journal.Created, journal.Sent:
		return t.Deadline
	case journal.Pending, journal.Unknown:
		return g.nextOpen(t)
	case journal.Success, journal.Failed:
		if g.asksAbout(t) && g.canAsk(t) && g.Reconcile.DailyCheck >= 0 {
			return g.nextDay(t.Updated)
		}
	case journal.Refused, journal.Unsent:
	}
	return time.Time{}
}

// nextOpen is for what is not settled: asked about less and less often, and
// shown to a person once.
func (g *Gateway) nextOpen(t journal.Transaction) time.Time {
	var next time.Time
	if t.Reversed != "" {
		return next // a person decides
	}
	if g.asksAbout(t) && g.canAsk(t) {
		wait := lastCheck
		if t.Checks < 10 { // beyond, the shift would be longer anyway
			wait = min(lastCheck, firstCheck<<t.Checks)
		}
		next = g.Now().Add(g.jitter(wait))
	}
	if !t.Attention.IsZero() {
		return next
	}
	if person := t.Created.Add(g.Reconcile.PersonAfter); next.IsZero() || person.Before(next) {
		return person
	}
	return next
}

// nextDay is a time in the daily check after the day of a time.
func (g *Gateway) nextDay(t time.Time) time.Time {
	return nextMidnight(t).Add(g.Reconcile.DailyCheck + time.Duration(g.Random()*float64(dailySpread)))
}

// nextDailyCheck is when a daily check that failed is tried again, on the same
// day; zero: never.
func (g *Gateway) nextDailyCheck(t journal.Transaction) time.Time {
	next := g.Now().Add(g.jitter(lastCheck))
	if !g.canAsk(t) || next.After(nextMidnight(t.Updated).Add(day)) {
		return time.Time{}
	}
	return next
}

// never is the next time for what is not to be looked at again.
func never(journal.Transaction) time.Time { return time.Time{} }

// nextMidnight is the end of the Indian calendar day of a time.
func nextMidnight(t time.Time) time.Time {
	return t.UTC().Add(ahead).Truncate(day).Add(day - ahead)
}

// noonOf is the noon of an Indian calendar day such as 20261126.
func noonOf(date int) time.Time {
	return time.Date(date/10_000, time.Month(date/100%100), date%100, 12, 0, 0, 0, time.UTC).Add(-ahead)
}

// jitter spreads a duration from a half of it to one and a half.
func (g *Gateway) jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(g.Random()*float64(d))
}

// asksAbout reports whether the gateway asks about such transactions by itself.
func (g *Gateway) asksAbout(t journal.Transaction) bool {
	operation, ok := g.Catalogue.Lookup(t.Operation)
	return ok && operation.Status != nil && operation.RevalidatePolicy() != nowpay.RevalidateNever
}

// canAsk reports whether enough is known of the transaction to ask about it.
// Fields that are encrypted are taken to be there.
func (g *Gateway) canAsk(t journal.Transaction) bool {
	operation, ok := g.Catalogue.Lookup(t.Operation)
	if !ok || operation.Status == nil {
		return false
	}
	for _, field := range operation.Status.Send {
		if field.Source == nowpay.SourceProviderID && t.ProviderID == "" {
			return false
		}
	}
	return true
}
