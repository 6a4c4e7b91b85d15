package gateway

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// bounded are merchants with a bound each; 0 is none.
func bounded(bounds map[string]int) []*whitelist.Merchant {
	var all []*whitelist.Merchant
	for name, most := range bounds {
		all = append(all, &whitelist.Merchant{Name: name, MaxInFlight: most})
	}
	return all
}

// TestPlacesNeverLeak takes, gives back and reloads at random, and holds the
// counts against a list of what is under way.
func TestPlacesNeverLeak(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"shop", "kiosk", "payroll"}
		var bounds map[string]int
		var most int
		reload := func(t *rapid.T, previous *Places) *Places {
			bounds, most = make(map[string]int), rapid.IntRange(1, 8).Draw(t, "most")
			for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 3, rapid.ID).Draw(t, "merchants") {
				bounds[name] = rapid.IntRange(0, most).Draw(t, name)
			}
			return NewPlaces(bounded(bounds), most, previous)
		}
		p := reload(t, nil)
		held, underWay := make(map[string][]Place), 0
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "merchant")
				if _, ok := bounds[name]; !ok {
					return
				}
				place, err := p.Take(name)
				full := bounds[name] > 0 && len(held[name]) >= bounds[name]
				switch {
				case full && !errors.Is(err, errMerchantFull), !full && underWay >= most && !errors.Is(err, errFull), !full && underWay < most && err != nil:
					t.Fatalf("%s with %d of %d under way, of all %d of %d: %v", name, len(held[name]), bounds[name], underWay, most, err)
				case err == nil:
					held[name], underWay = append(held[name], place), underWay+1
				}
			},
			"give back": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "merchant")
				if n := len(held[name]); n > 0 {
					held[name][n-1].GiveBack()
					held[name], underWay = held[name][:n-1], underWay-1
				}
			},
			"reload": func(t *rapid.T) { p = reload(t, p) },
			"": func(t *rapid.T) {
				taken := maps.Collect(p.Taken())
				for _, name := range names {
					if taken[name] != len(held[name]) {
						t.Fatalf("%s: %d are counted, %d under way", name, taken[name], len(held[name]))
					}
				}
				if n := p.all.Load(); n != int64(underWay) {
					t.Fatalf("%d are counted, %d under way", n, underWay)
				}
			},
		})
	})
}

// TestPlacesConcurrently: never more at once than there are places, and none is
// lost.
func TestPlacesConcurrently(t *testing.T) {
	const most, each = 8, 3
	p := NewPlaces(bounded(map[string]int{"a": each, "b": each, "c": each}), most, nil)
	var all, passed atomic.Int64
	var callers sync.WaitGroup
	for name := range p.merchants {
		var own atomic.Int64
		for range 6 {
			callers.Go(func() {
				for range 3000 {
					place, err := p.Take(name)
					if err != nil {
						continue
					}
					passed.Add(1)
					if n, m := all.Add(1), own.Add(1); n > most || m > each {
						t.Errorf("%d under way at once, %d of %s", n, m, name)
					}
					all.Add(-1)
					own.Add(-1)
					place.GiveBack()
				}
			})
		}
	}
	callers.Wait()
	if passed.Load() == 0 {
		t.Error("none was let in")
	}
	mustBeEmpty(t, p)
}

func mustBeEmpty(t *testing.T, p *Places) {
	t.Helper()
	if n := p.all.Load(); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
	for name, n := range p.Taken() {
		if n != 0 {
			t.Errorf("%d places of %s are still taken", n, name)
		}
	}
}

