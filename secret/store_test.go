package secret_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

var errDown = errors.New("reading the source: it is down")

// clock is a time that moves only when told to.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newCredential(tb testing.TB, username, key string, version int64) *secret.Credential {
	tb.Helper()
	c, err := secret.NewCredential([]byte(username), []byte(key), version)
	if err != nil {
		tb.Fatalf("NewCredential: %v", err)
	}
	return c
}

func TestNewCredential(t *testing.T) {
	long := strings.Repeat("k", 265)
	tests := []struct {
		name, username, key string
		want                string // of the error; "" none
	}{
		{"as documented", "2000", "0123456789abcdef0123456789", ""},
		{"longest key", "2000", long, ""},
		{"not ASCII", "ünïcode", "schlüssel", ""},
		{"spaces", "a b", " k ", ""},
		{"no username", "", "k", "invalid credential: the username is empty"},
		{"no key", "u", "", "invalid credential: the key is empty"},
		{"key too long", "u", long + "k", "invalid credential: the key is longer than 265 bytes"},
		{"username too long", long + "u", "k", "invalid credential: the username is longer than 265 bytes"},
		{"CR LF", "u", "secretk\r\n", "invalid credential: the key holds a control character"},
		{"LF in username", "secretu\n", "k", "invalid credential: the username holds a control character"},
		{"NUL", "u", "secret\x00k", "invalid credential: the key holds a control character"},
		{"tab", "u", "secret\tk", "invalid credential: the key holds a control character"},
		{"DEL", "u", "secret\x7fk", "invalid credential: the key holds a control character"},
		{"PEM", "u", pem(100), ""},
		{"longest PEM", "u", pem(16<<10 - len(pem(0))), ""},
		{"PEM too long", "u", pem(16<<10 - len(pem(0)) + 1), "invalid credential: the key is longer than 16384 bytes"},
		{"NUL in PEM", "u", pem(1) + "\x00", "invalid credential: the key holds a control character"},
		{"PEM in username", pem(1), "k", "invalid credential: the username holds a control character"},
		{"not UTF-8", "u", "secret\xffk", "invalid credential: the key is not UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			username, key := []byte(tt.username), []byte(tt.key)
			c, err := secret.NewCredential(username, key, 7)
			if tt.want != "" {
				if !errors.Is(err, secret.ErrInvalid) || err.Error() != tt.want || c != nil {
					t.Fatalf("NewCredential() = %v, %v, want error %q", c, err, tt.want)
				}
				if !zeros(username) || !zeros(key) {
					t.Error("the refused credential was not overwritten")
				}
				return
			}
			if err != nil {
				t.Fatalf("NewCredential(): %v", err)
			}
			if string(c.Username().Reveal()) != tt.username || string(c.Key().Reveal()) != tt.key || c.Version() != 7 {
				t.Errorf("got %q, %q, version %d", c.Username().Reveal(), c.Key().Reveal(), c.Version())
			}
			c.Release()
			if !zeros(username) || !zeros(key) {
				t.Error("not overwritten with the last release")
			}
		})
	}
}

// pem is a text that begins and ends like a private key, with so much in it.
func pem(length int) string {
	return "-----BEGIN PRIVATE KEY-----\r\n" + strings.Repeat("k", length) + "\n-----END PRIVATE KEY-----\n"
}

// TestOnce: what is made of a key is made once, whoever asks first.
func TestOnce(t *testing.T) {
	c := newCredential(t, "u", "the key", 1)
	made := 0
	for range 3 {
		got, err := c.Once(func(key []byte) (any, error) { made++; return len(key), nil })
		if got != 7 || err != nil || made != 1 {
			t.Errorf("Once() = %v, %v, made %d times", got, err, made)
		}
	}
}

func zeros(b []byte) bool { return bytes.Equal(b, make([]byte, len(b))) }

func TestReleaseTooOften(t *testing.T) {
	c := newCredential(t, "u", "k", 1)
	c.Release()
	defer func() {
		if recover() == nil {
			t.Error("a second Release did not panic")
		}
	}()
	c.Release()
}

