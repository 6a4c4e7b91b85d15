package secret_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

func TestNewKeyless(t *testing.T) {
	for _, username := range []string{"", strings.Repeat("u", 266), "2000\n", "\xff"} {
		b := []byte(username)
		if _, err := secret.NewKeyless(b, 1); !errors.Is(err, secret.ErrInvalid) {
			t.Errorf("NewKeyless(%q): %v", username, err)
		}
		if slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
			t.Errorf("NewKeyless(%q) leaves it in memory", username)
		}
	}
	if _, err := secret.NewCredential([]byte("2000"), nil, 1); !errors.Is(err, secret.ErrInvalid) {
		t.Errorf("NewCredential() without a key: %v", err)
	}

	s := secret.NewStore(0, time.Now)
	put := func(username string) {
		t.Helper()
		c, err := secret.NewKeyless([]byte(username), 0)
		if err != nil {
			t.Fatal(err)
		}
		s.Set(c)
	}
	put("2000")
	put("2000") // only confirms it
	held, err := s.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	if u, k := string(held.Username().Reveal()), held.Key().Reveal(); u != "2000" || k != nil || held.IsPEM() || held.Version() != 1 {
		t.Errorf("Acquire() = %q, %q, version %d", u, k, held.Version())
	}
	s.Set(newCredential(t, "2000", "the key", 0)) // another one: it has a key
	held.Release()
	if held.Username().Reveal() != nil {
		t.Error("the username is in memory after the last use")
	}
	if st := s.Status(); st.Version != 2 {
		t.Errorf("version %d", st.Version)
	}
	s.Close()
}
