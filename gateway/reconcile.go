package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

const (
	// reconcileInterval is the time between two looks for transactions that
	// are due.
	reconcileInterval = time.Second
	// reconcileAtOnce is how many of an account are worked on side by side.
	reconcileAtOnce = 4
	// claimLimit is how many are taken at a time; others are left to other
	// gateways.
	claimLimit = 4 * reconcileAtOnce
)

// RunReconciliation settles transactions in the background until ctx ends:
// those whose deadline has passed, those that are pending or unknown, and once a
// day those that are final. Several gateways share the work. What holds up one
// account, a long backlog or a provider that hangs, holds up no other. It returns
// when all of it has ended.
func (g *Gateway) RunReconciliation(ctx context.Context) {
	var accounts sync.WaitGroup
	for account := range g.Accounts {
		accounts.Go(func() { g.reconcileAccount(ctx, account) })
	}
	accounts.Wait()
}

// reconcileAccount looks after one account until ctx ends.
func (g *Gateway) reconcileAccount(ctx context.Context, account string) {
	for {
		busy := g.reconcileDue(ctx, account)
		wait := g.jitter(reconcileInterval)
		if busy {
			wait = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// reconcileDue looks at transactions of an account that are due, and reports
// whether there may be more of them.
func (g *Gateway) reconcileDue(ctx context.Context, account string) (more bool) {
	defer func() { // a bug ends neither the process nor the looking
		if p := recover(); p != nil {
			g.logPanic(ctx, p, "account", account)
			more = false
		}
	}()
	due, err := g.Journal.Claim(ctx, journal.Claim{
		Accounts: []string{account}, Limit: g.claimSize(), Lease: g.lease(), Next: g.next,
	})
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, journal.ErrUnavailable) { // which the journal says itself
			g.Logger.ErrorContext(ctx, "taking transactions that are due", "account", account, "error", err)
		}
		return false
	}
	var working sync.WaitGroup
	slots := make(chan struct{}, reconcileAtOnce)
	for _, t := range due {
		if ctx.Err() != nil {
			break // the leases end, and somebody else goes on
		}
		slots <- struct{}{}
		working.Go(func() {
			defer func() { <-slots }()
			g.reconcile(ctx, t)
		})
	}
	working.Wait()
	return len(due) == g.claimSize() && ctx.Err() == nil
}

// claimSize is how many transactions are taken at a time: no more than can be
// asked about within a minute or so, or they would be kept from other gateways,
// and what is due meanwhile would not be looked at.
func (g *Gateway) claimSize() int {
	perMinute := float64(g.Reconcile.StatusRate.Requests) * float64(time.Minute) / float64(g.Reconcile.StatusRate.Per)
	return int(min(claimLimit, max(1, perMinute)))
}

// lease is how long transactions that were taken are nobody else's: as long as
// asking about all of them may take, with the waiting for their turns.
func (g *Gateway) lease() time.Duration {
	r := g.Reconcile.StatusRate
	turn := r.Per / time.Duration(r.Requests)
	each := g.Reconcile.StatusTimeout/reconcileAtOnce + turn
	return 2*each*time.Duration(g.claimSize()) + time.Minute
}

// reconcile asks about one transaction, if that is possible, and shows it to a
// person if it was open for too long.
func (g *Gateway) reconcile(ctx context.Context, t journal.Transaction) {
	defer func() { // a bug must not end the process, and with it what is under way
		if p := recover(); p != nil {
			g.logPanic(ctx, p, "transaction", t.ID)
		}
	}()
	cause, next := journal.ByReconciliation, g.next
	if t.State.Final() {
		cause, next = journal.ByDailyCheck, g.nextDailyCheck
	}
	var err error
	asked := false
	if g.asksAbout(t) && g.canAsk(t) {
		var after journal.Transaction
		if after, err = g.revalidate(ctx, t, cause); err == nil {
			t, asked = after, true
		}
	}
	if ctx.Err() != nil {
		return // the lease ends, and somebody else goes on
	}
	change := journal.Change{Cause: cause, From: t.State, Attempt: t.Attempt, Next: next, Checked: err != nil && !errors.Is(err, ErrAskedOften)}
	change.Attention = !t.State.Final() && t.Attention.IsZero() && !g.Now().Before(t.Created.Add(g.Reconcile.PersonAfter))
	if asked && !change.Attention {
		return
	}
	after, err := g.Journal.Change(ctx, t.ID, change)
	switch {
	case errors.Is(err, journal.ErrTransition): // something else was quicker, and has planned it
	case err != nil:
		g.Logger.WarnContext(ctx, "planning the next look at a transaction; it is looked at again when its lease ends", "transaction", t.ID, "error", err)
	case change.Attention && !after.Attention.IsZero():
		g.Logger.ErrorContext(ctx, "a transaction needs a person: settle it with `caddy nowpay transactions settle`",
			"transaction", t.ID, "merchant", t.Merchant, "operation", t.Operation, "amount", t.Amount.String(), "state", string(after.State))
	}
}
