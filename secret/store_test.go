package secret_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// versions are those of credentials that Known returned, which it gives back.
func versions(known []*secret.Credential) []int64 {
	var all []int64
	for _, c := range known {
		all = append(all, c.Version())
		c.Release()
	}
	return all
}

func mustKnow(t *testing.T, s *secret.Store, want ...int64) {
	t.Helper()
	if got := versions(s.Known()); !slices.Equal(got, want) {
		t.Errorf("Known() has the versions %v, want %v", got, want)
	}
	st := s.Status()
	if len(want) < 2 {
		want = append(want, 0, 0)
	}
	if st.Version != want[0] || st.Previous != want[1] || (st.Previous == 0) != st.KeptUntil.IsZero() {
		t.Errorf("Status() = %+v, want the versions %v", st, want)
	}
}

func TestStoreKeepsThePrevious(t *testing.T) {
	const keep = time.Minute
	clk := newClock()
	s := secret.NewStore(0, clk.now)
	s.Keep(keep)
	mustKnow(t, s)
	keys := map[int64][]byte{}
	set := func(version int64) {
		keys[version] = fmt.Appendf(nil, "key-%d", version)
		c, err := secret.NewCredential([]byte("u"), keys[version], version)
		if err != nil {
			t.Fatal(err)
		}
		s.Set(c)
	}
	wiped := func(version int64, want bool) {
		t.Helper()
		if got := zeros(keys[version]); got != want {
			t.Errorf("version %d wiped: %v, want %v", version, got, want)
		}
	}
	set(1)
	mustKnow(t, s, 1)
	clk.advance(time.Hour)
	set(2)
	mustKnow(t, s, 2, 1)
	if st := s.Status(); !st.Since.Equal(clk.now()) || !st.KeptUntil.Equal(clk.now().Add(keep)) {
		t.Errorf("Status() = %+v", st)
	}

	clk.advance(keep - 1)
	s.Fail(errDown)
	set(2) // only confirms
	mustKnow(t, s, 2, 1)
	wiped(1, false)
	clk.advance(1)
	mustKnow(t, s, 2)
	s.Fail(errDown)
	wiped(1, true)

	set(3)
	set(4) // the one before the one before goes
	mustKnow(t, s, 4, 3)
	wiped(2, true)
	wiped(3, false)
	held := s.Known()
	s.Clear(errDown)
	mustKnow(t, s)
	if got := string(held[1].Key().Reveal()); got != "key-3" {
		t.Errorf("the previous key, which is in use, is %q", got)
	}
	if got := versions(held); !slices.Equal(got, []int64{4, 3}) {
		t.Errorf("held %v", got)
	}
	wiped(3, true)
	wiped(4, true)
	set(5)
	mustKnow(t, s, 5) // after a deletion there is none before
}

// TestStoreKeepChanges: the newest word decides, also on what is kept already.
func TestStoreKeepChanges(t *testing.T) {
	clk := newClock()
	s := secret.NewStore(0, clk.now)
	s.Keep(time.Minute)
	s.Set(newCredential(t, "u", "a", 1))
	s.Set(newCredential(t, "u", "b", 2))
	clk.advance(50 * time.Second)
	s.Keep(time.Hour)
	clk.advance(50 * time.Minute)
	mustKnow(t, s, 2, 1)
	s.Keep(time.Minute)
	mustKnow(t, s, 2)
	s.Keep(time.Hour) // it is gone
	mustKnow(t, s, 2)
	s.Set(newCredential(t, "u", "c", 3))
	mustKnow(t, s, 3, 2)
	s.Keep(0)
	mustKnow(t, s, 3)
	s.Set(newCredential(t, "u", "d", 4))
	mustKnow(t, s, 4)
	s.Close()
	s.Keep(time.Hour)
	mustKnow(t, s)
}

// TestStoreRevivesNothing: a longer time is of no use to one whose time is over, even
// if nothing was written since.
func TestStoreRevivesNothing(t *testing.T) {
	clk := newClock()
	s := secret.NewStore(0, clk.now)
	defer s.Close()
	s.Keep(time.Minute)
	s.Set(newCredential(t, "u", "a", 1))
	s.Set(newCredential(t, "u", "b", 2))
	clk.advance(time.Minute)
	s.Keep(time.Hour)
	mustKnow(t, s, 2)
}

// TestStoreWipesInTime: the credential before is wiped when its time is over, though
// nobody touches the store, and not before; so it is if the time was changed.
func TestStoreWipesInTime(t *testing.T) {
	for _, changed := range []time.Duration{time.Minute, 10 * time.Minute, 40 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := secret.NewStore(0, time.Now)
			defer s.Close()
			s.Keep(time.Minute)
			before := newCredential(t, "u", "a", 1)
			s.Set(before)
			s.Set(newCredential(t, "u", "b", 2))
			time.Sleep(30 * time.Second)
			s.Keep(changed)
			time.Sleep(changed - 30*time.Second - time.Nanosecond)
			synctest.Wait()
			mustKnow(t, s, 2, 1)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if before.Key().Reveal() != nil {
				t.Errorf("kept for %v: not wiped then", changed)
			}
		})
	}
}

// TestStoreKeepsNothingStale: what may be revoked signs nothing and proves nothing.
func TestStoreKeepsNothingStale(t *testing.T) {
	clk := newClock()
	s := secret.NewStore(time.Minute, clk.now)
	s.Keep(time.Hour)
	s.Set(newCredential(t, "u", "a", 1))
	s.Set(newCredential(t, "u", "b", 2))
	clk.advance(time.Minute + 1)
	if got := versions(s.Known()); got != nil {
		t.Errorf("Known() has the versions %v", got)
	}
	s.Set(newCredential(t, "u", "b", 2))
	mustKnow(t, s, 2, 1)
}
