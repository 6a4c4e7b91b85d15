package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// fakeSecret is a secret source that a test sees into. It describes itself, too.
type fakeSecret struct {
	*secret.Store
	key    string
	first  func(context.Context) error // the first fetch
	onShut func()

	starts, closes atomic.Int32
	logger         atomic.Pointer[slog.Logger]
}

func newFakeSecret(key string) *fakeSecret {
	return &fakeSecret{
		Store: secret.NewStore(0, time.Now), key: key,
		first: func(context.Context) error { return nil }, onShut: func() {},
	}
}

func (g *fakeSecret) Key() string                               { return g.key }
func (g *fakeSecret) Where() string                             { return "a test" }
func (g *fakeSecret) New(l *slog.Logger) (ManagedSource, error) { g.logger.Store(l); return g, nil }
func (g *fakeSecret) SetLogger(l *slog.Logger)                  { g.logger.Store(l) }

func (g *fakeSecret) Refresh(context.Context) error { return nil }

func (g *fakeSecret) Start(ctx context.Context) error {
	g.starts.Add(1)
	return g.first(ctx)
}

func (g *fakeSecret) Close() {
	g.closes.Add(1)
	g.onShut()
	g.Store.Close()
}

// give makes a credential available.
func (g *fakeSecret) give(t *testing.T) {
	t.Helper()
	credential, err := secret.NewCredential([]byte("2000"), []byte("some key"), 1)
	if err != nil {
		t.Fatal(err)
	}
	g.Set(credential)
}

// rotate makes another credential available.
func (g *fakeSecret) rotate(t *testing.T) {
	t.Helper()
	credential, err := secret.NewCredential([]byte("2000"), []byte("another key"), 2)
	if err != nil {
		t.Fatal(err)
	}
	g.Set(credential)
}

// testRuntime is a runtime that nothing else in the process knows of.
func testRuntime(tb rapid.TB, secrets ...*fakeSecret) *runtime {
	tb.Helper()
	r := newRuntime(slog.New(slog.DiscardHandler))
	r.underWay = new(sync.WaitGroup)
	r.journal = &pooledJournal{Journal: journal.New(journal.Options{Store: sqlite.New("unused")})}
	r.journal.once.Do(func() {}) // it is not started
	for _, g := range secrets {
		source, err := r.acquire(g)
		if err != nil {
			tb.Fatalf("acquiring %s: %v", g.key, err)
		}
		r.accounts[g.key] = source
	}
	return r
}

// alone gives serving back as the test found it.
func alone(t *testing.T) {
	before := serving.Load()
	t.Cleanup(func() { serving.Store(before) })
	serving.Store(nil)
}

func TestRuntimeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source := newFakeSecret("properties")
		r := testRuntime(t, source)
		r.started()
		var inFlight int
		var closed, draining bool
		drained := make(chan struct{})
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				admitted := r.enter()
				if want := !closed && !draining; admitted != want {
					t.Fatalf("enter() = %v, want %v", admitted, want)
				}
				if admitted {
					inFlight++
				}
			},
			"leave": func(t *rapid.T) {
				if inFlight == 0 {
					t.Skip("nobody is in")
				}
				inFlight--
				r.leave()
			},
			"close": func(*rapid.T) { r.close(); closed = true },
			"drain": func(t *rapid.T) {
				if draining {
					t.Skip("the process ends once")
				}
				draining = true
				go func() { defer close(drained); r.drain() }()
				for r.enter() { // until drain has begun
					r.leave()
				}
			},
			"": func(t *rapid.T) { // what always holds
				want := int32(0)
				if closed && inFlight == 0 {
					want = 1
				}
				if n := source.closes.Load(); n != want {
					t.Fatalf("released %d times, want %d (closed %v, in flight %d)", n, want, closed, inFlight)
				}
				if draining && inFlight == 0 {
					<-drained // or the test hangs
				}
				select {
				case <-drained:
					if inFlight > 0 {
						t.Fatalf("drained with %d in flight", inFlight)
					}
				default:
				}
			},
		})
		for ; inFlight > 0; inFlight-- {
			r.leave()
		}
		r.close()
		if n := source.closes.Load(); n != 1 {
			t.Fatalf("released %d times in the end, want 1", n)
		}
	})
}

