package journaltest

import (
	"fmt"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// settling are the tests of changes.
var settling = []journalTest{
	{name: "Transitions", run: testTransitions},
	{name: "SettleAgain", run: testSettleAgain},
	{name: "SettleNothing", run: testSettleNothing},
	{name: "Contradiction", run: testContradiction},
	{name: "Learns", run: testLearns},
	{name: "Attention", run: testAttention},
	{name: "Operator", run: testOperator},
	{name: "OperatorAfterDeadline", run: testOperatorAfterDeadline},
}

// What becomes of a transaction when somebody says a state of it: that state if
// the first letter is upper case (s f r p u n for success, failed, refused,
// pending, unknown, unsent), the same as before if it is lower case, a
// contradiction for "!", and an error for "-".
var transitions = map[journal.State]map[journal.Cause]string{
	journal.Sent: {
		journal.ByExchange:     "SFRPUN",
		journal.ByRevalidation: "SF-PU-",
		journal.ByOperator:     "------",
	},
	journal.Unknown: {
		journal.ByExchange:     "SFRPuN",
		journal.ByRevalidation: "SF-Pu-",
		journal.ByOperator:     "SFR---",
	},
	journal.Pending: {
		journal.ByExchange:     "SFrpun",
		journal.ByRevalidation: "SFrpun",
		journal.ByOperator:     "SFR---",
	},
	journal.Success: {
		journal.ByExchange:     "s!!!un",
		journal.ByRevalidation: "s!!!un",
		journal.ByOperator:     "sFR---",
	},
	journal.Failed: {
		journal.ByExchange:     "!f!!un",
		journal.ByRevalidation: "!f!!un",
		journal.ByOperator:     "SfR---",
	},
	journal.Refused: {
		journal.ByExchange:     "!!r!un",
		journal.ByRevalidation: "!!r!un",
		journal.ByOperator:     "SFr---",
	},
	journal.Unsent: {
		journal.ByExchange:     "!!!!un",
		journal.ByRevalidation: "!!!!un",
		journal.ByOperator:     "------",
	},
}

func testTransitions(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	said := []journal.State{
		journal.Success, journal.Failed, journal.Refused, journal.Pending, journal.Unknown, journal.Unsent,
	}
	for from, causes := range transitions {
		for cause, verdicts := range causes {
			for i, verdict := range verdicts {
				name := fmt.Sprintf("%s-%s-%s", from, cause, said[i])
				before := w.settled(t, g, name, from)
				want := before.State
				change := w.says(cause, said[i])
				after, err := g.Settle(t.Context(), before.ID, change)
				if verdict == '-' {
					checkError(t, name, err, journal.ErrTransition)
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if verdict >= 'A' && verdict <= 'Z' {
					want = said[i]
				}
				wrote := after.Version - before.Version
				if after.State != want || (after.Reversed == said[i]) != (verdict == '!') || after.Attention.IsZero() != (verdict != '!') {
					t.Errorf("%s: is %s, reversed %q, attention %v", name, after.State, after.Reversed, after.Attention)
				}
				if lower := verdict >= 'a' && verdict <= 'z'; lower == (wrote != 0) || wrote > 1 {
					t.Errorf("%s: %d events", name, wrote)
				}
			}
		}
	}
	g.checkHonest(t)
}

// Whoever says the same again changes nothing, not even the answer.
func testSettleAgain(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	for _, state := range []journal.State{
		journal.Success, journal.Failed, journal.Refused, journal.Pending, journal.Unknown, journal.Unsent,
	} {
		row := w.settled(t, g, "R"+string(state), state)
		w.pass(time.Second)
		change := w.settlement(row, state)
		change.Answer, change.Evidence = &journal.Answer{Body: []byte("another one")}, "{}"
		change.Next = nil
		for range 2 {
			checkOne(t, "settled again", g.settle(t, row.ID, change), nil, row)
		}
		g.checkState(t, row, state, journal.Kind(state))
	}
	g.checkHonest(t)
}

func testSettleNothing(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	for _, settle := range []func(id string) error{
		func(id string) error {
			_, err := g.Settle(t.Context(), id, w.says(journal.ByExchange, journal.Success))
			return err
		},
		func(id string) error {
			_, err := g.Change(t.Context(), id, w.says(journal.ByRevalidation, journal.Success))
			return err
		},
	} {
		checkError(t, "of nothing", settle("none"), journal.ErrNotFound)
	}
	_, err := g.Get(t.Context(), "none")
	checkError(t, "Get", err, journal.ErrNotFound)
	row := g.begin(t, w.intent("R1"))
	for _, state := range []journal.State{"", "paid", journal.Created, journal.Sent} {
		change := journal.Change{State: state, Cause: journal.ByRevalidation}
		if after, err := g.Settle(t.Context(), row.ID, change); err == nil && after.Version != row.Version {
			t.Errorf("Settle(%q) leads to %+v", state, after)
		}
	}
	g.checkState(t, row, journal.Sent)
}

// What the provider says against a final state is kept beside it, and shown to a
// person.
func testContradiction(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	row := w.settled(t, g, "R1", journal.Success)
	w.pass(time.Hour)
	when := w.now()
	change := w.says(journal.ByDailyCheck, journal.Failed)
	change.Answer = &journal.Answer{Body: []byte("another one")}
	change.ProviderID, change.Integrity = "P2", "revalidated"
	after := g.settle(t, row.ID, change)
	g.checkState(t, after, journal.Success, "success", "reversed")
	if after.Reversed != journal.Failed || !after.Attention.Equal(when) || after.ProviderID != row.ProviderID || after.Integrity != row.Integrity {
		t.Errorf("contradicted: %+v", after)
	}
	checkAnswer(t, g, after, secretAnswer)
	checkAnswer(t, g, g.repeat(t, w.intent("R1")), secretAnswer)

	w.pass(time.Hour)
	g.checkState(t, g.settle(t, row.ID, change), journal.Success, "success", "reversed") // said before
	again := g.settle(t, row.ID, w.says(journal.ByDailyCheck, journal.Pending))
	g.checkState(t, again, journal.Success, "success", "reversed", "reversed")
	if again.Reversed != journal.Pending || !again.Attention.Equal(when) {
		t.Errorf("contradicted again: %+v", again)
	}
	listed := collect(t, g.List(t.Context(), journal.Filter{Reversed: true}))
	check(t, "reversed ones", listed, []journal.Transaction{again})
	g.checkHonest(t)
}

// A provider ID that comes later is learnt; one that is known is not changed.
func testLearns(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	row := g.begin(t, w.intent("R1"))
	change := w.settlement(row, journal.Pending)
	change.ProviderID = ""
	row = g.settle(t, row.ID, change)
	change.ProviderID = "P1"
	row = g.settle(t, row.ID, change)
	g.checkState(t, row, journal.Pending, "pending", "pending")
	change.ProviderID = "P2"
	if row = g.settle(t, row.ID, change); row.ProviderID != "P1" {
		t.Errorf("the provider's ID is %q now", row.ProviderID)
	}
	checkAnswer(t, g, row, secretAnswer)
	g.checkState(t, row, journal.Pending, "pending", "pending")
	g.checkHonest(t)
}

func testAttention(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	row := w.settled(t, g, "R1", journal.Pending)
	change := journal.Change{Cause: journal.ByReconciliation, Attention: true, Checked: true, Next: w.next}
	w.pass(time.Hour)
	when := w.now()
	row = g.settle(t, row.ID, change)
	w.pass(time.Hour)
	row = g.settle(t, row.ID, change)
	g.checkState(t, row, journal.Pending, "pending", "attention")
	if !row.Attention.Equal(when) || row.Checks != 2 || !row.NextCheck.Equal(w.now().Add(again)) {
		t.Errorf("shown to a person: %+v", row)
	}
	row = g.settle(t, row.ID, w.says(journal.ByReconciliation, journal.Failed))
	g.checkState(t, row, journal.Failed, "pending", "attention", "failed")
	if !row.Attention.IsZero() {
		t.Errorf("it still needs a person: %+v", row)
	}
	g.checkHonest(t)
}

// A person gives a name and a reason, and settles only what is not under way.
func testOperator(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	row := w.settled(t, g, "R1", journal.Unknown)
	for _, change := range []journal.Change{
		{State: journal.Failed, Cause: journal.ByOperator},
		{State: journal.Failed, Cause: journal.ByOperator, Actor: "asha"},
		{State: journal.Failed, Cause: journal.ByOperator, Reason: "because"},
	} {
		if _, err := g.Settle(t.Context(), row.ID, change); err == nil {
			t.Errorf("Settle(%+v) needs no more", change)
		}
		if _, err := g.Change(t.Context(), row.ID, change); err == nil {
			t.Errorf("Change(%+v) needs no more", change)
		}
	}
	row = g.settle(t, row.ID, w.says(journal.ByOperator, journal.Failed))
	g.checkState(t, row, journal.Failed, "unknown", "failed")
	events, err := g.Events(t.Context(), row.ID)
	if last := events[len(events)-1]; err != nil || last.Actor != "asha" || last.Reason == "" || last.Cause != journal.ByOperator {
		t.Errorf("Events() = %+v, %v", last, err)
	}
	g.settle(t, row.ID, w.says(journal.ByDailyCheck, journal.Success))
	row = g.settle(t, row.ID, w.says(journal.ByOperator, journal.Success)) // corrected
	g.checkState(t, row, journal.Success, "unknown", "failed", "reversed", "success")
	if row.Reversed != "" || !row.Attention.IsZero() {
		t.Errorf("settled: %+v", row)
	}

	// To confirm a state against the provider is a decision as well.
	row = w.settled(t, g, "R2", journal.Success)
	g.settle(t, row.ID, w.says(journal.ByDailyCheck, journal.Failed))
	row = g.settle(t, row.ID, w.says(journal.ByOperator, journal.Success))
	g.checkState(t, row, journal.Success, "success", "reversed", "success")
	checkAnswer(t, g, row, secretAnswer)
	g.checkHonest(t)
}

// What is under way only on paper can be settled by hand.
func testOperatorAfterDeadline(t *testing.T, w *world) {
	g := w.start(t, "gateway")
	row := g.begin(t, w.intent("R1"))
	_, err := g.Settle(t.Context(), row.ID, w.says(journal.ByOperator, journal.Success))
	checkError(t, "Settle of what is under way", err, journal.ErrTransition)
	w.pass(deadline)
	row = g.settle(t, row.ID, w.says(journal.ByOperator, journal.Success))
	g.checkState(t, row, journal.Success, "unknown", "success")
	g.checkHonest(t)
}
