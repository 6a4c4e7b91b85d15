package journaltest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// told are the tests of callbacks and notifications.
var told = []journalTest{
	{name: "Notified", run: testNotified},
	{name: "NotifiedWithTheChange", run: testNotifiedWithTheChange},
	{name: "NotifyAgain", run: testNotifyAgain},
	{name: "NotifyLater", run: testNotifyLater},
	{name: "Received", run: testReceived},
	{name: "MessageClaims", run: testMessageClaims},
	{name: "MessageByHand", run: testMessageByHand},
}

// outbox returns what is to be told of a transaction, oldest first, as kinds.
func (g *gateway) outbox(t tb, id string) (kinds []string) {
	t.Helper()
	for m := range collectMessages(t, g, journal.MessageFilter{Box: journal.Outbox, Transaction: id}) {
		kinds = append(kinds, m.Kind)
	}
	slices.Reverse(kinds)
	return kinds
}

func collectMessages(t tb, g *gateway, f journal.MessageFilter) func(func(journal.Message) bool) {
	return slices.Values(collect(t, g.Messages(t.Context(), f)))
}

// A merchant is told of a transaction that becomes final, and of one that is
// contradicted, where the change says so.
func testNotified(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	for _, c := range []struct {
		before, says journal.State
		cause        journal.Cause
		quiet        bool
		want         []string
	}{
		{journal.Pending, journal.Success, journal.ByReconciliation, false, []string{"success"}},
		{journal.Unknown, journal.Failed, journal.ByRevalidation, false, []string{"failed"}},
		{journal.Pending, journal.Success, journal.ByReconciliation, true, nil},
		{journal.Unknown, journal.Pending, journal.ByReconciliation, false, nil},
		{journal.Pending, journal.Pending, journal.ByReconciliation, false, nil},
		{journal.Success, journal.Success, journal.ByDailyCheck, false, nil},
		{journal.Success, journal.Failed, journal.ByDailyCheck, false, []string{"reversed"}},
		{journal.Pending, journal.Refused, journal.ByOperator, false, []string{"refused"}},
		{journal.Sent, journal.Success, journal.ByCallback, false, []string{"success"}},
	} {
		row := w.settled(t, g, "R"+string(c.before)+string(c.says)+string(c.cause)+map[bool]string{true: "Q"}[c.quiet], c.before)
		w.pass(time.Second)
		change := w.says(c.cause, c.says)
		change.Notify = !c.quiet
		after := g.settle(t, row.ID, change)
		name := string(c.before) + " to " + string(c.says) + " by " + string(c.cause)
		check(t, name, g.outbox(t, row.ID), c.want)
		if len(c.want) == 0 {
			continue
		}
		for m := range collectMessages(t, g, journal.MessageFilter{Transaction: row.ID}) {
			if m.Seq != after.Version || m.Lane != merchant || m.State != journal.Waiting || !m.Due.Equal(w.now()) {
				t.Errorf("%s: %+v", name, m)
			}
		}
		g.settle(t, row.ID, change) // says the same
		check(t, name+" twice", g.outbox(t, row.ID), c.want)
	}
	g.checkHonest(t)
}

// What fails leaves no notification behind, and what is contradicted after it was
// settled is told in this order.
func testNotifiedWithTheChange(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	row := w.settled(t, g, "R1", journal.Pending)
	refused := w.says(journal.ByReconciliation, journal.Success)
	refused.From, refused.Notify = journal.Unknown, true
	if _, err := g.Change(t.Context(), row.ID, refused); !errors.Is(err, journal.ErrTransition) {
		t.Errorf("Change() = %v", err)
	}
	check(t, "of a change that was refused", g.outbox(t, row.ID), nil)
	for _, state := range []journal.State{journal.Success, journal.Failed} {
		w.pass(time.Second)
		change := w.says(journal.ByReconciliation, state)
		change.Notify = true
		g.settle(t, row.ID, change)
	}
	check(t, "in order", g.outbox(t, row.ID), []string{"success", "reversed"})
	w.pass(time.Second)
	for _, m := range g.claimMessages(t, journal.Outbox) {
		done := m
		done.State = journal.Done
		if err := g.FinishMessage(t.Context(), m, done); err != nil {
			t.Error(err)
		}
	}
	for _, state := range []journal.State{journal.Failed, journal.Success} { // says the same again
		change := w.says(journal.ByDailyCheck, state)
		change.Notify = true
		g.settle(t, row.ID, change)
	}
	for m := range collectMessages(t, g, journal.MessageFilter{Transaction: row.ID}) {
		if m.Seen != 1 {
			t.Errorf("told once more: %+v", m)
		}
	}
	check(t, "of what is known", g.outbox(t, row.ID), []string{"success", "reversed"})
	again := w.says(journal.ByOperator, journal.Success)
	again.Notify = true
	g.settle(t, row.ID, again)
	check(t, "taken back", g.outbox(t, row.ID), []string{"success", "reversed", "success"})
}

