package gateway_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// limited is the merchant shop with a rate.
func limited(requests int, per time.Duration, burst int) []*whitelist.Merchant {
	return []*whitelist.Merchant{{Name: "shop", Rate: whitelist.Rate{Requests: requests, Per: per, Burst: burst}}}
}

// mustAllow calls n times, and then once too often.
func mustAllow(t *testing.T, l *gateway.Limits, n int, wait time.Duration) {
	t.Helper()
	for i := range n {
		if wait, ok := l.Allow("shop"); !ok || wait != 0 {
			t.Errorf("call %d of %d: %v, %t", i+1, n, wait, ok)
		}
	}
	if got, ok := l.Allow("shop"); ok || got != wait {
		t.Errorf("call %d: %v, %t, want to wait for %v", n+1, got, ok, wait)
	}
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := gateway.NewLimits(limited(4, time.Second, 3), nil, time.Now)
		mustAllow(t, l, 3, 250*time.Millisecond)
		time.Sleep(249 * time.Millisecond)
		mustAllow(t, l, 0, time.Millisecond) // what was refused did not count
		time.Sleep(time.Millisecond)
		mustAllow(t, l, 1, 250*time.Millisecond)
		time.Sleep(time.Hour)
		mustAllow(t, l, 3, 250*time.Millisecond) // no more is saved up than a burst
	})
}

func TestLimitsOthers(t *testing.T) {
	merchants := append(limited(1, time.Hour, 1), &whitelist.Merchant{Name: "kiosk", Rate: whitelist.Rate{Requests: 1, Per: time.Hour, Burst: 2}}, &whitelist.Merchant{Name: "free"})
	synctest.Test(t, func(t *testing.T) {
		l := gateway.NewLimits(merchants, nil, time.Now)
		mustAllow(t, l, 1, time.Hour)
		for merchant, want := range map[string]int{"kiosk": 2, "free": 100} {
			allowed := 0
			for range 100 {
				if _, ok := l.Allow(merchant); ok {
					allowed++
				}
			}
			if allowed != want {
				t.Errorf("%d calls of %s were allowed, want %d", allowed, merchant, want)
			}
		}
	})
}

func TestLimitsReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := gateway.NewLimits(limited(1, time.Minute, 2), nil, time.Now)
		mustAllow(t, first, 2, time.Minute)
		time.Sleep(time.Minute)

		same := gateway.NewLimits(limited(1, time.Minute, 2), first, time.Now)
		mustAllow(t, same, 1, time.Minute)
		mustAllow(t, first, 0, time.Minute) // as for exchanges that began before the reload

		for _, changed := range [][]*whitelist.Merchant{limited(2, time.Minute, 2), limited(1, time.Second, 2), limited(1, time.Minute, 1)} {
			l := gateway.NewLimits(changed, same, time.Now)
			if _, ok := l.Allow("shop"); !ok {
				t.Errorf("refused with the changed rate %+v", changed[0].Rate)
			}
		}
		free := gateway.NewLimits([]*whitelist.Merchant{{Name: "shop"}}, same, time.Now)
		for range 10 {
			if _, ok := free.Allow("shop"); !ok {
				t.Error("refused without a rate")
			}
		}
	})
}

// TestLimitsClock sets the clock back and ahead: the rate goes on, and what a
// clock that runs ahead gives too much is a burst.
func TestLimitsClock(t *testing.T) {
	now := time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)
	l := gateway.NewLimits(limited(1, time.Second, 2), nil, func() time.Time { return now })
	mustAllow(t, l, 2, time.Second)
	now = now.Add(-time.Hour)
	mustAllow(t, l, 0, time.Second)
	now = now.Add(time.Second)
	mustAllow(t, l, 1, time.Second)
	now = now.Add(100 * time.Hour)
	mustAllow(t, l, 2, time.Second)
}

// TestLimitsConcurrently: those who come at once share one bucket.
func TestLimitsConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := gateway.NewLimits(limited(10, time.Second, 50), nil, time.Now)
		var callers sync.WaitGroup
		var allowed atomic.Int64
		for range 8 {
			callers.Go(func() {
				for range 1000 {
					if _, ok := l.Allow("shop"); ok {
						allowed.Add(1)
					}
				}
			})
		}
		callers.Wait()
		if allowed.Load() != 50 {
			t.Errorf("%d calls were allowed, want 50", allowed.Load())
		}
		mustAllow(t, l, 0, 100*time.Millisecond) // none of the refused left a mark
	})
}

// TestLimitsNeverMore: in any time no more than the burst and the rate pass,
// whatever the clock does, and who waits as told is let in.
func TestLimitsNeverMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)
		r := whitelist.Rate{
			Requests: rapid.IntRange(1, 1000).Draw(t, "requests"),
			Per:      time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(24*time.Hour)).Draw(t, "per")),
			Burst:    rapid.IntRange(1, 10).Draw(t, "burst"),
		}
		merchants := limited(r.Requests, r.Per, r.Burst)
		clock := func() time.Time { return now }
		l := gateway.NewLimits(merchants, nil, clock)

		var elapsed time.Duration // forwards; nobody can see the rest
		pass := func(d time.Duration) {
			now, elapsed = now.Add(d), elapsed+d
		}
		passed := 0.0
		call := func() (time.Duration, bool) {
			wait, ok := l.Allow("shop")
			if ok {
				passed++
			}
			// The limiter rounds to nanoseconds.
			most := float64(r.Burst) + float64(r.Requests)*elapsed.Seconds()/r.Per.Seconds()
			if passed > most+1e-2 {
				t.Fatalf("%v calls passed in %v, want %v at most", passed, elapsed, most)
			}
			return wait, ok
		}
		steps := map[string]func(*rapid.T){
			"call": func(*rapid.T) { call() },
			"crowd": func(*rapid.T) {
				for range 2 * r.Burst {
					call()
				}
			},
			"time passes": func(t *rapid.T) {
				pass(time.Duration(rapid.Int64Range(0, int64(r.Per)).Draw(t, "for")))
			},
			"clock is set back": func(t *rapid.T) {
				now = now.Add(-time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "by")))
				call() // sees it
			},
			"wait as told": func(*rapid.T) {
				wait, ok := call()
				if ok {
					return
				}
				pass(wait)
				if again, ok := call(); !ok && again > time.Nanosecond {
					t.Fatalf("waited for %v, and was then told to wait for %v", wait, again)
				}
			},
			"reload": func(*rapid.T) { l = gateway.NewLimits(merchants, l, clock) },
		}
		t.Repeat(steps)
	})
}

// What was counted can be given back, and never more than there is room for.
func TestGiveBack(t *testing.T) {
	now := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	merchants := []*whitelist.Merchant{{Name: "shop", Rate: whitelist.Rate{Requests: 2, Per: time.Hour, Burst: 2}}}
	l := gateway.NewLimits(merchants, nil, func() time.Time { return now })
	for range 5 {
		l.GiveBack("shop")
	}
	l.GiveBack("nobody")
	for i, want := range []bool{true, true, false} {
		if _, ok := l.Allow("shop"); ok != want {
			t.Errorf("call %d: %t", i, ok)
		}
	}
	l.GiveBack("shop")
	for i, want := range []bool{true, false} {
		if _, ok := l.Allow("shop"); ok != want {
			t.Errorf("call %d after one was given back: %t", i, ok)
		}
	}
}
