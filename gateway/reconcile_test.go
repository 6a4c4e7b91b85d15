package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// clock is a time that a test sets.
type clock struct{ now atomic.Pointer[time.Time] }

func newClock() *clock {
	c := new(clock)
	c.set(time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)) // 11:30 in India
	return c
}

func (c *clock) time() time.Time      { return *c.now.Load() }
func (c *clock) set(t time.Time)      { c.now.Store(&t) }
func (c *clock) pass(d time.Duration) { c.set(c.time().Add(d)) }

// asker is a gateway whose clock stands, and a provider that answers status
// queries as it is told.
type asker struct {
	*parts
	clock  *clock
	status atomic.Pointer[string] // of the row; "" for no rows
	asked  atomic.Int32
	last   atomic.Pointer[string] // the last query's body
	seen   sync.Map               // of StatusCall by number
}

// newAsker makes payouts be asked about by the merchant's id.
func newAsker(t *testing.T, policy nowpay.Revalidate) *asker {
	t.Helper()
	a := &asker{clock: newClock()}
	a.parts = newParts(t)
	operations := nowpay.Documented()
	for i := range operations {
		if operations[i].Name == "bank/payout" {
			operations[i].Status, operations[i].Revalidate = payoutQuery(), policy
		}
	}
	operations = append(operations, nowpay.Operation{
		Name: "bank/payout_status", Method: http.MethodPost, Encoding: nowpay.JSON, Scale: nowpay.Scale012,
		Fields: []nowpay.Field{{Name: "yourrequestid", Format: nowpay.FormatText}, {Name: "fdate", Format: nowpay.FormatText}},
	})
	catalogue, err := nowpay.NewCatalogue(operations)
	if err != nil {
		t.Fatal(err)
	}
	config := a.Config
	config.Catalogue, config.Now, config.Journal = catalogue, a.clock.time, newJournalAt(t, a.clock.time)
	config.Observed = func(c StatusCall) { a.seen.Store(a.asked.Load(), c) }
	a.Gateway = New(config)
	a.says("2")
	a.answers(a.provide)
	return a
}

func payoutQuery() *nowpay.StatusQuery {
	return &nowpay.StatusQuery{
		Operation: "bank/payout_status",
		Send:      []nowpay.StatusField{{Name: "yourrequestid", Source: nowpay.SourceRequestID}, {Name: "fdate", Source: nowpay.SourceDay}},
		Rows:      "data",
		Match:     []nowpay.StatusField{{Name: "yourrequestid", Source: nowpay.SourceRequestID}, {Name: "amount", Source: nowpay.SourceAmount}},
		State:     "status",
		States:    map[string]nowpay.Outcome{"1": nowpay.Success, "0": nowpay.Failed, "2": nowpay.Pending},
		Reference: "rrn",
	}
}

// says sets the state that the provider tells; "" for no such transaction.
func (a *asker) says(status string) { a.status.Store(&status) }

// provide answers payouts as successful and queries as told.
func (a *asker) provide(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // a short one would be answered wrongly
	text := string(body)
	w.Header().Set("Content-Type", "application/json")
	if !strings.HasSuffix(r.RequestURI, "_status") {
		_, _ = io.WriteString(w, payoutDone)
		return
	}
	a.asked.Add(1)
	a.last.Store(&text)
	status := *a.status.Load()
	if status == "" {
		_, _ = io.WriteString(w, `{"success":"1","data":[]}`)
		return
	}
	_, _ = fmt.Fprintf(w, `{"success":"1","data":[{"yourrequestid":"1001","amount":"1.50","status":%q,"rrn":"429910000001"}]}`, status)
}

// pay makes a payout.
func (a *asker) pay(t *testing.T, outcome string) {
	t.Helper()
	answer := a.Exchange(t.Context(), request("/api/bank/payout", payoutBody))
	if got := answer.Header.Get("Nowpay-Gateway-Outcome"); got != outcome {
		t.Fatalf("outcome %q, want %q: %d %s", got, outcome, answer.Status, answer.Body)
	}
}

