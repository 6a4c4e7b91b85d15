package vault_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// seldom is a configuration that reads of itself only at the start.
func seldom(cfg vault.Config) vault.Config {
	cfg.Refresh, cfg.StaleFor = time.Hour, 3*time.Hour
	return cfg
}

// known are the versions that a source knows.
func known(s secret.Source) []int64 {
	var versions []int64
	for _, c := range s.Known() {
		versions = append(versions, c.Version())
		c.Release()
	}
	return versions
}

func mustRefresh(t *testing.T, s secret.Source) {
	t.Helper()
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatalf("Refresh(): %v", err)
	}
}

// TestRefresh: whoever asks sees what was written before, and however many ask,
// Vault is asked about once a second.
func TestRefresh(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	s, log := startSource(t, seldom(config(t, server)), vault.Options{})
	before, began := server.Requests("secret/data/nowpay/main", "read"), time.Now()
	for n := 2; n <= 4; n++ {
		server.PutKV2("secret", "nowpay/main", pair(n))
		var asking sync.WaitGroup
		for range 50 {
			asking.Go(func() {
				if err := s.Refresh(t.Context()); err != nil {
					t.Errorf("Refresh(): %v", err)
				}
				if !keyIs(s, n)() {
					t.Errorf("Refresh() did not see version %d, which was there", n)
				}
			})
		}
		asking.Wait()
	}
	most := int(time.Since(began)/time.Second) + 1
	if reads := server.Requests("secret/data/nowpay/main", "read") - before; reads > most || reads < 3 {
		t.Errorf("Vault was asked %d times, want 3 to %d", reads, most)
	}
	if got := log.count(msgNewVersion); got != 3 {
		t.Errorf("logged %d new versions, want 3", got)
	}
}

// TestRefreshSameVersion: a secret that is deleted with its versions and written anew
// begins with version 1 again. It is another credential, and the log says so.
func TestRefreshSameVersion(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	s, log := startSource(t, seldom(config(t, server)), vault.Options{})
	since := s.Status().Since
	for _, n := range []int{7, 8, 8} {
		server.ForgetKV2("secret", "nowpay/main")
		server.PutKV2("secret", "nowpay/main", pair(n))
		mustRefresh(t, s)
		if st := s.Status(); !keyIs(s, n)() || st.Version != 1 || !st.Since.After(since) {
			t.Errorf("Status() = %+v", st)
		}
	}
	s.Close() // by then all is logged
	if got := log.count(msgNewVersion); got != 2 {
		t.Errorf("logged %d new versions, want 2", got)
	}
}

// TestRefreshKeepsAsking: merchants whose calls are refused ask all the time.
func TestRefreshKeepsAsking(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	s, _ := startSource(t, seldom(f.config(t)), vault.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	before := len(f.seen())
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for ctx.Err() == nil {
				if err := s.Refresh(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Refresh(): %v", err)
				}
			}
		})
	}
	asking.Wait()
	if reads := len(f.seen()) - before; reads < 1 || reads > 3 {
		t.Errorf("Vault was asked %d times in 2.5 seconds", reads)
	}
}

// TestRefreshOfWhatFails: the error says why, and the credential is used on.
func TestRefreshOfWhatFails(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	s, _ := startSource(t, seldom(config(t, server)), vault.Options{})
	server.Seal()
	mustFailAt(t, s.Refresh(t.Context()), vault.StepRead)
	mustHold(t, s, 1, 1)
	server.Unseal()
	mustRefresh(t, s)
	server.DeleteKV2("secret", "nowpay/main")
	mustFailAt(t, s.Refresh(t.Context()), vault.StepRead)
	if !gone(s)() {
		t.Error("a deleted credential is used on")
	}
}

