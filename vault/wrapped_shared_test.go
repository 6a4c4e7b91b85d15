package vault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// wrappingFake is a Vault whose wrapping endpoint can be slow: any wrapping token
// stands for a secret ID, once.
type wrappingFake struct {
	*fake
	lookup, unwrap func() // called before the answer
	read           func(http.ResponseWriter) bool
	unwrapped      atomic.Int64
	logins         atomic.Int64
	last           atomic.Value // the token that was unwrapped last
}

func newWrappingFake(t *testing.T) *wrappingFake {
	t.Helper()
	w := &wrappingFake{
		lookup: func() {}, unwrap: func() {},
		read: func(http.ResponseWriter) bool { return false },
	}
	w.fake = newFake(t, w.answer)
	return w
}

func (f *wrappingFake) answer(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "/v1/sys/wrapping/lookup":
		f.lookup()
		fmt.Fprint(w, `{"data":{"creation_path":"auth/approle/role/gateway/secret-id"}}`)
	case "/v1/sys/wrapping/unwrap":
		token := r.Header.Get("X-Vault-Token")
		if f.last.Swap(token) == token {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"errors":["wrapping token is not valid or does not exist"]}`)
			return true
		}
		f.unwrapped.Add(1)
		f.unwrap()
		fmt.Fprint(w, `{"data":{"secret_id":"s3cret-1d"}}`)
	case "/v1/auth/approle/login":
		f.logins.Add(1)
		fmt.Fprint(w, `{"auth":{"client_token":"hvs.t0ken","lease_duration":0}}`)
	case "/v1/secret/data/nowpay/main":
		return f.read(w)
	default:
		return false
	}
	return true
}

// config has a file with a wrapping token, and a login to be shared.
func (f *wrappingFake) config(t *testing.T) (cfg vault.Config, file string) {
	t.Helper()
	cfg, file = f.fake.config(t), writeFile(t, "wrapped", "hvs.wr4pping-1")
	cfg.Auth = vault.WrappedAppRoleAuth("role", file)
	return cfg, file
}

// TestUnwrappedToTheEnd: what Vault gives only once is not lost if the source that
// asked for it ends. The next configuration's has the same login.
func TestUnwrappedToTheEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *vault.Source, leave func()){
		"Close":          func(s *vault.Source, _ func()) { s.Close() },
		"context's end":  func(_ *vault.Source, leave func()) { leave() },
		"both, reversed": func(s *vault.Source, leave func()) { leave(); s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newWrappingFake(t)
			unwrapping, goOn := make(chan struct{}), make(chan struct{})
			f.unwrap = func() { close(unwrapping); <-goOn }
			cfg, _ := f.config(t)
			old, _ := newSource(t, cfg, vault.Options{})
			next, _ := newSource(t, cfg, vault.Options{})
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			started := make(chan error)
			go func() { started <- old.Start(ctx) }()
			<-unwrapping
			time.AfterFunc(200*time.Millisecond, func() { close(goOn) })
			end(old, leave)
			if err := <-started; !errors.Is(err, context.Canceled) {
				t.Errorf("Start() of the one that ended: %v", err)
			}
			if err := start(t, next); err != nil {
				t.Errorf("Start() of the next one: %v", err)
			}
			mustHold(t, next, 1, 1)
			if n := f.unwrapped.Load(); n != 1 {
				t.Errorf("%d unwrappings, want 1", n)
			}
		})
	}
}

// TestUnwrappingAlone: while one account waits for Vault's wrapping endpoint, others
// with the same login go on, and can end.
func TestUnwrappingAlone(t *testing.T) {
	t.Parallel()
	f := newWrappingFake(t)
	var slow atomic.Bool
	waiting, goOn := make(chan struct{}, 100), make(chan struct{})
	f.lookup = func() {
		if slow.Load() {
			waiting <- struct{}{}
			<-goOn
		}
	}
	defer close(goOn)
	cfg, file := f.config(t)
	first, _ := startSource(t, cfg, vault.Options{})
	second, _ := startSource(t, cfg, vault.Options{})
	slow.Store(true)
	rewriteFile(t, file, "hvs.wr4pping-2")
	<-waiting
	begun := time.Now()
	third, _ := newSource(t, cfg, vault.Options{})
	if err := start(t, third); err != nil {
		t.Errorf("Start(): %v", err)
	}
	mustHold(t, third, 1, 1)
	first.Close()
	second.Close()
	if took := time.Since(begun); took > 7*time.Second {
		t.Errorf("starting and closing took %v", took)
	}
}

// TestUnwrappingIsWaitedFor by those who have nothing to log in with, until their
// context ends.
func TestUnwrappingIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newWrappingFake(t)
	unwrapping, goOn := make(chan struct{}), make(chan struct{})
	f.unwrap = func() { close(unwrapping); <-goOn }
	cfg, _ := f.config(t)
	first, _ := newSource(t, cfg, vault.Options{})
	hurried, _ := newSource(t, cfg, vault.Options{})
	patient, _ := newSource(t, cfg, vault.Options{})
	started := make(chan error)
	go func() { started <- first.Start(t.Context()) }()
	<-unwrapping
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := hurried.Start(ctx)
	mustFailAt(t, err, vault.StepLogin, "hvs.wr4pping-1")
	if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second {
		t.Errorf("Start() took %v: %v", took, err)
	}
	time.AfterFunc(200*time.Millisecond, func() { close(goOn) })
	if err := start(t, patient); err != nil {
		t.Errorf("Start() of one that waits: %v", err)
	}
	if err := <-started; err != nil {
		t.Errorf("Start() of the one that unwraps: %v", err)
	}
	eventually(t, "all", func() bool { return available(first)() && available(hurried)() && available(patient)() })
	if n := f.unwrapped.Load(); n != 1 {
		t.Errorf("%d unwrappings, want 1", n)
	}
}

// TestWrappedWhileReadingFails: the token does not live until the secret is back.
func TestWrappedWhileReadingFails(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"gone": http.StatusNotFound, "broken": http.StatusInternalServerError} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newWrappingFake(t)
			var away atomic.Bool
			f.read = func(w http.ResponseWriter) bool {
				if away.Load() {
					w.WriteHeader(status)
				}
				return away.Load()
			}
			cfg, file := f.config(t)
			s, _ := startSource(t, cfg, vault.Options{})
			away.Store(true)
			eventually(t, "the failure", func() bool { return s.Status().Err != nil })
			rewriteFile(t, file, "hvs.wr4pping-2")
			eventually(t, "the new token to be unwrapped", func() bool { return f.unwrapped.Load() == 2 })
			mustFailAt(t, s.Status().Err, vault.StepRead)
			rewriteFile(t, file, "two words")
			eventually(t, "two faults", func() bool {
				err := s.Status().Err
				return err != nil && strings.Contains(err.Error(), "reading secret/nowpay/main") && strings.Contains(err.Error(), "more than one word")
			})
			away.Store(false)
			rewriteFile(t, file, "hvs.wr4pping-3")
			eventually(t, "recovery", available(s))
			mustHold(t, s, 1, 1)
		})
	}
}