func TestStoreStaleness(t *testing.T) {
	const staleFor = 10 * time.Minute
	c := newClock()
	s := secret.NewStore(staleFor, c.now)
	s.Set(newCredential(t, "u", "k", 3))

	c.advance(staleFor)
	s.Fail(errDown)
	got, err := s.Acquire()
	if err != nil {
		t.Fatalf("Acquire() at exactly stale_for: %v", err)
	}
	got.Release()
	st := s.Status()
	if !st.Available || st.Age != staleFor || st.Version != 3 || !errors.Is(st.Err, errDown) {
		t.Errorf("Status() at exactly stale_for = %+v", st)
	}

	c.advance(1)
	if _, err := s.Acquire(); !errors.Is(err, secret.ErrUnavailable) || !errors.Is(err, errDown) {
		t.Errorf("Acquire() one nanosecond later: %v, want ErrUnavailable and the reason", err)
	}
	st = s.Status()
	if st.Available || st.Version != 3 || st.Age != staleFor+1 || !errors.Is(st.Err, secret.ErrUnavailable) {
		t.Errorf("Status() one nanosecond later = %+v", st)
	}

	s.Set(newCredential(t, "u", "k", 3))
	if st := s.Status(); !st.Available || st.Age != 0 || st.Err != nil {
		t.Errorf("Status() after a confirmation = %+v", st)
	}
}

func TestStoreNeverStale(t *testing.T) {
	c := newClock()
	s := secret.NewStore(0, c.now)
	s.Set(newCredential(t, "u", "k", 1))
	c.advance(100 * 365 * 24 * time.Hour)
	if st := s.Status(); !st.Available {
		t.Errorf("Status() = %+v, want available", st)
	}
}

func TestStoreEmpty(t *testing.T) {
	s := secret.NewStore(time.Minute, newClock().now)
	if _, err := s.Acquire(); !errors.Is(err, secret.ErrUnavailable) {
		t.Errorf("Acquire() of an empty store: %v", err)
	}
	if st := s.Status(); st.Available || st.Err == nil || !st.FetchedAt.IsZero() || st.Age != 0 || st.Version != 0 {
		t.Errorf("Status() of an empty store = %+v", st)
	}
	s.Fail(errDown)
	if _, err := s.Acquire(); !errors.Is(err, secret.ErrUnavailable) || !errors.Is(err, errDown) {
		t.Errorf("Acquire() after Fail: %v", err)
	}
}

func TestStoreClear(t *testing.T) {
	s := secret.NewStore(time.Minute, newClock().now)
	key := []byte("key")
	c, err := secret.NewCredential([]byte("u"), key, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.Set(c)
	held, err := s.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	errGone := errors.New("reading secret/nowpay: deleted")
	s.Clear(errGone)
	if _, err := s.Acquire(); !errors.Is(err, secret.ErrUnavailable) || !errors.Is(err, errGone) {
		t.Errorf("Acquire() after Clear: %v", err)
	}
	if st := s.Status(); st.Available || st.Version != 0 || !st.FetchedAt.IsZero() {
		t.Errorf("Status() after Clear = %+v", st)
	}
	if got := string(held.Key().Reveal()); got != "key" {
		t.Errorf("key of the exchange under way = %q", got)
	}
	held.Release()
	if !zeros(key) {
		t.Error("not overwritten with the last release")
	}
}

func TestStoreCounts(t *testing.T) {
	s := secret.NewStore(0, newClock().now)
	for i, step := range []struct {
		key  string
		want int64
	}{{"a", 1}, {"a", 1}, {"b", 2}, {"b", 2}, {"a", 3}} {
		s.Set(newCredential(t, "u", step.key, 0))
		if got := s.Status().Version; got != step.want {
			t.Errorf("version after step %d = %d, want %d", i, got, step.want)
		}
	}
}

func TestStoreSameVersionOtherBytes(t *testing.T) {
	s := secret.NewStore(0, newClock().now)
	s.Set(newCredential(t, "u", "old", 1))
	s.Set(newCredential(t, "u", "new", 1)) // the secret was deleted and made again
	c, err := s.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if got := string(c.Key().Reveal()); got != "new" {
		t.Errorf("key = %q, want new", got)
	}
}

func TestStoreClose(t *testing.T) {
	s := secret.NewStore(0, newClock().now)
	s.Set(newCredential(t, "u", "k", 1))
	held, err := s.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close()
	late := newCredential(t, "u", "late", 2)
	key := late.Key()
	s.Set(late)
	s.Fail(errDown)
	s.Clear(errDown)
	if _, err := s.Acquire(); !errors.Is(err, secret.ErrUnavailable) || errors.Is(err, errDown) {
		t.Errorf("Acquire() after Close: %v", err)
	}
	if key.Reveal() != nil {
		t.Error("a credential set after Close was not overwritten")
	}
	if got := string(held.Key().Reveal()); got != "k" {
		t.Errorf("key held over Close = %q", got)
	}
	held.Release()
	if held.Key().Reveal() != nil {
		t.Error("not overwritten with the last release")
	}
}

// TestStoreConcurrent looks for mixed or overwritten credentials while versions
// change under many readers.
func TestStoreConcurrent(t *testing.T) {
	s := secret.NewStore(time.Hour, time.Now)
	set := func(v int64) { s.Set(newCredential(t, fmt.Sprintf("user-%d", v), fmt.Sprintf("key-%d", v), v)) }
	set(1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var last int64
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := s.Acquire()
				if err != nil {
					t.Errorf("Acquire(): %v", err)
					return
				}
				v := c.Version()
				u, k := string(c.Username().Reveal()), string(c.Key().Reveal())
				if u != fmt.Sprintf("user-%d", v) || k != fmt.Sprintf("key-%d", v) || v < last {
					t.Errorf("version %d after %d: %q, %q", v, last, u, k)
				}
				last = v
				_ = s.Status()
				c.Release()
			}
		})
	}
	for v := int64(2); v < 2000; v++ {
		set(v)
	}
	close(stop)
	wg.Wait()
}

