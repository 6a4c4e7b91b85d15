package egress

import (
	"slices"
	"sync"
	"time"
)

const (
	maxIdle     = 4096             // connections; fewer would be opened anew all the time under load, each with a port of its own
	maxIdleTime = 30 * time.Second // unless the server says that it allows less
	maxAge      = 5 * time.Minute  // so that a name that moves is followed
)

// pool keeps idle connections, the one used last at the end.
type pool struct {
	mu      sync.Mutex
	idle    []*conn
	most    int         // of idle ones
	retired []time.Time // by rank: connections opened until then are not used again
	closed  bool
}

func newPool(ranks int) *pool { return &pool{most: maxIdle, retired: make([]time.Time, max(ranks, 1))} }

// get takes the connection used last that is still good; nil if there is none.
func (p *pool) get(now time.Time) (*conn, error) {
	for {
		c, fit, err := p.pop(now)
		if c == nil || fit && c.alive() {
			return c, err
		}
		c.close()
	}
}

// pop takes the connection used last, and tells whether it may be used again.
func (p *pool) pop(now time.Time) (c *conn, fit bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, false, errClosed
	}
	last := len(p.idle) - 1
	if last < 0 {
		return nil, false, nil
	}
	c = p.idle[last]
	p.idle = slices.Delete(p.idle, last, last+1)
	return c, p.fit(c, now), nil
}

// put keeps c for another exchange. If it reports false, c is still the
// caller's, to close.
func (p *pool) put(c *conn, now time.Time) bool {
	if !canPeek {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.idleSince = now
	if len(p.idle) >= p.most || !p.fit(c, now) {
		return false
	}
	p.idle = append(p.idle, c)
	return true
}

// reap closes the idle connections that are not to be used again.
func (p *pool) reap(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(c *conn) bool {
		if p.fit(c, now) {
			return false
		}
		c.close()
		return true
	})
}

func (p *pool) fit(c *conn, now time.Time) bool {
	return !p.closed && now.Sub(c.idleSince) < c.idleTime && now.Sub(c.opened) < maxAge &&
		c.opened.After(p.retired[c.rank])
}

// retire closes the idle connections bound to the local address of that rank,
// and sees to it that the busy ones, and those being dialled, are not kept.
func (p *pool) retire(rank int, now time.Time) {
	p.mu.Lock()
	p.retired[rank] = now
	p.mu.Unlock()
	p.reap(now)
}

// close closes all idle connections; those put later are refused.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.reap(time.Time{})
}
