package secret_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// mustBeWhole looks for a mixed or wiped credential of numbered().
func mustBeWhole(t *testing.T, c *secret.Credential) {
	v := c.Version()
	u, k := string(c.Username().Reveal()), string(c.Key().Reveal())
	if u != fmt.Sprintf("user-%d", v) || k != fmt.Sprintf("key-%d", v) {
		t.Errorf("version %d: %q, %q", v, u, k)
	}
}

func numbered(tb testing.TB, v int64) *secret.Credential {
	return newCredential(tb, fmt.Sprintf("user-%d", v), fmt.Sprintf("key-%d", v), v)
}

// readers take credentials until stop is closed, and give them back.
func readers(t *testing.T, s *secret.Store, stop <-chan struct{}, mayFail bool) *sync.WaitGroup {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for last := int64(0); ; {
				select {
				case <-stop:
					return
				default:
				}
				c, err := s.Acquire()
				switch {
				case err != nil && !mayFail:
					t.Errorf("Acquire(): %v", err)
					return
				case err == nil:
					if c.Version() < last {
						t.Errorf("version %d after %d", c.Version(), last)
					}
					last = c.Version()
					mustBeWhole(t, c)
					c.Release()
				}
				for i, c := range s.Known() {
					if i == 0 && c.Version() < last || i == 1 && c.Version() >= last {
						t.Errorf("version %d is number %d of the known ones, after %d", c.Version(), i, last)
					}
					last = max(last, c.Version())
					mustBeWhole(t, c)
					c.Release()
				}
				_ = s.Status()
			}
		})
	}
	return &wg
}

// TestStoreConcurrent changes versions under many readers, who must find one at any
// time.
func TestStoreConcurrent(t *testing.T) {
	s := secret.NewStore(time.Hour, time.Now)
	s.Keep(time.Hour)
	s.Set(numbered(t, 1))
	stop := make(chan struct{})
	wg := readers(t, s, stop, false)
	for v := int64(2); v < 2000; v++ {
		s.Set(numbered(t, v))
	}
	close(stop)
	wg.Wait()
}

// TestStoreHammered does all that can be done with stores, from many sides: nobody
// may get hold of a credential that is wiped, and all are in the end.
func TestStoreHammered(t *testing.T) {
	for round := range 20 {
		s := secret.NewStore(time.Hour, time.Now)
		stop := make(chan struct{})
		wg := readers(t, s, stop, true)
		var (
			version atomic.Int64
			mu      sync.Mutex
			all     []*secret.Credential
			writers sync.WaitGroup
		)
		for w := range uint64(2) {
			writers.Go(func() {
				random := rand.New(rand.NewPCG(uint64(round), w))
				for range 200 {
					switch random.IntN(8) {
					case 0:
						s.Clear(errDown)
					case 1:
						s.Fail(errDown)
					case 2:
						s.Keep(time.Duration(random.IntN(3)) * 50 * time.Microsecond)
					default:
						mu.Lock() // so that versions grow
						c := numbered(t, version.Add(1))
						all = append(all, c)
						s.Set(c)
						mu.Unlock()
					}
				}
			})
		}
		writers.Wait()
		s.Close()
		close(stop)
		wg.Wait()
		for _, c := range all {
			if c.Key().Reveal() != nil || c.Username().Reveal() != nil {
				t.Fatalf("version %d is not wiped", c.Version())
			}
		}
	}
}

// modelled is a credential of TestStoreModel.
type modelled struct {
	version       int64
	username, key []byte // the memory of the credential
	text          string
	holders       int
}

// model is what a Store must do, without counting references.
type model struct {
	staleFor, keep        time.Duration
	current, previous     *modelled // nil: none
	fetchedAt, replacedAt time.Time
	closed                bool
}

func (m *model) available(now time.Time) bool {
	return m.current != nil && now.Sub(m.fetchedAt) <= m.staleFor
}

func (m *model) keeps(now time.Time) bool {
	return m.previous != nil && now.Before(m.replacedAt.Add(m.keep))
}

// known are those that may have signed.
func (m *model) known(now time.Time) []*modelled {
	switch {
	case !m.available(now):
		return nil
	case !m.keeps(now):
		return []*modelled{m.current}
	}
	return []*modelled{m.current, m.previous}
}

// written is what every writing does, and the clock of the machine, which is not that of
// the test, may do at any time.
func (m *model) written(now time.Time) {
	if !m.keeps(now) {
		m.previous = nil
	}
}