// look reads the transaction.
func (a *asker) look(t *testing.T) journal.Transaction {
	t.Helper()
	tx, err := a.Journal.Find(t.Context(), journal.RequestKey{Account: "main", RequestID: "1001"})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// timeline is what has happened to it.
func (a *asker) timeline(t *testing.T) string {
	t.Helper()
	events, err := a.Journal.Events(t.Context(), a.look(t).ID)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, string(e.Kind)+" by "+string(e.Cause))
	}
	return strings.Join(kinds, ", ")
}

// lost makes the connection of a payout die.
func (a *asker) lost(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.RequestURI, "_status") {
		a.provide(w, r)
		return
	}
	panic(http.ErrAbortHandler)
}

// TestReconcileSchedule: what is open is asked about less and less often, and
// shown to a person once.
func TestReconcileSchedule(t *testing.T) {
	a := newAsker(t, nowpay.RevalidatePending)
	a.answers(a.lost)
	a.says("")
	a.pay(t, "unknown")
	last := a.clock.time()
	for checks := 0; checks < 12; {
		next := a.look(t).NextCheck
		a.clock.set(next.Add(-time.Second))
		calls := a.asked.Load()
		a.reconcileDue(t.Context(), "main")
		if n := a.asked.Load(); n != calls {
			t.Fatalf("asked too early")
		}
		a.clock.set(next)
		a.reconcileDue(t.Context(), "main")
		if a.asked.Load() == calls {
			continue // a person is called
		}
		// Random is a half, so that the jitter is none.
		if wait, want := next.Sub(last), min(lastCheck, firstCheck<<checks); wait != want && a.look(t).Attention.IsZero() {
			t.Errorf("check %d came after %v, want %v", checks+1, wait, want)
		}
		last, checks = next, checks+1
	}
	tx := a.look(t)
	if tx.State != journal.Unknown || tx.Attention.Sub(tx.Created) < a.Reconcile.PersonAfter || tx.Attention.Sub(tx.Created) > a.Reconcile.PersonAfter+2*time.Second {
		t.Errorf("after %v: %+v", tx.Attention.Sub(tx.Created), tx)
	}
	if n := strings.Count(a.log.String(), "needs a person"); n != 1 {
		t.Errorf("%d alarms", n)
	}
	if want := "created by exchange, sent by exchange, unknown by exchange, attention by reconciliation"; a.timeline(t) != want {
		t.Errorf("timeline %s", a.timeline(t))
	}
	a.says("1")
	a.clock.pass(2 * time.Hour)
	a.reconcileDue(t.Context(), "main")
	if tx = a.look(t); tx.State != journal.Success || !tx.Attention.IsZero() {
		t.Errorf("settled: %+v", tx)
	}
}

// TestDailyCheck compares a final transaction with the provider once, on the
// next Indian morning. A contradiction is an alarm, and changes nothing.
func TestDailyCheck(t *testing.T) {
	for _, test := range []struct {
		says     string
		reversed journal.State
	}{{"1", ""}, {"0", journal.Failed}, {"2", journal.Pending}, {"", ""}, {"9", ""}} {
		t.Run("says "+test.says, func(t *testing.T) {
			a := newAsker(t, nowpay.RevalidatePending)
			a.pay(t, "success")
			a.says(test.says)
			morning := time.Date(2026, 11, 27, 0, 30, 0, 0, time.UTC) // 6:00 in India
			a.clock.set(morning)
			a.reconcileDue(t.Context(), "main")
			if n := a.asked.Load(); n != 0 {
				t.Fatalf("asked %d times before the spread's middle", n)
			}
			for range 3 {
				a.clock.pass(time.Hour + time.Second)
				a.reconcileDue(t.Context(), "main")
			}
			a.clock.pass(48 * time.Hour)
			a.reconcileDue(t.Context(), "main")
			if n := a.asked.Load(); n != 1 {
				t.Errorf("asked %d times, want once", n)
			}
			if query := *a.last.Load(); !strings.Contains(query, `"fdate":"2026-11-26"`) {
				t.Errorf("asked for another day: %s", strings.ReplaceAll(query, testKey, "…"))
			}
			tx := a.look(t)
			if tx.State != journal.Success || tx.Reversed != test.reversed || tx.Attention.IsZero() != (test.reversed == "") {
				t.Errorf("%+v", tx)
			}
			alarms := strings.Count(a.log.String(), "contradicts itself")
			if wrong := strings.Contains(a.timeline(t), "reversed by daily-check"); wrong != (test.reversed != "") || (alarms == 1) != wrong {
				t.Errorf("%d alarms, timeline %s", alarms, a.timeline(t))
			}
			again := a.Exchange(t.Context(), request("/api/bank/payout", payoutBody))
			if string(again.Body) != payoutDone || again.Header.Get("Idempotent-Replayed") != "true" {
				t.Errorf("repeated: %s", again.Body)
			}
		})
	}
}