func testNotifyAgain(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	open := w.settled(t, g, "R1", journal.Pending)
	if err := g.Notify(t.Context(), open.ID); !errors.Is(err, journal.ErrTransition) {
		t.Errorf("Notify() of what is pending = %v", err)
	}
	if err := g.Notify(t.Context(), "absent"); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("Notify() of what is not there = %v", err)
	}
	row := w.settled(t, g, "R2", journal.Success)
	check(t, "told by its answer", g.outbox(t, row.ID), nil)
	for range 2 { // the same message: a merchant that has it can drop it
		if err := g.Notify(t.Context(), row.ID); err != nil {
			t.Errorf("Notify() = %v", err)
		}
		check(t, "told once more", g.outbox(t, row.ID), []string{"success"})
	}
	claimed := g.claimMessages(t, journal.Outbox)
	done := claimed[0]
	done.State = journal.Done
	if err := g.FinishMessage(t.Context(), claimed[0], done); err != nil {
		t.Error(err)
	}
	w.pass(time.Minute)
	if err := g.Notify(t.Context(), row.ID); err != nil {
		t.Errorf("Notify() = %v", err)
	}
	got, err := g.Message(t.Context(), done.ID)
	if err != nil || got.State != journal.Waiting || !got.Due.Equal(w.now()) || !got.Created.Equal(done.Created) || got.Tries != 0 {
		t.Errorf("told again: %+v, %v", got, err)
	}
}

// NotifyLater comes behind the outcome that is still to be written.
func testNotifyLater(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	row := g.begin(t, w.intent("R1"))
	g.NotifyLater(t.Context(), row.ID) // in vain: it is under way
	g.settle(t, row.ID, w.settlement(row, journal.Success))
	check(t, "before the outcome", g.outbox(t, row.ID), nil)
	g.NotifyLater(t.Context(), row.ID)
	g.end(t) // writes what must be written
	g = w.start(t, "gateway")
	check(t, "behind the outcome", g.outbox(t, row.ID), []string{"success"})
}

func testReceived(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	content := []byte(`{"orderId":"R1","beneficiaryName":"Asha Rao"}`)
	id, err := g.MessageID(content)
	if err != nil {
		t.Fatal(err)
	}
	m := journal.Message{ID: id, Box: journal.Inbox, Lane: account, Kind: "envelope", Due: w.now()}
	for range 3 {
		if err := g.Receive(t.Context(), m, content); err != nil {
			t.Fatalf("Receive() = %v", err)
		}
	}
	got, err := g.Message(t.Context(), id)
	if err != nil || got.Seen != 3 || got.State != journal.Waiting || !got.Due.Equal(w.now()) {
		t.Errorf("Message() = %+v, %v", got, err)
	}
	if back, err := g.MessageContent(&got); err != nil || string(back) != string(content) {
		t.Errorf("MessageContent() = %q, %v", back, err)
	}
	got.ID = "cb_other"
	if _, err := g.MessageContent(&got); !errors.Is(err, journal.ErrKey) {
		t.Errorf("MessageContent() under another ID = %v", err)
	}
	g.end(t)
	if again, err := w.start(t, "gateway").MessageID(content); err != nil || again != id {
		t.Errorf("MessageID() later = %q, %v, want %q", again, err, id)
	}
}