// TestReleaseWaitsForTheLast lets many come and go while the configuration ends.
func TestReleaseWaitsForTheLast(t *testing.T) {
	for range 25 {
		source := newFakeSecret("the last")
		r := testRuntime(t, source)
		var inside atomic.Int32
		source.onShut = func() {
			if n := inside.Load(); n != 0 {
				t.Errorf("released with %d exchanges under way", n)
			}
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for r.enter() {
					inside.Add(1)
					inside.Add(-1)
					r.leave()
				}
			})
		}
		all.Go(r.close)
		all.Wait()
		if n := source.closes.Load(); n != 1 {
			t.Fatalf("released %d times, want 1", n)
		}
	}
}

func TestEnterServing(t *testing.T) {
	alone(t)
	old, next := testRuntime(t), testRuntime(t)
	old.serve()
	if got := old.enterServing(); got != old {
		t.Fatalf("before the reload %p serves, want %p", got, old)
	}
	next.serve()
	if got := old.enterServing(); got != old {
		t.Errorf("a configuration that still lives gave a request away")
	}
	old.leave()
	old.leave()
	old.unserve()
	old.close()
	if got := old.enterServing(); got != next {
		t.Errorf("a request that the reload overtook is served by %p, want the next configuration %p", got, next)
	}
	next.leave()
	next.draining = true
	if got := old.enterServing(); got != nil {
		t.Errorf("a request got in at the end of the process")
	}
	next.draining = false
	next.unserve()
	next.close()
	if got := next.enterServing(); got != nil {
		t.Errorf("a request got in when nothing serves")
	}
	if got := serving.Load(); got != nil {
		t.Errorf("a configuration that is gone serves again")
	}
}

// TestEnterWhileReloading: a request of a configuration that is replaced, and another
// time, in the moment in which it comes, gets in.
func TestEnterWhileReloading(t *testing.T) {
	alone(t)
	current := testRuntime(t)
	current.serve()
	for range 2000 {
		first, second := testRuntime(t), testRuntime(t)
		var reloads sync.WaitGroup
		replaced := current
		reloads.Go(func() {
			first.serve()
			replaced.close()
			second.serve()
			first.close()
		})
		got := replaced.enterServing()
		if got == nil {
			t.Fatal("a request was refused during a reload")
		}
		got.leave()
		reloads.Wait()
		current = second
	}
}

// TestEntryWaitsForStart is about the order in which Caddy starts apps: it is
// random, so requests may be there before the app is.
func TestEntryWaitsForStart(t *testing.T) {
	for name, end := range map[string]func(r *runtime){"started": (*runtime).serve, "failed": (*runtime).close} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				alone(t)
				before := testRuntime(t)
				before.serve()
				r := testRuntime(t)
				entered := make(chan *runtime, 1)
				go func() { entered <- r.enterServing() }()
				synctest.Wait()
				if len(entered) > 0 {
					t.Error("a request got in before the start")
				}
				end(r)
				want := r
				if name == "failed" {
					want = before
				}
				got := <-entered
				if got != want {
					t.Fatalf("served by %p, want %p", got, want)
				}
				got.leave() // the metric counts for the whole process
			})
		})
	}
}

// TestDrain ends the process while exchanges are under way, one of them in a
// configuration that was replaced before.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alone(t)
		old, current := testRuntime(t), testRuntime(t)
		current.underWay = old.underWay
		old.serve()
		if !old.enter() {
			t.Fatal("not admitted")
		}
		current.serve()
		old.unserve()
		old.close()
		if !current.enter() {
			t.Fatal("not admitted")
		}

		var drained atomic.Bool
		go func() { current.drain(); drained.Store(true) }()
		synctest.Wait()
		if current.enterServing() != nil || old.enterServing() != nil {
			t.Error("a request got in while the process ends")
		}
		for _, last := range []*runtime{current, old} {
			if drained.Load() {
				t.Fatal("the process ended while an exchange was under way")
			}
			last.leave()
			synctest.Wait()
		}
		if !drained.Load() {
			t.Error("the process does not end though all exchanges are over")
		}
	})
}

// TestTooLate is what a merchant gets whose request comes when the process ends.
func TestTooLate(t *testing.T) {
	alone(t)
	r := testRuntime(t)
	r.serve()
	r.drain()
	handler := &Handler{app: &App{rt: r}}
	answer := httptest.NewRecorder()
	if err := handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/api/bank/payout", nil), nil); err != nil {
		t.Fatal(err)
	}
	if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Nowpay-Gateway-Error") != string(gateway.NotSent) ||
		answer.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v %s", answer.Code, answer.Header(), answer.Body)
	}
}

