package journal_test

import (
	"errors"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

// clocked is a journal in a file, and its clock.
type clocked struct {
	*journal.Journal
	now atomic.Pointer[time.Time]
}

func startClocked(t *testing.T) *clocked {
	t.Helper()
	c := new(clocked)
	c.set(time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC))
	dir := t.TempDir()
	c.Journal = journal.New(journal.Options{
		Store: sqlite.New(filepath.Join(dir, "journal.db")), KeyFile: filepath.Join(dir, "journal.key"), Gateway: "test",
		Now: func() time.Time { return *c.now.Load() },
	})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *clocked) set(now time.Time) { c.now.Store(&now) }

// sent begins a transaction that is given up after a minute.
func (c *clocked) sent(t *testing.T, id string) {
	t.Helper()
	_, err := c.Begin(t.Context(), journal.Intent{
		ID: id, Account: "main", RequestID: id, Merchant: "shop", Operation: "bank/payout", Amount: 150,
		Deadline: c.now.Load().Add(time.Minute), Next: func(journal.Transaction) time.Time { return time.Time{} },
	})
	if err != nil {
		t.Fatal(err)
	}
}

// byHand is what an operator says.
func byHand(to, from journal.State) journal.Change {
	return journal.Change{State: to, From: from, Cause: journal.ByOperator, Actor: "asha", Reason: "seen in the statement"}
}

// TestChangeFrom: a change that was decided for another state is refused.
func TestChangeFrom(t *testing.T) {
	c := startClocked(t)
	c.sent(t, "01A")
	if _, err := c.Settle(t.Context(), "01A", journal.Change{State: journal.Pending, Cause: journal.ByExchange}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Change(t.Context(), "01A", byHand(journal.Failed, journal.Unknown)); !errors.Is(err, journal.ErrTransition) {
		t.Errorf("from unknown: %v", err)
	}
	if after, err := c.Change(t.Context(), "01A", byHand(journal.Failed, journal.Pending)); err != nil || after.State != journal.Failed {
		t.Errorf("from pending: %s, %v", after.State, err)
	}
}

// TestOperatorSettlesWhatWasGivenUp: what is shown as unknown can be settled as
// that, before anybody has written so.
func TestOperatorSettlesWhatWasGivenUp(t *testing.T) {
	c := startClocked(t)
	c.sent(t, "01A")
	if _, err := c.Change(t.Context(), "01A", byHand(journal.Success, "")); !errors.Is(err, journal.ErrTransition) {
		t.Errorf("under way: %v", err)
	}
	c.set(c.now.Load().Add(2 * time.Minute))
	shown, err := c.Get(t.Context(), "01A")
	if err != nil || shown.State != journal.Unknown {
		t.Fatalf("it is %s, %v", shown.State, err)
	}
	after, err := c.Change(t.Context(), "01A", byHand(journal.Success, shown.State))
	if err != nil || after.State != journal.Success || after.Version != 3 {
		t.Errorf("after: %+v, %v", after, err)
	}
	events, err := c.Events(t.Context(), "01A")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range events {
		told = append(told, string(e.Kind)+" by "+string(e.Cause))
	}
	if want := []string{"created by exchange", "sent by exchange", "unknown by deadline", "success by operator"}; !slices.Equal(told, want) {
		t.Errorf("events %q, want %q", told, want)
	}
	if report, err := c.Verify(t.Context()); err != nil || len(report.Problems) > 0 {
		t.Errorf("verify: %v %v", report.Problems, err)
	}
}

// TestListOfStates: a list selects by the states that it shows.
func TestListOfStates(t *testing.T) {
	c := startClocked(t)
	c.sent(t, "01A")
	c.sent(t, "01B")
	c.set(c.now.Load().Add(2 * time.Minute))
	c.sent(t, "01C")
	for _, tt := range []struct {
		states []journal.State
		limit  int
		want   []string
	}{
		{nil, 0, []string{"01C", "01B", "01A"}},
		{[]journal.State{journal.Unknown}, 0, []string{"01B", "01A"}},
		{[]journal.State{journal.Unknown}, 1, []string{"01B"}},
		{[]journal.State{journal.Sent}, 0, []string{"01C"}},
		{[]journal.State{journal.Sent, journal.Unknown}, 2, []string{"01C", "01B"}},
		{[]journal.State{journal.Pending}, 0, nil},
	} {
		var found []string
		for shown, err := range c.List(t.Context(), journal.Filter{States: tt.states, Limit: tt.limit}) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, shown.ID)
		}
		if !slices.Equal(found, tt.want) {
			t.Errorf("list of %v, at most %d: %v, want %v", tt.states, tt.limit, found, tt.want)
		}
	}
}
