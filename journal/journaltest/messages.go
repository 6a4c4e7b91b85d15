package journaltest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// messages are the tests of what comes in and goes out.
var messages = []test{
	{name: "MessagesAgain", run: testMessagesAgain},
	{name: "MessagesDue", run: testMessagesDue},
	{name: "MessagesInOrder", run: testMessagesInOrder},
	{name: "MessagesOfLanes", run: testMessagesOfLanes},
	{name: "MessagesUpdate", run: testMessagesUpdate},
	{name: "MessagesDelete", run: testMessagesDelete},
	{name: "MessagesListed", run: testMessagesListed},
}

// newMessage is a notification of a transaction of its own, due n seconds after
// the start.
func newMessage(n int) journal.Message {
	at := start.Add(time.Duration(n) * time.Second)
	return journal.Message{
		ID: fmt.Sprintf("M%04d", n), Box: journal.Outbox, Lane: merchant, Transaction: fmt.Sprintf("T%04d", n), Seq: 2,
		Kind: "success", State: journal.Waiting, Note: "new", Created: at, Updated: at, Due: at, Seen: 1,
		KeyID: 1, Sealed: fmt.Appendf(nil, "content %d", n),
	}
}

func addMessages(t tb, store journal.Store, all ...journal.Message) {
	t.Helper()
	write(t, store, func(ctx context.Context, tx journal.Tx) error { return tx.AddMessages(ctx, all) })
}

// lockDue returns the IDs of what a claim gets at a time.
func lockDue(t tb, store journal.Store, now time.Time, claim journal.MessageClaim) (ids []string) {
	t.Helper()
	if claim.Limit == 0 {
		claim.Limit = 100
	}
	if claim.PerLane == 0 {
		claim.PerLane = 100
	}
	if claim.Lanes == nil {
		claim.Lanes = []string{merchant, ""}
	}
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		found, err := tx.LockMessagesDue(ctx, claim, now)
		for _, m := range found {
			ids = append(ids, m.ID)
		}
		return err
	})
	return ids
}

// What comes again is counted, and begins again where it was of no use.
func testMessagesAgain(t *testing.T, store journal.Store) {
	later := start.Add(time.Hour)
	n := 0
	for _, c := range []struct {
		box    journal.Box
		state  journal.MessageState
		begins bool
	}{
		{journal.Inbox, journal.Waiting, false},
		{journal.Inbox, journal.Done, false},
		{journal.Inbox, journal.Dropped, false},
		{journal.Inbox, journal.Dead, true},
		{journal.Outbox, journal.Waiting, false},
		{journal.Outbox, journal.Done, true},
		{journal.Outbox, journal.Dropped, true},
		{journal.Outbox, journal.Dead, true},
	} {
		n++
		m := newMessage(n)
		m.Box, m.State, m.Tries, m.Seen = c.box, c.state, 4, 2
		if c.state != journal.Waiting {
			m.Due = time.Time{}
		}
		second := m
		second.State, second.Note, second.Tries, second.Seen = journal.Waiting, "again", 0, 1
		second.Created, second.Updated, second.Due = later, later, later
		second.Kind, second.Lane, second.Sealed = "other", "other", []byte("other")
		addMessages(t, store, m)
		addMessages(t, store, second)
		want := m
		want.Seen, want.Updated = 3, later
		if c.begins {
			want.State, want.Note, want.Due, want.Tries = second.State, second.Note, later, 0
		}
		got, err := store.Message(t.Context(), m.ID)
		checkOne(t, fmt.Sprintf("%s of box %s again", c.state, c.box), got, err, want)
	}
	twice := newMessage(100)
	addMessages(t, store, twice, twice)
	twice.Seen = 2
	got, err := store.Message(t.Context(), twice.ID)
	checkOne(t, "twice in a batch", got, err, twice)
}

func testMessagesDue(t *testing.T, store journal.Store) {
	done, never, in := newMessage(2), newMessage(3), newMessage(4)
	done.State, never.Due, in.Box = journal.Done, time.Time{}, journal.Inbox
	addMessages(t, store, newMessage(6), newMessage(5), newMessage(1), done, never, in)
	out := journal.MessageClaim{Box: journal.Outbox}
	at := func(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }
	check(t, "before the first", lockDue(t, store, at(1).Add(-time.Microsecond), out), nil)
	check(t, "at the first", lockDue(t, store, at(1), out), []string{"M0001"})
	check(t, "all", lockDue(t, store, at(9), out), []string{"M0001", "M0005", "M0006"})
	check(t, "in", lockDue(t, store, at(9), journal.MessageClaim{Box: journal.Inbox}), []string{"M0004"})
	out.Limit = 2
	check(t, "limited", lockDue(t, store, at(9), out), []string{"M0001", "M0005"})
}

// Of the messages of a transaction the first that waits is due, however late the
// others are.
func testMessagesInOrder(t *testing.T, store journal.Store) {
	first, second, other := newMessage(3), newMessage(1), newMessage(2)
	first.Transaction, second.Transaction = "T", "T"
	second.Seq = 3
	in := newMessage(0)
	in.Transaction, in.Box, in.Seq = "T", journal.Inbox, 0
	addMessages(t, store, first, second, other, in)
	claim := journal.MessageClaim{Box: journal.Outbox}
	check(t, "the first", lockDue(t, store, start.Add(time.Minute), claim), []string{other.ID, first.ID})
	check(t, "the first is not due", lockDue(t, store, start.Add(2*time.Second), claim), []string{other.ID})
	first.State, first.Due = journal.Dead, time.Time{}
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		if _, err := tx.LockMessages(ctx, []string{first.ID}); err != nil {
			return err
		}
		return tx.UpdateMessages(ctx, []journal.Message{first})
	})
	check(t, "the second", lockDue(t, store, start.Add(time.Minute), claim), []string{second.ID, other.ID})
	alone, too := newMessage(10), newMessage(11)
	alone.Transaction, alone.Seq, too.Transaction, too.Seq = "", 1, "", 2
	addMessages(t, store, alone, too)
	check(t, "of no transaction", lockDue(t, store, start.Add(time.Minute), claim),
		[]string{second.ID, other.ID, alone.ID, too.ID})
}