func TestFailedStartGoesBack(t *testing.T) {
	alone(t)
	shared, own := newFakeSecret("shared"), newFakeSecret("own")
	shared.give(t)
	current := testRuntime(t, shared)
	current.origins["shared"] = origin{overlap: time.Hour}
	current.keepPrevious(nil)
	shared.rotate(t)
	var log bytes.Buffer
	current.logger = slog.New(slog.NewTextHandler(&log, nil))
	current.serve()

	failing := testRuntime(t, shared, own)
	failing.origins["shared"] = origin{overlap: 2 * time.Hour}
	failing.keepPrevious(current)
	for _, source := range failing.accounts {
		_ = source.start(t.Context(), slog.New(slog.DiscardHandler))
	}
	failing.serve()
	failing.unserve() // another app could not start
	failing.close()
	failing.close() // as nothing forbids

	if serving.Load() != current {
		t.Error("the configuration before does not serve again")
	}
	if shared.closes.Load() != 0 || own.closes.Load() != 1 {
		t.Errorf("closed: shared source %d times, own source %d times, want 0 and 1", shared.closes.Load(), own.closes.Load())
	}
	if st := shared.Status(); st.KeptUntil.Sub(st.Since) != time.Hour {
		t.Errorf("the shared source keeps the credential before for %v", st.KeptUntil.Sub(st.Since))
	}
	shared.logger.Load().Info("still there")
	if !strings.Contains(log.String(), "still there") {
		t.Error("the shared source logs to the configuration that failed")
	}
	current.unserve()
	current.close()
	if serving.Load() != nil || shared.closes.Load() != 1 {
		t.Errorf("in the end %p serves, and the source was closed %d times", serving.Load(), shared.closes.Load())
	}
}

// TestReloadChangesTheOverlap: a longer one counts from the start, a shorter one when
// there is no way back: what a start that fails has dropped would be lost.
func TestReloadChangesTheOverlap(t *testing.T) {
	for _, test := range []struct {
		name                       string
		overlap                    time.Duration // of the next configuration
		fails                      bool
		started, served, afterward time.Duration // for how long it is kept
	}{
		{"shorter", time.Minute, false, time.Hour, time.Hour, time.Minute},
		{"shorter, fails", time.Minute, true, time.Hour, time.Hour, time.Hour},
		{"none", 0, false, time.Hour, time.Hour, 0},
		{"none, fails", 0, true, time.Hour, time.Hour, time.Hour},
		{"longer", 2 * time.Hour, false, 2 * time.Hour, 2 * time.Hour, 2 * time.Hour},
		{"longer, fails", 2 * time.Hour, true, 2 * time.Hour, 2 * time.Hour, time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			alone(t)
			source := newFakeSecret("shared")
			source.give(t)
			current, next := testRuntime(t, source), testRuntime(t, source)
			current.origins["shared"], next.origins["shared"] = origin{overlap: time.Hour}, origin{overlap: test.overlap}
			kept := func(when string, want time.Duration) {
				t.Helper()
				st := source.Status()
				if got := st.KeptUntil.Sub(st.Since); (st.Previous != 0) != (want != 0) || want != 0 && got != want {
					t.Errorf("%s: kept for %v, want %v; status %+v", when, got, want, st)
				}
			}
			current.keepPrevious(serving.Load())
			current.serve()
			source.rotate(t)
			kept("before the reload", time.Hour)
			next.keepPrevious(serving.Load())
			kept("started", test.started)
			next.serve()
			kept("serves", test.served)
			last := next
			if test.fails { // another app could not start
				next.unserve()
				next.close()
				last = current
			} else {
				current.unserve()
				current.close()
			}
			kept("afterwards", test.afterward)
			last.unserve()
			last.close()
		})
	}
}

// TestAccountsShareTheOverlap: accounts with one source have one store.
func TestAccountsShareTheOverlap(t *testing.T) {
	source := newFakeSecret("one")
	source.give(t)
	r := testRuntime(t, source)
	defer r.close()
	for account, overlap := range map[string]time.Duration{"one": 0, "other": time.Hour, "third": time.Minute} {
		r.accounts[account], r.origins[account] = r.accounts["one"], origin{overlap: overlap}
	}
	r.keepPrevious(nil)
	source.rotate(t)
	if st := source.Status(); st.KeptUntil.Sub(st.Since) != time.Hour {
		t.Errorf("the credential before is kept for %v, want the longest of all", st.KeptUntil.Sub(st.Since))
	}
}