// TestDailyCheckFails: a provider that is down in the morning is asked again,
// now and then, for a day.
func TestDailyCheckFails(t *testing.T) {
	a := newAsker(t, nowpay.RevalidatePending)
	a.pay(t, "success")
	a.answers(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	received := a.received.Load()
	a.clock.set(time.Date(2026, 11, 27, 0, 30, 0, 0, time.UTC))
	for range 60 * 6 {
		a.reconcileDue(t.Context(), "main")
		a.clock.pass(10 * time.Minute)
	}
	if n := a.received.Load() - received; n < 10 || n > 25 {
		t.Errorf("asked %d times", n)
	}
	if tx := a.look(t); !tx.NextCheck.IsZero() || tx.State != journal.Success || tx.Reversed != "" {
		t.Errorf("%+v", tx)
	}
}

// TestSettledByHand without an id to ask by is left alone.
func TestSettledByHand(t *testing.T) {
	a := newAsker(t, nowpay.RevalidatePending)
	operation, _ := a.Catalogue.Lookup("bank/payout")
	operation.Status.Send[0].Source = nowpay.SourceProviderID
	a.answers(a.lost)
	a.pay(t, "unknown")
	if _, err := a.Journal.Settle(t.Context(), a.look(t).ID, journal.Change{
		State: journal.Success, Cause: journal.ByOperator, Actor: "asha", Reason: "the bank says so", Next: a.next,
	}); err != nil {
		t.Fatal(err)
	}
	if tx := a.look(t); !tx.NextCheck.IsZero() {
		t.Errorf("looked at again at %v", tx.NextCheck)
	}
}

// TestSentOnAnotherDay: the provider is asked about the day on which it was
// sent, not on which the merchant tried first.
func TestSentOnAnotherDay(t *testing.T) {
	a := newAsker(t, nowpay.RevalidatePending)
	sign := a.Accounts["main"]
	a.Accounts["main"] = Account{Secret: a.parts, Sign: signerFunc(func(signer.Request, *secret.Credential) (signer.Signed, error) {
		return signer.Signed{}, signer.ErrEncoding
	})}
	a.pay(t, "unsent")
	a.Accounts["main"] = sign
	a.clock.pass(24 * time.Hour)
	a.answers(a.lost)
	a.pay(t, "unknown")
	a.clock.pass(time.Minute)
	a.reconcileDue(t.Context(), "main")
	if last := a.last.Load(); last == nil || !strings.Contains(*last, `"fdate":"2026-11-27"`) {
		t.Error("asked about another day")
	}
}

// TestGivenUp: a process that ended leaves a transaction that is sent. At its
// deadline it is unknown, and asked about.
func TestGivenUp(t *testing.T) {
	a := newAsker(t, nowpay.RevalidatePending)
	begun, err := a.Journal.Begin(t.Context(), journal.Intent{
		ID: "01GIVENUP", Account: "main", RequestID: "1001", Merchant: "shop", Operation: "bank/payout", Amount: 150,
		Canonical: []byte("x"), Deadline: a.clock.time().Add(time.Minute), Next: a.next,
	})
	if err != nil || !begun.Fresh {
		t.Fatal(begun, err)
	}
	a.clock.pass(59 * time.Second)
	a.reconcileDue(t.Context(), "main")
	if n := a.asked.Load(); n != 0 || a.look(t).State != journal.Sent {
		t.Errorf("asked %d times before the deadline: %+v", n, a.look(t))
	}
	a.says("1")
	a.clock.pass(2 * time.Second)
	a.reconcileDue(t.Context(), "main")
	if want := "created by exchange, sent by exchange, unknown by deadline, success by reconciliation"; a.timeline(t) != want {
		t.Errorf("timeline %s", a.timeline(t))
	}
}

// TestReconcileSurvivesBugs: a panic about one transaction ends nothing.
func TestReconcileSurvivesBugs(t *testing.T) {
	a := newAsker(t, nowpay.RevalidatePending)
	a.answers(a.lost)
	a.pay(t, "unknown")
	sign := a.Accounts["main"]
	a.Accounts["main"] = Account{Secret: a.parts, Sign: signerFunc(func(signer.Request, *secret.Credential) (signer.Signed, error) {
		panic("with " + testKey)
	})}
	a.clock.pass(time.Minute)
	a.reconcileDue(t.Context(), "main")
	if log := a.log.String(); !strings.Contains(log, "this is a bug") || strings.Contains(log, testKey) {
		t.Errorf("log %s", log)
	}
	// A merchant's repeat meets the same bug: nobody knows what became of it.
	a.pay(t, "unknown")
	a.Accounts["main"] = sign
	a.says("1")
	a.clock.pass(time.Hour)
	a.reconcileDue(t.Context(), "main")
	if tx := a.look(t); tx.State != journal.Success {
		t.Errorf("%+v", tx)
	}
}

// TestAccountsDoNotWait for each other: one whose provider hangs, with a backlog
// that waits longer, does not hold up another.
func TestAccountsDoNotWait(t *testing.T) {
	a := newAsker(t, nowpay.RevalidatePending)
	config := a.Config
	config.Accounts = map[string]Account{"main": a.Accounts["main"], "other": a.Accounts["main"]}
	a.Gateway = New(config)
	sent := func(account string, i int) {
		id := fmt.Sprintf("%s%d", account, i)
		if _, err := a.Journal.Begin(t.Context(), journal.Intent{
			ID: "01" + id, Account: account, RequestID: id, Merchant: "shop", Operation: "bank/payout", Amount: 150,
			Canonical: []byte(id), Deadline: a.clock.time().Add(time.Minute), Next: a.next,
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range claimLimit + 1 {
		sent("main", i)
	}
	a.clock.pass(time.Second)
	sent("other", 1)
	a.clock.pass(time.Hour)

	end, asked := make(chan struct{}), make(chan struct{})
	a.answers(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a short one is none of other's
		if !strings.Contains(string(body), `"other1"`) {
			<-end
			return
		}
		a.provide(w, r)
		close(asked)
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.RunReconciliation(ctx) }()
	select {
	case <-asked:
	case <-time.After(4 * time.Second): // less than a status call of main's may take
		t.Error("the other account is not looked after")
	}
	stop()
	close(end)
	<-done
}

// TestLookingSurvivesBugs: nor does one before there is a transaction.
func TestLookingSurvivesBugs(t *testing.T) {
	a := newAsker(t, nowpay.RevalidatePending)
	config := a.Config
	config.Journal = nil
	if New(config).reconcileDue(t.Context(), "main") {
		t.Error("it would look again at once")
	}
	if log := a.log.String(); !strings.Contains(log, "this is a bug") {
		t.Errorf("log %s", log)
	}
}

// TestStopInTheMiddle: the work in the background ends while the provider hangs
// and others wait for their turn.
func TestStopInTheMiddle(t *testing.T) {
	a := newAsker(t, nowpay.RevalidatePending)
	a.Reconcile.StatusTimeout = time.Hour
	config := a.Config
	config.Reconcile.StatusRate = whitelist.Rate{Requests: 3, Per: time.Minute, Burst: 2} // a third waits for its turn
	a.Gateway = New(config)
	a.answers(a.lost)
	for i := range 10 {
		body := strings.Replace(payoutBody, "1001", fmt.Sprintf("n%d", i), 1)
		a.NewID = func() string { return fmt.Sprintf("01EXCHANGE%d", i) }
		a.Exchange(t.Context(), request("/api/bank/payout", body))
	}
	hanging := make(chan struct{}, 10)
	end := make(chan struct{})
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	defer close(end)
	a.answers(func(http.ResponseWriter, *http.Request) { hanging <- struct{}{}; <-end })
	a.clock.pass(time.Minute)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.RunReconciliation(ctx) }()
	<-hanging
	<-hanging
	stop()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on")
	}
	if n := len(hanging); n != 0 {
		t.Errorf("%d more status calls", n)
	}
}

// TestMerchantDoesNotWaitForTheBackground, which waits for its turn about the
// same transaction.
func TestMerchantDoesNotWaitForTheBackground(t *testing.T) {
	a := newAsker(t, nowpay.RevalidatePending)
	config := a.Config
	config.Reconcile.StatusRate = whitelist.Rate{Requests: 1, Per: time.Hour, Burst: 1}
	a.Gateway = New(config)
	a.answers(a.lost)
	a.pay(t, "unknown")
	a.asking.limits["main"].Allow() // the only one
	ctx, stop := context.WithCancel(t.Context())
	waiting := make(chan error)
	go func() {
		_, err := a.revalidate(ctx, a.look(t), journal.ByReconciliation)
		waiting <- err
	}()
	begun := time.Now()
	a.pay(t, "unknown")
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("answered after %v", took)
	}
	stop()
	if err := <-waiting; err == nil {
		t.Error("the background was not stopped")
	}
}

// TestCrowdedConfirmations: beyond the status rate nobody is told a success that
// is not confirmed.
func TestCrowdedConfirmations(t *testing.T) {
	a := newAsker(t, nowpay.RevalidateAlways)
	config := a.Config
	config.Reconcile.StatusRate = whitelist.Rate{Requests: 1, Per: time.Hour, Burst: 1}
	a.Gateway = New(config)
	a.says("1")
	a.asking.limits["main"].Allow()
	answer := a.Exchange(t.Context(), request("/api/bank/payout", payoutBody))
	var body map[string]string
	if err := json.Unmarshal(answer.Body, &body); err != nil || body["success"] != "2" || answer.Header.Get("Nowpay-Gateway-Outcome") != "pending" {
		t.Errorf("%v %s", answer.Header, answer.Body)
	}
}

// TestClaimSize: no more is taken at a time than can be asked about soon.
func TestClaimSize(t *testing.T) {
	for _, test := range []struct {
		rate  whitelist.Rate
		want  int
		lease time.Duration
	}{
		{whitelist.Rate{Requests: 5, Per: time.Second, Burst: 10}, claimLimit, 5 * time.Minute},
		{whitelist.Rate{Requests: 3, Per: time.Minute, Burst: 1}, 3, 5 * time.Minute},
		{whitelist.Rate{Requests: 1, Per: time.Hour, Burst: 1}, 1, 3 * time.Hour},
	} {
		g := &Gateway{Config: Config{Reconcile: Reconcile{StatusRate: test.rate, StatusTimeout: 15 * time.Second}}}
		if got := g.claimSize(); got != test.want {
			t.Errorf("%+v: claimSize = %d, want %d", test.rate, got, test.want)
		}
		if got := g.lease(); got > test.lease {
			t.Errorf("%+v: lease = %v, want at most %v", test.rate, got, test.lease)
		}
	}
}