// TestStoreModel checks the store against a plain model of it.
func TestStoreModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clk := newClock()
		m := &model{staleFor: 10 * time.Second}
		s := secret.NewStore(m.staleFor, clk.now)
		var (
			all   []*modelled
			held  = map[*secret.Credential]*modelled{}
			order []*secret.Credential
		)
		take := func(c *secret.Credential, v *modelled) {
			if before, ok := held[c]; ok && before != v || c.Version() != v.version {
				t.Fatal("two versions in one credential")
			}
			held[c] = v
			v.holders++
			order = append(order, c)
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				text := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "text")
				n := rapid.Int64Range(1, 3).Draw(t, "version")
				v := &modelled{version: n, text: text, username: []byte("u" + text), key: []byte("k" + text)}
				c, err := secret.NewCredential(v.username, v.key, n)
				if err != nil {
					t.Fatal(err)
				}
				s.Set(c)
				all = append(all, v)
				if m.closed {
					return
				}
				m.fetchedAt = clk.now()
				if m.current == nil || m.current.version != n || m.current.text != text {
					m.previous, m.current, m.replacedAt = m.current, v, clk.now()
				}
				m.written(clk.now())
			},
			"clear": func(*rapid.T) { s.Clear(errDown); m.current, m.previous = nil, nil },
			"fail":  func(*rapid.T) { s.Fail(errDown); m.written(clk.now()) },
			"keep": func(t *rapid.T) {
				d := time.Duration(rapid.IntRange(0, 8).Draw(t, "seconds")) * time.Second
				s.Keep(d)
				if !m.closed {
					m.written(clk.now())
					m.keep = d
					m.written(clk.now())
				}
			},
			"advance": func(t *rapid.T) {
				clk.advance(time.Duration(rapid.IntRange(1, 6).Draw(t, "seconds")) * time.Second)
			},
			"close": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "rarely") == 0 {
					s.Close()
					m.closed, m.current, m.previous = true, nil, nil
				}
			},
			"acquire": func(t *rapid.T) {
				c, err := s.Acquire()
				if want := m.available(clk.now()); (err == nil) != want {
					t.Fatalf("Acquire(): %v, want success: %v", err, want)
				}
				switch {
				case err == nil:
					take(c, m.current)
				case !errors.Is(err, secret.ErrUnavailable):
					t.Fatalf("Acquire(): %v, want ErrUnavailable", err)
				}
			},
			"known": func(t *rapid.T) {
				got, want := s.Known(), m.known(clk.now())
				if len(got) != len(want) {
					t.Fatalf("Known() returned %d credentials, want %d", len(got), len(want))
				}
				for i, c := range got {
					take(c, want[i])
				}
			},
			"release": func(t *rapid.T) {
				if len(order) == 0 {
					t.Skip("nothing held")
				}
				i := rapid.IntRange(0, len(order)-1).Draw(t, "which")
				c := order[i]
				order = append(order[:i], order[i+1:]...)
				held[c].holders--
				c.Release()
			},
			"": func(t *rapid.T) {
				for _, v := range all {
					if v == m.previous && !m.keeps(clk.now()) {
						continue // wiped with the next writing, or before
					}
					used := v == m.current || v == m.previous || v.holders > 0
					if used && (string(v.username) != "u"+v.text || string(v.key) != "k"+v.text) {
						t.Fatal("a credential in use was wiped")
					}
					if !used && (!zeros(v.username) || !zeros(v.key)) {
						t.Fatal("a credential that nobody uses was not wiped")
					}
				}
				st := s.Status()
				if want := m.available(clk.now()); st.Available != want {
					t.Fatalf("Status().Available = %v, want %v", st.Available, want)
				}
				if !st.Available && st.Err == nil {
					t.Fatal("unavailable without a reason")
				}
				if known := m.known(clk.now()); (len(known) == 2) != (st.Previous != 0) || st.Previous != 0 && st.Previous != known[1].version {
					t.Fatalf("Status().Previous = %d", st.Previous)
				}
			},
		})
	})
}

// BenchmarkAcquire shows what it costs to take a credential and give it back, with and
// without the lock that a plain store would take: alone, where those who do nothing
// else only fight for the processor's cache, and with a signature in between, which is
// the least that an exchange does with it.
//
//	go test -run '^$' -bench Acquire -cpu 1,2 ./secret
func BenchmarkAcquire(b *testing.B) {
	s := secret.NewStore(time.Hour, time.Now)
	s.Set(newCredential(b, "u", "k", 1))
	var mu sync.Mutex
	locked := func() (*secret.Credential, error) {
		mu.Lock()
		defer mu.Unlock()
		return s.Acquire()
	}
	body := make([]byte, 1024)
	sign := func(c *secret.Credential) { hmac.New(sha256.New, c.Key().Reveal()).Write(body) }
	for _, way := range []struct {
		name    string
		acquire func() (*secret.Credential, error)
		use     func(*secret.Credential)
	}{
		{"alone/lock-free", s.Acquire, func(*secret.Credential) {}},
		{"alone/mutex", locked, func(*secret.Credential) {}},
		{"signing/lock-free", s.Acquire, sign},
		{"signing/mutex", locked, sign},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c, err := way.acquire()
					if err != nil {
						b.Error(err)
						return
					}
					way.use(c)
					c.Release()
				}
			})
		})
	}
}