// TestPlacesAllocate: every exchange passes here.
func TestPlacesAllocate(t *testing.T) {
	p := NewPlaces(bounded(map[string]int{"shop": 1}), 2, nil)
	n := testing.AllocsPerRun(100, func() {
		place, err := p.Take("shop")
		if err != nil {
			t.Error(err)
		}
		if _, err := p.Take("shop"); !errors.Is(err, errMerchantFull) {
			t.Error(err)
		}
		place.GiveBack()
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestExchangesGiveBack ends exchanges in all the ways there are, at once: each
// gives its place back, and the provider sees no more than there are.
func TestExchangesGiveBack(t *testing.T) {
	const most = 4
	p := newParts(t)
	p.Places = NewPlaces(p.Policy.Merchants(), most, nil)
	p.Record = func(context.Context, *Record) {}
	var atOnce atomic.Int64
	p.answers(func(w http.ResponseWriter, r *http.Request) {
		if n := atOnce.Add(1); n > most {
			t.Errorf("%d requests at the provider at once", n)
		}
		defer atOnce.Add(-1)
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "cut") {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, balance)
	})
	sign := signerFunc(func(r signer.Request, c *secret.Credential) (signer.Signed, error) {
		if r.Body.Has("panic") {
			panic("signing")
		}
		return signer.Credentials{}.Sign(t.Context(), r, c)
	})
	p.Accounts["main"] = Account{Secret: p, Sign: sign}
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 20 {
				for _, body := range []string{`{}`, `{"cut":"1"}`, `{"panic":"1"}`, `not JSON`} {
					p.Exchange(t.Context(), request("/api/common/balance", body))
					p.Exchange(gone, request("/api/common/balance", body))
				}
				r := request("/api/common/balance", "")
				r.Body = &failingReader{panics: "reading"}
				p.Exchange(t.Context(), r)
				p.Transactions(t.Context(), request("/transactions/1001/revalidate", ""))
			}
		})
	}
	callers.Wait()
	mustBeEmpty(t, p.Places)
	if p.received.Load() == 0 {
		t.Error("nothing was let in")
	}
}

// TestNoPlace: what finds no place is told so, has cost nothing of the rate, and
// its body was not looked at. What asks nobody needs no place, and who is not known
// is not told.
func TestNoPlace(t *testing.T) {
	p := newParts(t)
	shop := *p.Policy.Merchants()[0]
	shop.Rate = whitelist.Rate{Requests: 1, Per: time.Hour, Burst: 2}
	shop.MaxInFlight = 1
	for name, bounds := range map[string][2]int{"merchant": {2, 1}, "gateway": {1, 0}} {
		shop.MaxInFlight = bounds[1]
		p.Limits = NewLimits([]*whitelist.Merchant{&shop}, nil, p.Now)
		p.Places = NewPlaces([]*whitelist.Merchant{&shop}, bounds[0], nil)
		place, err := p.Places.Take("shop")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/api/bank/payout", "/api/common/balance"} {
			r := request(path, "")
			r.Body = &failingReader{panics: "reading"}
			mustFindNoPlace(t, p, name, p.Exchange(t.Context(), r))
		}
		mustFindNoPlace(t, p, name, p.Transactions(t.Context(), request("/transactions/1001/revalidate", "")))

		stranger := request("/api/common/balance", `{}`)
		stranger.Caller.Token = "npg_guessed"
		if answer := p.Exchange(t.Context(), stranger); problemOf(answer) != "unauthenticated" {
			t.Errorf("%s: a stranger: %d %s", name, answer.Status, answer.Body)
		}
		look := request("/transactions/1001", "")
		look.Method = http.MethodGet
		if answer := p.Transactions(t.Context(), look); problemOf(answer) != "not-found" { // which takes one of the two calls of the rate
			t.Errorf("%s: looking: %d %s", name, answer.Status, answer.Body)
		}
		place.GiveBack()
		if answer := p.Exchange(t.Context(), request("/api/common/balance", `{}`)); answer.Status != http.StatusOK {
			t.Errorf("%s: afterwards: %d %s", name, answer.Status, answer.Body)
		}
	}
	stats, err := p.Journal.Stats(t.Context())
	if err != nil || stats.Open[journal.Sent] != 0 {
		t.Errorf("recorded: %+v, %v", stats, err)
	}
	if n := p.received.Load(); n != 2 {
		t.Errorf("%d requests reached the provider, want 2", n)
	}
}

func mustFindNoPlace(t *testing.T, p *parts, who string, answer Answer) {
	t.Helper()
	if answer.Status != http.StatusTooManyRequests || problemOf(answer) != "limit-exceeded" || answer.Header.Get("Retry-After") != "1" ||
		!strings.Contains(string(answer.Body), "the "+who+" has as many requests under way") {
		t.Errorf("%s: %d %v %s", who, answer.Status, answer.Header, answer.Body)
	}
	record := p.records[len(p.records)-1]
	if record.Reason != "limit-exceeded" || !strings.Contains(record.Rule, "max_in_flight") || record.Problem != LimitExceeded || record.Merchant != "shop" {
		t.Errorf("%s: record %+v", who, record)
	}
}