func (g *gateway) claimMessages(t tb, box journal.Box) []journal.Message {
	t.Helper()
	claimed, err := g.ClaimMessages(t.Context(), journal.MessageClaim{Box: box, Lanes: []string{merchant, account}, PerLane: 10, Limit: 10, Lease: time.Minute})
	if err != nil {
		t.Fatalf("ClaimMessages() = %v", err)
	}
	return claimed
}

// What one gateway has claimed is nobody else's until its lease ends.
func testMessageClaims(t *testing.T, w *world) {
	gateways := w.two(t)
	row := w.settled(t, gateways[0], "R1", journal.Success)
	if err := gateways[0].Notify(t.Context(), row.ID); err != nil {
		t.Fatal(err)
	}
	first := gateways[0].claimMessages(t, journal.Outbox)
	if len(first) != 1 {
		t.Fatalf("%d claimed, want 1", len(first))
	}
	if n := len(gateways[1].claimMessages(t, journal.Outbox)); n != 0 {
		t.Errorf("%d claimed twice", n)
	}
	w.pass(time.Minute)
	claimed := gateways[1].claimMessages(t, journal.Outbox)
	if len(claimed) != 1 {
		t.Fatalf("%d claimed after the lease, want 1", len(claimed))
	}
	m := claimed[0]
	m.Note, m.Due, m.Tries = "HTTP 500", w.now().Add(time.Hour), 1
	late := m
	late.State = journal.Dead // says the first gateway, whose lease is over
	if err := gateways[0].FinishMessage(t.Context(), first[0], late); err != nil {
		t.Errorf("FinishMessage() = %v", err)
	}
	if err := gateways[1].FinishMessage(t.Context(), claimed[0], m); err != nil {
		t.Errorf("FinishMessage() = %v", err)
	}
	w.pass(time.Hour - time.Microsecond)
	if n := len(gateways[0].claimMessages(t, journal.Outbox)); n != 0 {
		t.Errorf("%d claimed before they are due", n)
	}
	w.pass(time.Microsecond)
	if again := gateways[0].claimMessages(t, journal.Outbox); len(again) != 1 || again[0].Tries != 1 || again[0].Note != "HTTP 500" {
		t.Errorf("claimed again: %+v", again)
	}
}

// A person is quicker than who works on a message.
func testMessageByHand(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	row := w.settled(t, g, "R1", journal.Success)
	if err := g.Notify(t.Context(), row.ID); err != nil {
		t.Fatal(err)
	}
	claimed := g.claimMessages(t, journal.Outbox)[0]
	long := "the app is gone" + strings.Repeat("₹", 100) // cut within a letter
	dropped, err := g.DropMessage(t.Context(), claimed.ID, long)
	if err != nil || !strings.HasPrefix(long, dropped.Note) || len(dropped.Note) < 190 || dropped.State != journal.Dropped || !dropped.Due.IsZero() {
		t.Errorf("DropMessage() = %+v, %v", dropped, err)
	}
	if _, err := g.DropMessage(t.Context(), claimed.ID, "twice"); !errors.Is(err, journal.ErrTransition) {
		t.Errorf("DropMessage() again = %v", err)
	}
	if _, err := g.DropMessage(t.Context(), "absent", ""); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("DropMessage() of none = %v", err)
	}
	done := claimed
	done.State = journal.Done
	if err := g.FinishMessage(t.Context(), claimed, done); err != nil {
		t.Errorf("FinishMessage() = %v", err)
	}
	got, err := g.Message(t.Context(), claimed.ID)
	if err != nil || got.State != journal.Dropped || got.Note != dropped.Note {
		t.Errorf("it is %+v, %v", got, err)
	}
	w.pass(time.Hour)
	replayed, err := g.ReplayMessage(t.Context(), claimed.ID)
	if err != nil || replayed.State != journal.Waiting || !replayed.Due.Equal(w.now()) || replayed.Created.Equal(w.now()) {
		t.Errorf("ReplayMessage() = %+v, %v", replayed, err)
	}
	if n := len(g.claimMessages(t, journal.Outbox)); n != 1 {
		t.Errorf("%d claimed after the replay, want 1", n)
	}
	if n, err := g.PruneMessages(t.Context(), w.now().Add(time.Hour), 10); n != 0 || err != nil {
		t.Errorf("PruneMessages() of what waits = %d, %v", n, err)
	}
}
