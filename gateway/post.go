package gateway

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

const (
	postInterval = time.Second // between two looks for messages that are due
	postAtOnce   = 64          // messages that are worked on side by side
	postPerLane  = 4           // and those of one lane
	// postLease is how long messages that were taken are nobody else's: longer than
	// working on one may take.
	postLease = 2 * time.Minute
	// keepMessages is how long messages that are done with are kept, and keepNonces
	// how long nonces after they have expired: the clocks of gateways may differ.
	keepMessages  = 30 * 24 * time.Hour
	keepNonces    = 10 * time.Minute
	pruneInterval = 10 * time.Minute
	pruneAtOnce   = 1000
)

// post works on the messages of one box. A lane that has messages under way is
// given no others until they are done, so that the messages of one merchant, or
// of one account, hold up no others.
type post struct {
	*Gateway
	box journal.Box
	// work does what is to be done with a message and says what came of it: its
	// State, Note, Due and Tries, and the Transaction it is about.
	work func(context.Context, journal.Message) journal.Message
	// lanes are those whose messages can be worked on here.
	lanes func() []string
	// wake ends a wait, when there may be something to do.
	wake chan struct{}

	mu   sync.Mutex
	busy map[string]int // messages under way, by lane
}

func (g *Gateway) newPost(box journal.Box, lanes func() []string, work func(context.Context, journal.Message) journal.Message) *post {
	return &post{Gateway: g, box: box, lanes: lanes, work: work, wake: make(chan struct{}, 1), busy: make(map[string]int)}
}

// inboxLanes are the accounts, and "" for callbacks of no transaction; none if
// callbacks are not configured.
func (g *Gateway) inboxLanes() []string {
	if g.Callbacks == nil {
		return nil
	}
	return append(slices.Sorted(maps.Keys(g.Accounts)), "")
}

// outboxLanes are the merchants that are told.
func (g *Gateway) outboxLanes() []string { return slices.Sorted(maps.Keys(g.Notify)) }

// RunPost works off callbacks, and notifies merchants, until ctx ends. Several
// gateways share the work. It returns when all of it has ended.
func (g *Gateway) RunPost(ctx context.Context) {
	var boxes sync.WaitGroup
	boxes.Go(func() { g.inbox.run(ctx) })
	boxes.Go(func() { g.outbox.run(ctx) })
	boxes.Go(func() { g.prune(ctx) })
	boxes.Wait()
}

func (p *post) run(ctx context.Context) {
	var working sync.WaitGroup
	defer working.Wait()
	for ctx.Err() == nil {
		found := p.claim(ctx)
		for _, m := range found {
			p.count(m.Lane, 1)
			working.Go(func() {
				defer p.rouse()
				defer p.count(m.Lane, -1)
				p.one(ctx, m)
			})
		}
		if len(found) == 0 {
			p.pause(ctx)
		}
	}
}

// rouse has the post look for messages now.
func (p *post) rouse() {
	select {
	case p.wake <- struct{}{}:
	default: // it will anyway
	}
}

func (p *post) pause(ctx context.Context) {
	timer := time.NewTimer(p.jitter(postInterval))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.wake:
	case <-ctx.Done():
	}
}

func (p *post) count(lane string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[lane] += n; p.busy[lane] == 0 {
		delete(p.busy, lane)
	}
}

// claim takes messages of lanes that are free, another one first each time.
func (p *post) claim(ctx context.Context) (found []journal.Message) {
	defer func() { // a bug ends neither the process nor the looking
		if r := recover(); r != nil {
			p.logPanic(ctx, r, "box", string(p.box))
		}
	}()
	lanes, free := p.free()
	if free <= 0 || len(lanes) == 0 {
		return nil
	}
	found, err := p.Journal.ClaimMessages(ctx, journal.MessageClaim{
		Box: p.box, Lanes: lanes, PerLane: postPerLane, Limit: free, Lease: postLease,
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, journal.ErrUnavailable) { // which the journal says itself
		p.Logger.ErrorContext(ctx, "taking messages that are due", "box", string(p.box), "error", err)
	}
	return found
}

// free are the lanes without messages under way, another one first each time, and
// how many messages there is room for.
func (p *post) free() (lanes []string, room int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.lanes()
	first := int(p.Random() * float64(len(all)))
	for i := range all {
		if lane := all[(first+i)%len(all)]; p.busy[lane] == 0 {
			lanes = append(lanes, lane)
		}
	}
	room = postAtOnce
	for _, n := range p.busy {
		room -= n
	}
	return lanes, room
}

// one works on a message and writes what came of it. What ctx cuts short is due
// again at once, for whoever comes next.
func (p *post) one(ctx context.Context, m journal.Message) {
	defer func() { // a bug must not end the process, and with it what is under way
		if r := recover(); r != nil {
			p.logPanic(ctx, r, "message", m.ID)
		}
	}()
	after := p.work(ctx, m)
	if ctx.Err() != nil && after.State == journal.Waiting {
		after = m
		after.Due = p.Now()
	}
	if err := p.Journal.FinishMessage(context.WithoutCancel(ctx), m, after); err != nil {
		p.Logger.LogAttrs(ctx, slog.LevelWarn, "recording what came of a message; it is worked on again when its lease ends",
			slog.String("message", m.ID), slog.String("error", err.Error()))
		return
	}
	p.Posted(after)
}

// prune deletes messages that are done with for long, and nonces that have expired.
func (g *Gateway) prune(ctx context.Context) {
	timer := time.NewTimer(g.jitter(pruneInterval))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		messages, failed := g.Journal.PruneMessages(ctx, g.Now().Add(-keepMessages), pruneAtOnce)
		nonces, err := g.Journal.PruneNonces(ctx, g.Now().Add(-keepNonces), pruneAtOnce)
		if err = errors.Join(failed, err); err != nil && ctx.Err() == nil && !errors.Is(err, journal.ErrUnavailable) {
			g.Logger.ErrorContext(ctx, "deleting old messages and nonces", "error", err)
		}
		wait := g.jitter(pruneInterval)
		if messages == pruneAtOnce || nonces == pruneAtOnce {
			wait = g.jitter(postInterval)
		}
		timer.Reset(wait)
	}
}

// again is a message after one more try, to be tried less and less often.
func (p *post) again(m journal.Message, note string, most time.Duration) journal.Message {
	wait := most
	if m.Tries <= 16 { // beyond, the shift would be longer anyway
		wait = min(most, firstCheck<<(m.Tries-1))
	}
	return p.wait(m, note, wait)
}

// later is a message with which nothing could be done, to be looked at less and
// less often.
func (p *post) later(m journal.Message, note string, most time.Duration) journal.Message {
	return p.wait(m, note, min(most, max(firstCheck, p.age(m))))
}

func (p *post) wait(m journal.Message, note string, wait time.Duration) journal.Message {
	m.State, m.Note, m.Due = journal.Waiting, note, p.Now().Add(p.jitter(wait))
	return m
}

// age is how long ago a message came.
func (p *post) age(m journal.Message) time.Duration { return p.Now().Sub(m.Created) }

// finished is a message that is done with.
func finished(m journal.Message, state journal.MessageState, note string) journal.Message {
	m.State, m.Note = state, note
	return m
}