func testMessagesOfLanes(t *testing.T, store journal.Store) {
	for i := range 9 {
		m := newMessage(i)
		m.Lane = []string{"a", "a", "a", "a", "a", "a", "b", "b", "c"}[i]
		addMessages(t, store, m)
	}
	claim := journal.MessageClaim{Box: journal.Outbox, PerLane: 2, Lanes: []string{"a", "b", "c", "d"}}
	now := start.Add(time.Hour)
	check(t, "two of each", lockDue(t, store, now, claim), []string{"M0000", "M0001", "M0006", "M0007", "M0008"})
	claim.Limit = 3
	check(t, "three in all", lockDue(t, store, now, claim), []string{"M0000", "M0001", "M0006"})
	claim.Limit, claim.Lanes = 0, []string{"b"}
	check(t, "of one", lockDue(t, store, now, claim), []string{"M0006", "M0007"})
	claim.Lanes = []string{}
	check(t, "of none", lockDue(t, store, now, claim), nil)
}

func testMessagesUpdate(t *testing.T, store journal.Store) {
	m, other := newMessage(1), newMessage(2)
	addMessages(t, store, m, other)
	changed := m
	changed.Transaction, changed.State, changed.Note, changed.Tries = "T9", journal.Done, "delivered", 7
	changed.Updated, changed.Due = start.Add(2*time.Hour), time.Time{}
	write(t, store, func(ctx context.Context, tx journal.Tx) error {
		found, err := tx.LockMessages(ctx, []string{other.ID, "absent", m.ID})
		check(t, "LockMessages", found, []journal.Message{m, other})
		if err != nil {
			return err
		}
		unchanging := changed
		unchanging.Box, unchanging.Lane, unchanging.Kind, unchanging.Seq, unchanging.Created = "x", "x", "x", 9, start.Add(time.Hour)
		return tx.UpdateMessages(ctx, []journal.Message{unchanging})
	})
	got, err := store.Message(t.Context(), m.ID)
	checkOne(t, "updated", got, err, changed)
	err = store.Write(t.Context(), func(ctx context.Context, tx journal.Tx) error {
		return tx.UpdateMessages(ctx, []journal.Message{newMessage(3)})
	})
	if err == nil {
		t.Error("a message that is not there can be updated")
	}
}

func testMessagesDelete(t *testing.T, store journal.Store) {
	for i := range 6 {
		m := newMessage(i)
		if m.State = journal.Done; i == 1 {
			m.State = journal.Waiting
		}
		addMessages(t, store, m)
	}
	for _, want := range []int{2, 1, 0} {
		write(t, store, func(ctx context.Context, tx journal.Tx) error {
			n, err := tx.DeleteMessages(ctx, start.Add(4*time.Second), 2)
			if n != want {
				t.Errorf("%d deleted, want %d", n, want)
			}
			return err
		})
	}
	var left []string
	for _, m := range collect(t, store.Messages(t.Context(), journal.MessageFilter{})) {
		left = append(left, m.ID)
	}
	check(t, "left", left, []string{"M0005", "M0004", "M0001"})
}

func testMessagesListed(t *testing.T, store journal.Store) {
	var all []journal.Message
	for i := range 230 {
		m := newMessage(i)
		m.Created = start.Add(time.Duration(i/2) * time.Second) // pairs
		if i%3 == 0 {
			m.Box, m.Lane, m.Transaction = journal.Inbox, account, "T"
		}
		if i%5 == 0 {
			m.State = journal.Dead
		}
		all = append(all, m)
	}
	addMessages(t, store, all...)
	slices.Reverse(all)
	for _, f := range []journal.MessageFilter{
		{},
		{Box: journal.Outbox},
		{Lane: account},
		{Transaction: "T"},
		{State: journal.Dead},
		{Limit: 3},
		{Limit: 200},
		{Box: journal.Inbox, State: journal.Waiting, Limit: 20},
	} {
		var want []journal.Message
		for _, m := range all {
			if (f.Box == "" || f.Box == m.Box) && (f.Lane == "" || f.Lane == m.Lane) && (f.State == "" || f.State == m.State) &&
				(f.Transaction == "" || f.Transaction == m.Transaction) && (f.Limit == 0 || len(want) < f.Limit) {
				want = append(want, m)
			}
		}
		check(t, fmt.Sprintf("Messages(%+v)", f), collect(t, store.Messages(t.Context(), f)), want)
		if n, err := store.CountMessages(t.Context(), f); err != nil || n != len(want) {
			t.Errorf("CountMessages(%+v) = %d, %v, want %d", f, n, err, len(want))
		}
	}
	if _, err := store.Message(t.Context(), "absent"); err == nil {
		t.Error("an absent message is found")
	}
	stats, err := store.MessageStats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []journal.MessageStats{
		{Box: journal.Inbox, Lane: account, Count: 61, Oldest: start.Add(time.Second)},
		{Box: journal.Outbox, Lane: merchant, Count: 123, Oldest: start},
	}
	check(t, "MessageStats", stats, want)
}
