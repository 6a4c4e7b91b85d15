//go:build linux

package powercut

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// merchant sends one order after the other.
type merchant struct {
	number    int
	random    *rand.Rand
	client    *http.Client
	addresses []string // of the gateways; each try goes to any of them
	chance    chances  // what the provider does to its orders

	orders []*order
	open   []*order // put off for later
}

// How a merchant behaves.
const (
	patience     = time.Second // until an order is put off
	unanswered   = 20 * time.Millisecond
	unsettled    = 150 * time.Millisecond
	betweenTimes = 60 * time.Millisecond
)

// work sends orders until the context ends. What is under way then is answered.
func (m *merchant) work(ctx context.Context) {
	for ctx.Err() == nil {
		switch chance := m.random.Float64(); {
		case len(m.open) > 0 && (chance < 0.2 || len(m.open) > 50):
			i := m.random.IntN(len(m.open))
			old := m.open[i]
			m.open = append(m.open[:i], m.open[i+1:]...)
			m.pursue(ctx, old)
		case chance < 0.25:
			m.race(ctx)
		default:
			m.pursue(ctx, m.order())
		}
		if len(m.orders) > 0 && m.random.Float64() < 0.1 {
			m.reuse(ctx, m.orders[m.random.IntN(len(m.orders))])
		}
		m.pause(ctx, betweenTimes)
	}
}

// order makes a new order.
func (m *merchant) order() *order {
	o := &order{
		requestID: fmt.Sprintf("m%dn%d", m.number, len(m.orders)+1),
		operation: payout, amount: nowpay.Paise(100 + m.random.IntN(499_900)), kind: m.chance.choose(m.random),
	}
	if m.number%2 == 1 {
		o.prefix = kioskPrefix
	}
	switch chance := m.random.Float64(); {
	case chance < 0.15:
		o.operation = accountTransfer
	case chance < 0.25:
		o.operation = walletTransfer
	}
	m.orders = append(m.orders, o)
	return o
}

// pursue sends an order until the answer is definite, or patience ends.
func (m *merchant) pursue(ctx context.Context, o *order) {
	for end := time.Now().Add(patience); ctx.Err() == nil && time.Now().Before(end); {
		arrived := m.send(ctx, o)
		switch {
		case o.definite():
			return
		case !arrived || o.last().status == 0:
			m.pause(ctx, unanswered)
		default:
			m.pause(ctx, unsettled)
		}
	}
	m.open = append(m.open, o)
}

// reuse sends the request ID of an order that was answered with another amount.
func (m *merchant) reuse(ctx context.Context, o *order) {
	if status := o.last().status; o.second || status != http.StatusOK {
		return
	}
	m.pursue(ctx, m.other(o))
}

// other is an order with the request ID of another.
func (m *merchant) other(o *order) *order {
	second := &order{
		prefix: o.prefix, requestID: o.requestID, operation: o.operation, amount: o.amount + 1, kind: o.kind, second: true,
	}
	m.orders = append(m.orders, second)
	return second
}

// race sends an order three times at the same time, sometimes together with
// another of the same request ID, and then goes on as with any order.
func (m *merchant) race(ctx context.Context) {
	racing := []*order{m.order()}
	racing[0].parallel = true
	if m.random.IntN(2) == 0 {
		racing = append(racing, m.other(racing[0]))
		racing[1].parallel = true
	}
	var racers sync.WaitGroup
	for _, o := range racing {
		for range 3 {
			address := m.address()
			racers.Go(func() { o.send(context.WithoutCancel(ctx), m.client, address) })
		}
	}
	racers.Wait()
	for _, o := range racing {
		m.pursue(ctx, o)
	}
}

// send sends an order once. It is answered also if all ends meanwhile.
func (m *merchant) send(ctx context.Context, o *order) (arrived bool) {
	return o.send(context.WithoutCancel(ctx), m.client, m.address())
}

func (m *merchant) address() string { return m.addresses[m.random.IntN(len(m.addresses))] }

// pause waits for about so long.
func (m *merchant) pause(ctx context.Context, about time.Duration) {
	timer := time.NewTimer(time.Duration((0.5 + m.random.Float64()) * float64(about)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// chances are what the provider does to orders, and how often.
type chances []struct {
	kind   simulator.Kind
	weight int
	delay  time.Duration // at most
}

// faults are those of payments. That the provider changes its mind about what is
// final is not among them.
var faults = chances{
	{simulator.Success, 30, 0},
	{simulator.Failed, 6, 0},
	{simulator.Refused, 3, 0},
	{simulator.LowBalance, 1, 0},
	{simulator.WrongKey, 1, 0},
	{simulator.WrongIP, 1, 0},
	{simulator.Pending, 2, 0},
	{simulator.PendingThenSuccess, 5, 3 * time.Second},
	{simulator.PendingThenFailed, 5, 3 * time.Second},
	{simulator.Ambiguous, 4, 0},
	{simulator.TimeoutBeforeDebit, 2, 0},
	{simulator.TimeoutAfterDebit, 5, 0},
	{simulator.ResetBefore, 3, 0},
	{simulator.ResetAfterDebit, 5, 0},
	{simulator.CloseAfterDebit, 4, 0},
	{simulator.KeepAliveDeath, 4, 0},
	{simulator.Slow, 8, 1500 * time.Millisecond},
	{simulator.Truncated, 3, 0},
	{simulator.HTTP500, 3, 0},
	{simulator.Redirect, 2, 0},
	{simulator.Redirect307, 3, 0},
	{simulator.Gzip, 1, 0},
	{simulator.WrongContentType, 1, 0},
	{simulator.ReservedHeaders, 1, 0},
	{simulator.JunkBeforeJSON, 3, 0},
	{simulator.HTMLWarning, 2, 0},
	{simulator.TooLarge, 1, 0},
	{simulator.DeepJSON, 1, 0},
	{simulator.DuplicateNames, 2, 0},
	{simulator.SuccessAsNumber, 2, 0},
	{simulator.UnknownSuccess, 2, 0},
	{simulator.IDCollision, 2, 0},
	{simulator.OtherID, 3, 0},
	{simulator.OtherAmount, 3, 0},
	{simulator.NoProviderID, 3, 0},
	{simulator.KeyEcho, 1, 0},
	{simulator.KeyEchoSplit, 1, 0},
}

// choose chooses one, with its delay.
func (c chances) choose(random *rand.Rand) string {
	all := 0
	for _, f := range c {
		all += f.weight
	}
	n := random.IntN(all)
	for _, f := range c {
		if n -= f.weight; n >= 0 {
			continue
		}
		if f.delay == 0 {
			return string(f.kind)
		}
		return fmt.Sprintf("%s:%s", f.kind, time.Duration(1+random.Int64N(int64(f.delay))))
	}
	panic("unreachable")
}