// TestRefreshDoesNotWait: not for ever, not for a source that is not started, and not
// for one that is closed.
func TestRefreshDoesNotWait(t *testing.T) {
	t.Parallel()
	hang, hanging := make(chan struct{}), make(chan struct{})
	var reads atomic.Int64
	f := newFake(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v1/secret/data/nowpay/main" && reads.Add(1) == 2 {
			close(hanging)
			<-hang
		}
		return false
	})
	defer sync.OnceFunc(func() { close(hang) })()
	s, _ := newSource(t, seldom(f.config(t)), vault.Options{})
	if err := s.Refresh(t.Context()); err == nil {
		t.Error("Refresh() before Start succeeds")
	}
	if err := start(t, s); err != nil {
		t.Fatalf("Start(): %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-hanging; cancel() }()
	if err := s.Refresh(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Refresh() of a Vault that hangs: %v", err)
	}
	mustHold(t, s, 1, 1)
	waiting := make(chan error)
	go func() { waiting <- s.Refresh(context.WithoutCancel(ctx)) }()
	eventually(t, "somebody to wait", s.Asked)
	s.Close()
	if err := <-waiting; err == nil {
		t.Error("Refresh() of a source that was closed meanwhile succeeds")
	}
	if err := s.Refresh(t.Context()); err == nil {
		t.Error("Refresh() of a closed source succeeds")
	}
}

// TestRefreshIsNotOlderThanTheQuestion: a reading under way may have seen the secret
// as it was before.
func TestRefreshIsNotOlderThanTheQuestion(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}), make(chan struct{})
	var reads atomic.Int64
	f := newFake(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v1/secret/data/nowpay/main" && reads.Add(1) == 2 {
			close(began)
			<-goOn
		}
		return false
	})
	s, _ := startSource(t, seldom(f.config(t)), vault.Options{})
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- s.Refresh(t.Context()) }()
	<-began
	go func() { second <- s.Refresh(t.Context()) }()
	eventually(t, "the second to ask", s.Asked)
	close(goOn)
	if err := <-first; err != nil {
		t.Errorf("Refresh(): %v", err)
	}
	if err := <-second; err != nil || reads.Load() != 3 {
		t.Errorf("Refresh(): %v, after %d readings, want 3", err, reads.Load())
	}
}

// TestKeep: after a rotation the credential before is known for a while; not if the
// secret is deleted.
func TestKeep(t *testing.T) {
	t.Parallel()
	server := newVault(t)
	clk := newClock()
	s, _ := startSource(t, seldom(config(t, server)), vault.Options{Now: clk.now})
	s.Keep(time.Minute)
	server.PutKV2("secret", "nowpay/main", pair(2))
	mustRefresh(t, s)
	if got := known(s); !slices.Equal(got, []int64{2, 1}) {
		t.Errorf("after the rotation it knows %v", got)
	}
	if st := s.Status(); st.Previous != 1 || !st.KeptUntil.Equal(clk.now().Add(time.Minute)) {
		t.Errorf("Status() = %+v", st)
	}
	clk.advance(time.Minute)
	if got := known(s); !slices.Equal(got, []int64{2}) {
		t.Errorf("a minute later it knows %v", got)
	}
	server.PutKV2("secret", "nowpay/main", pair(3))
	mustRefresh(t, s)
	if got := known(s); !slices.Equal(got, []int64{3, 2}) {
		t.Errorf("after another rotation it knows %v", got)
	}
	server.DeleteKV2("secret", "nowpay/main")
	if err := s.Refresh(t.Context()); err == nil {
		t.Error("Refresh() of a deleted secret succeeds")
	}
	if got := known(s); got != nil {
		t.Errorf("after the deletion it knows %v", got)
	}
}

func TestFileRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := writeFile(t, "secret.json", `{"username":"1001","key":"`+keyOf(1)+`"}`)
		f := vault.NewFile(file, vault.Options{})
		if err := f.Refresh(t.Context()); err == nil {
			t.Error("Refresh() before Start succeeds")
		}
		if err := start(t, f); err != nil {
			t.Fatal(err)
		}
		f.Keep(time.Minute)
		time.Sleep(300 * time.Millisecond)
		rewriteFile(t, file, `{"username":"1002","key":"`+keyOf(2)+`"}`)
		began := time.Now()
		mustRefresh(t, f)
		mustHold(t, f, 2, 2)
		if took := time.Since(began); took > time.Second {
			t.Errorf("Refresh() took %v", took)
		}
		if got := known(f); !slices.Equal(got, []int64{2, 1}) {
			t.Errorf("it knows %v", got)
		}
		rewriteFile(t, file, "{")
		mustFailAt(t, f.Refresh(t.Context()), vault.StepFields)
		if got := known(f); got != nil {
			t.Errorf("it knows %v of a file that is broken", got)
		}
		f.Close()
		if err := f.Refresh(t.Context()); err == nil {
			t.Error("Refresh() of a closed source succeeds")
		}
	})
}