// TestStartTellsHowItIs keeps a reload from repeating an error that is over.
func TestStartTellsHowItIs(t *testing.T) {
	source := newFakeSecret("recovers")
	r := testRuntime(t, source)
	defer r.close()
	pooled := r.accounts["recovers"]
	sealed := errors.New("sealed")
	source.first = func(context.Context) error { source.Clear(sealed); return sealed }
	logger := slog.New(slog.DiscardHandler)
	if err := pooled.start(t.Context(), logger); !errors.Is(err, sealed) {
		t.Errorf("first start: %v, want %v", err, sealed)
	}
	if err := pooled.start(t.Context(), logger); !errors.Is(err, sealed) {
		t.Errorf("start while there is no credential: %v, want %v", err, sealed)
	}
	source.give(t)
	if err := pooled.start(t.Context(), logger); err != nil {
		t.Errorf("start once it has recovered: %v", err)
	}
	if n := source.starts.Load(); n != 1 {
		t.Errorf("the source was started %d times", n)
	}
}

// TestStartIsBounded starts with several secret stores that do not answer.
func TestStartIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alone(t)
		silent := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		var secrets []*fakeSecret
		for _, name := range []string{"one", "two", "three"} {
			g := newFakeSecret(name)
			g.first = silent
			secrets = append(secrets, g)
		}
		app := &App{rt: testRuntime(t, secrets...)}
		app.rt.gateway = gateway.New(gateway.Config{
			Journal: app.rt.journal.Journal, Now: time.Now, Random: func() float64 { return 0 },
			Reconcile: gateway.Reconcile{StatusRate: whitelist.Rate{Requests: 1, Per: time.Second, Burst: 1}},
			Policy:    new(whitelist.Policy),
		})
		var err error
		if app.rt.egress, err = egress.New(egress.Config{URL: &url.URL{Scheme: "http", Host: "127.0.0.1:9"}}); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = app.Cleanup() }() // never fails
		begun := time.Now()
		if err := app.Start(); err != nil {
			t.Errorf("start: %v", err)
		}
		if took := time.Since(begun); took != firstFetch {
			t.Errorf("the start took %v, want %v", took, firstFetch)
		}
	})
}

// TestSeriesOfMerchantsThatLeft are dropped, but not before the merchant's last
// exchange is over, nor for a configuration that fails to start.
func TestSeriesOfMerchantsThatLeft(t *testing.T) {
	alone(t)
	with := func(names ...string) *runtime {
		var merchants []whitelist.Merchant
		for i, name := range names {
			merchants = append(merchants, whitelist.Merchant{
				Name: name, Tokens: [][32]byte{{byte(i + 1)}}, From: mustNetworks(t, "anywhere"), Allow: []whitelist.Pattern{mustPattern(t, "bank/*")},
			})
		}
		policy, err := whitelist.NewPolicy(merchants)
		if err != nil {
			t.Fatal(err)
		}
		r := testRuntime(t)
		r.gateway = gateway.New(gateway.Config{Policy: policy})
		return r
	}
	series := func() int {
		all := make(chan prometheus.Metric, 100)
		metrics.exchanges.Collect(all)
		return len(all)
	}
	none := series()
	record := func(merchant string) {
		metrics.record(&gateway.Record{Merchant: merchant, Operation: "bank/payout", Outcome: nowpay.Success})
	}

	both := with("stays", "leaves")
	both.serve()
	record("stays")
	record("leaves")

	failing := with("stays", "newcomer")
	failing.serve()
	record("newcomer")
	failing.unserve()
	failing.close()
	if n := series() - none; n != 2 {
		t.Errorf("after a configuration that failed there are %d series, want those of stays and leaves", n)
	}

	if !both.enter() {
		t.Fatal("not admitted")
	}
	next := with("stays")
	next.serve()
	both.unserve()
	both.close()
	record("leaves")
	if n := series() - none; n != 2 {
		t.Errorf("while its last exchange is under way there are %d series, want 2", n)
	}
	both.leave()
	if n := series() - none; n != 1 {
		t.Errorf("after the reload there are %d series, want that of stays alone", n)
	}
	metrics.forget([]string{"stays"})
	next.unserve()
	next.close()
}

func mustNetworks(t *testing.T, s string) []netip.Prefix {
	t.Helper()
	networks, err := whitelist.ParseNetworks([]string{s})
	if err != nil {
		t.Fatal(err)
	}
	return networks
}

func mustPattern(t *testing.T, s string) whitelist.Pattern {
	t.Helper()
	pattern, err := whitelist.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return pattern
}