// TestStoreModel checks the store against a plain model of it.
func TestStoreModel(t *testing.T) {
	const staleFor = 10 * time.Second
	type version struct {
		version       int64
		username, key []byte // the memory of the credential
		text          string
		holders       int
	}
	rapid.Check(t, func(t *rapid.T) {
		clk := newClock()
		s := secret.NewStore(staleFor, clk.now)
		var (
			current   *version // nil: none
			fetchedAt time.Time
			closed    bool
			all       []*version
			held      = map[*secret.Credential]*version{}
			order     []*secret.Credential
		)
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				text := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "text")
				n := rapid.Int64Range(1, 3).Draw(t, "version")
				v := &version{version: n, text: text, username: []byte("u" + text), key: []byte("k" + text)}
				c, err := secret.NewCredential(v.username, v.key, n)
				if err != nil {
					t.Fatal(err)
				}
				s.Set(c)
				all = append(all, v)
				if closed {
					return
				}
				fetchedAt = clk.now()
				if current == nil || current.version != n || current.text != text {
					current = v
				}
			},
			"clear": func(*rapid.T) { s.Clear(errDown); current = nil },
			"fail":  func(*rapid.T) { s.Fail(errDown) },
			"advance": func(t *rapid.T) {
				clk.advance(time.Duration(rapid.IntRange(1, 6).Draw(t, "seconds")) * time.Second)
			},
			"close": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "rarely") == 0 {
					s.Close()
					closed, current = true, nil
				}
			},
			"acquire": func(t *rapid.T) {
				c, err := s.Acquire()
				want := current != nil && clk.now().Sub(fetchedAt) <= staleFor
				if got := err == nil; got != want {
					t.Fatalf("Acquire(): %v, want success: %v", err, want)
				}
				if err != nil {
					if !errors.Is(err, secret.ErrUnavailable) {
						t.Fatalf("Acquire(): %v, want ErrUnavailable", err)
					}
					return
				}
				if v, ok := held[c]; ok && v != current {
					t.Fatal("two versions in one credential")
				}
				held[c] = current
				current.holders++
				order = append(order, c)
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
					used := v == current || v.holders > 0
					if used && (string(v.username) != "u"+v.text || string(v.key) != "k"+v.text) {
						t.Fatal("a credential in use was overwritten")
					}
					if !used && (!zeros(v.username) || !zeros(v.key)) {
						t.Fatal("a credential that nobody uses was not overwritten")
					}
				}
				st := s.Status()
				if want := current != nil && clk.now().Sub(fetchedAt) <= staleFor; st.Available != want {
					t.Fatalf("Status().Available = %v, want %v", st.Available, want)
				}
				if !st.Available && st.Err == nil {
					t.Fatal("unavailable without a reason")
				}
			},
		})
	})
}

func BenchmarkAcquire(b *testing.B) {
	s := secret.NewStore(time.Hour, time.Now)
	s.Set(newCredential(b, "u", "k", 1))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c, err := s.Acquire()
			if err != nil {
				b.Fatal(err)
			}
			c.Release()
		}
	})
}
