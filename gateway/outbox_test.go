package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

const (
	oldSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

// hooks are merchants with servers, and a gateway whose clock stands.
type hooks struct {
	*parts
	clock   *clock
	secrets string // the file
}

func newHooks(t *testing.T) *hooks {
	t.Helper()
	h := &hooks{parts: newParts(t), clock: newClock(), secrets: filepath.Join(t.TempDir(), "hook.secret")}
	h.Now, h.Journal = h.clock.time, newJournalAt(t, h.clock.time)
	h.Notify = make(map[string]Notifier)
	h.sign(t, oldSecret)
	return h
}

// sign sets the secrets of the file.
func (h *hooks) sign(t *testing.T, secrets ...string) {
	t.Helper()
	text := ""
	for _, s := range secrets {
		text += s + "\n"
	}
	if err := os.WriteFile(h.secrets, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve makes a merchant's server.
func (h *hooks) serve(t *testing.T, merchant string, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := notify.New(notify.Endpoint{URL: address, Private: true, Secrets: notify.NewSecretFile(h.secrets).Secrets})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	h.Notify[merchant] = sender
	return server
}

// owe makes a transaction of a merchant whose end it is to be told.
func (h *hooks) owe(t *testing.T, merchant, requestID string) journal.Transaction {
	t.Helper()
	begun, err := h.Journal.Begin(t.Context(), journal.Intent{
		ID: fmt.Sprintf("01T%s%s", merchant, requestID), Account: "main", RequestID: requestID, Merchant: merchant,
		Operation: "bank/payout", Amount: 150, Canonical: []byte("{}"), Deadline: h.clock.time().Add(time.Minute), Next: never,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.change(t, begun.Transaction, journal.Pending, false)
	h.change(t, begun.Transaction, journal.Success, true)
	return begun.Transaction
}

func (h *hooks) change(t *testing.T, tx journal.Transaction, to journal.State, tell bool) {
	t.Helper()
	change := journal.Change{State: to, Cause: journal.ByReconciliation, Next: never, Notify: tell}
	if _, err := h.Journal.Change(t.Context(), tx.ID, change); err != nil {
		t.Fatal(err)
	}
}

// messagesOf are the messages of a filter.
func messagesOf(t *testing.T, j *journal.Journal, f journal.MessageFilter) (all []journal.Message) {
	t.Helper()
	for m, err := range j.Messages(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// deliverDue works on what is due now, once, and returns what came of it.
func (h *hooks) deliverDue(t *testing.T) (after []journal.Message) {
	t.Helper()
	for _, m := range h.outbox.claim(t.Context()) {
		h.outbox.one(t.Context(), m)
		now, err := h.Journal.Message(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		after = append(after, now)
	}
	return after
}

// A merchant that is down for a day, whose secret is rotated meanwhile, is told
// when it is back, of one thing after the other.
func TestNotifyAfterADay(t *testing.T) {
	h := newHooks(t)
	var up atomic.Bool
	var got []string
	h.serve(t, "shop", func(w http.ResponseWriter, r *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body, _ := io.ReadAll(r.Body)
		at, _ := strconv.ParseInt(r.Header.Get("Webhook-Timestamp"), 10, 64)
		for _, secret := range []string{oldSecret, newSecret} { // its clock is the gateway's
			hook, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				t.Error(err)
				return
			}
			if err := hook.VerifyIgnoringTimestamp(body, r.Header); err != nil || at != h.clock.time().Unix() {
				t.Errorf("signed at %d for %s: %v", at, secret, err)
			}
		}
		got = append(got, r.Header.Get("Webhook-Id"))
		w.WriteHeader(http.StatusNoContent)
	})
	tx := h.owe(t, "shop", "1001")
	h.change(t, tx, journal.Failed, true) // and is reversed
	tries := 0
	for end := h.clock.time().Add(24 * time.Hour); h.clock.time().Before(end); h.clock.pass(5 * time.Minute) {
		for _, m := range h.deliverDue(t) {
			tries++
			if m.State != journal.Waiting || m.Note != "HTTP 503" || m.Kind != "success" {
				t.Fatalf("%+v", m)
			}
		}
	}
	if tries < 12 || tries > 40 {
		t.Errorf("%d tries in a day", tries)
	}
	h.sign(t, newSecret, oldSecret)
	up.Store(true)
	for range 10 {
		h.clock.pass(notifyLast)
		h.deliverDue(t)
	}
	if want := []string{"msg_" + tx.ID + "-3", "msg_" + tx.ID + "-4"}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// After four days a notification is given up, and told of.
func TestNotifyGivenUp(t *testing.T) {
	h := newHooks(t)
	h.serve(t, "shop", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
	})
	h.owe(t, "shop", "1001")
	began := h.clock.time()
	for last := (journal.Message{State: journal.Waiting}); last.State == journal.Waiting; h.clock.pass(10 * time.Minute) {
		for _, m := range h.deliverDue(t) {
			last = m
		}
		if h.clock.time().Sub(began) > 5*24*time.Hour {
			t.Fatalf("it is %+v after five days", last)
		}
		if last.State == journal.Dead && (h.clock.time().Sub(began) < 96*time.Hour || last.Note != "redirect refused (HTTP 307)") {
			t.Errorf("given up after %v: %s", h.clock.time().Sub(began), last.Note)
		}
	}
	if !strings.Contains(h.log.String(), "could not be notified") {
		t.Error("nothing is logged")
	}
}

// One merchant that hangs holds up no other.
func TestNotifySlowMerchant(t *testing.T) {
	h := newHooks(t)
	release := make(chan struct{})
	var hanging, quick atomic.Int32
	h.serve(t, "slow", func(_ http.ResponseWriter, _ *http.Request) {
		hanging.Add(1)
		<-release
	})
	h.serve(t, "shop", func(http.ResponseWriter, *http.Request) { quick.Add(1) })
	for i := range 100 {
		h.owe(t, "slow", fmt.Sprintf("S%d", i))
	}
	for i := range 20 {
		h.owe(t, "shop", fmt.Sprintf("Q%d", i))
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { h.RunPost(ctx) })
	for end := time.Now().Add(20 * time.Second); quick.Load() < 20 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := quick.Load(); n != 20 {
		t.Errorf("%d of 20 are told", n)
	}
	if n := hanging.Load(); n != postPerLane {
		t.Errorf("%d calls hang, want %d", n, postPerLane)
	}
	stop()
	close(release)
	running.Wait()
	goleak.VerifyNone(t, goleak.IgnoreCurrent())
	// What was cut short is due at once.
	due := 0
	for _, m := range messagesOf(t, h.Journal, journal.MessageFilter{Lane: "slow"}) {
		if !m.Due.After(h.clock.time()) {
			due++
		}
	}
	if due != 100 {
		t.Errorf("%d of 100 are due after the end", due)
	}
}

// Who has no URL any more is not told, and holds up nobody.
func TestNotifyNobody(t *testing.T) {
	h := newHooks(t)
	h.owe(t, "shop", "1001")
	if after := h.deliverDue(t); len(after) != 0 {
		t.Errorf("it is taken: %+v", after)
	}
	if all := messagesOf(t, h.Journal, journal.MessageFilter{}); len(all) != 1 || all[0].State != journal.Waiting {
		t.Errorf("%+v", all)
	}
}
