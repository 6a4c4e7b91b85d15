package gateway

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// asksBecause is an asker that takes callbacks.
type asksBecause struct{ *asker }

func newAsksBecause(t *testing.T, send nowpay.StatusField) *asksBecause {
	t.Helper()
	a := newAsker(t, nowpay.RevalidatePending)
	shapes, err := callback.NewTable(nil)
	if err != nil {
		t.Fatal(err)
	}
	config := a.Config
	config.Callbacks = &Callbacks{From: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Settle: true, Shapes: shapes}
	if send.Name != "" {
		operations := config.Catalogue.Operations()
		changed := make([]nowpay.Operation, 0, len(operations))
		for _, o := range operations {
			c := *o
			if c.Name == "bank/payout" {
				query := *c.Status
				query.Send = []nowpay.StatusField{send}
				c.Status = &query
			}
			if c.Name == "bank/payout_status" {
				c.Fields = []nowpay.Field{{Name: send.Name, Format: nowpay.FormatText}}
			}
			changed = append(changed, c)
		}
		if config.Catalogue, err = nowpay.NewCatalogue(changed); err != nil {
			t.Fatal(err)
		}
	}
	a.Gateway = New(config)
	return &asksBecause{a}
}

func (a *asksBecause) call(t *testing.T, status, providerID string) {
	t.Helper()
	answer := a.Callback(t.Context(), CallbackRequest{
		Source: netip.MustParseAddr("203.0.113.7"), Method: http.MethodPost, Body: says(status, "1001", providerID),
		Header: http.Header{"Content-Type": {"application/json"}},
	})
	if answer.Status != http.StatusOK {
		t.Fatalf("HTTP %d", answer.Status)
	}
}

// run works on what is due for a time, and returns the only callback after it.
func (a *asksBecause) run(t *testing.T, d time.Duration) journal.Message {
	t.Helper()
	for end := a.clock.time().Add(d); a.clock.time().Before(end); a.clock.pass(time.Minute) {
		for _, m := range a.inbox.claim(t.Context()) {
			a.inbox.one(t.Context(), m)
		}
	}
	all := messagesOf(t, a.Journal, journal.MessageFilter{Box: journal.Inbox})
	if len(all) != 1 {
		t.Fatalf("%d callbacks", len(all))
	}
	return all[0]
}

// A callback against what is final is not given up because the provider's status
// says nothing: it is asked again, and then a person is.
func TestCallbackAgainstFinal(t *testing.T) {
	for says, want := range map[string]struct {
		reversed journal.State
		person   bool
		asked    int32
		note     string
	}{
		"":  {"", true, inboxTries, "it contradicts what is final, and the provider does not say; a person decides"},
		"0": {journal.Failed, true, 1, "the provider's status confirms it"},
		"1": {"", false, 1, "the provider's status does not confirm it"},
	} {
		a := newAsksBecause(t, nowpay.StatusField{})
		a.pay(t, "success")
		a.says(says)
		a.call(t, "FAILED", "20261024pm103423000001")
		m, tx := a.run(t, 2*time.Hour), a.look(t)
		if m.Note != want.note || m.State != journal.Done || a.asked.Load() != want.asked {
			t.Errorf("status %q: %s, %s, asked %d times", says, m.State, m.Note, a.asked.Load())
		}
		if tx.State != journal.Success || tx.Reversed != want.reversed || tx.Attention.IsZero() == want.person {
			t.Errorf("status %q: %s, reversed %q, person %t", says, tx.State, tx.Reversed, !tx.Attention.IsZero())
		}
	}
}

// After a time-out only the callback has the id to ask by. It is kept until the
// provider can be asked, or a person is called.
func TestCallbackHasTheID(t *testing.T) {
	byProvider := nowpay.StatusField{Name: "ourrequestid", Source: nowpay.SourceProviderID}
	for _, comesBack := range []bool{true, false} {
		a := newAsksBecause(t, byProvider)
		a.answers(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.RequestURI, "_status") && *a.status.Load() == "down" {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			a.lost(w, r)
		})
		a.pay(t, "unknown")
		a.says("down")
		a.call(t, "SUCCESS", "P1")
		if m := a.run(t, 30*time.Minute); m.State != journal.Waiting {
			t.Fatalf("%s, %s", m.State, m.Note)
		}
		if comesBack {
			a.says("1")
		}
		m, tx := a.run(t, a.Reconcile.PersonAfter+time.Hour), a.look(t)
		if comesBack && (tx.State != journal.Success || m.Note != "the provider's status confirms it") {
			t.Errorf("%s, %s", tx.State, m.Note)
		}
		if !comesBack && (tx.State != journal.Unknown || tx.Attention.IsZero()) {
			t.Errorf("%s, person %t, %s", tx.State, !tx.Attention.IsZero(), m.Note)
		}
		if comesBack && !strings.Contains(*a.last.Load(), `"ourrequestid":"P1"`) {
			t.Errorf("asked by %s", *a.last.Load())
		}
	}
}

// Callbacks that contradict each other, in whatever order, change nothing twice:
// the provider's word counts.
func TestCallbacksOutOfOrder(t *testing.T) {
	a := newAsksBecause(t, nowpay.StatusField{})
	a.answers(a.lost)
	a.pay(t, "unknown")
	a.says("1")
	a.call(t, "FAILED", "P1")
	a.call(t, "SUCCESS", "P1")
	a.call(t, "PENDING", "P1")
	for end := a.clock.time().Add(time.Hour); a.clock.time().Before(end); a.clock.pass(time.Minute) {
		for _, m := range a.inbox.claim(t.Context()) {
			a.inbox.one(t.Context(), m)
		}
	}
	if got := a.timeline(t); got != "created by exchange, sent by exchange, unknown by exchange, success by callback" {
		t.Error(got)
	}
}
