package journal

import (
	"fmt"
	"time"
)

// Change is what somebody says of a transaction.
type Change struct {
	// State is what became of it. Empty: nothing is said of that.
	State State
	// Cause is who says so.
	Cause Cause
	// From is the state that the change was decided for; any other refuses it.
	// Empty: any.
	From State
	// Attempt is the attempt that an exchange speaks of; one that is over is
	// not listened to any more. 0: any.
	Attempt int
	// Actor and Reason are required of an operator, and of nobody else.
	Actor, Reason string
	// Evidence is a JSON object, see [Event]. Empty: none.
	Evidence string

	// ProviderID, Integrity and Reference replace what was known, unless empty.
	ProviderID string
	Integrity  string
	Reference  string
	// Answer is what the merchant is answered. A change of state without one
	// forgets the answer before it.
	Answer *Answer

	// Disputed is what the provider said otherwise in the same breath, with the
	// State Unknown: from then on only a person moves the transaction.
	Disputed State
	// Checked is set if the provider was asked.
	Checked bool
	// Attention is set if the transaction needs a person from now on.
	Attention bool
	// Notify is set if the merchant is to be told, should the change make the
	// transaction final or contradict it.
	Notify bool
	// NotifyLate is Notify if nobody waits for the change any more, so that
	// something else was told.
	NotifyLate bool
	// Next gives the time at which to look at the transaction again, out of the
	// row after the change. Nil leaves it as it is.
	Next func(after Transaction) time.Time
}

// verdict is what becomes of a change.
type verdict int

const (
	refused     verdict = iota // the state does not allow it
	ignored                    // it says nothing new
	moves                      // the state changes
	contradicts                // the provider says something else than a final state
	learns                     // the state stays, but the provider's id is new
)

// judge is the state machine: what becomes of a change.
func judge(t *Transaction, c *Change) verdict {
	switch {
	case c.Attempt != 0 && c.Attempt != t.Attempt, c.From != "" && c.From != t.State:
		return refused
	case c.State == "":
		return ignored
	case c.Cause == ByOperator:
		return judgeOperator(t, c.State)
	case t.Reversed != "" && !t.State.Final(): // what was not believed once must not decide later
		return ignored
	case c.State == t.State && t.ProviderID == "" && c.ProviderID != "":
		return learns
	case c.State == t.State:
		return ignored
	}
	switch t.State {
	case Created, Sent:
		return judgeOpen(t, c)
	case Unknown:
		return judgeOpen(t, c)
	case Pending:
		if c.State == Success || c.State == Failed {
			return moves
		}
		return ignored
	case Success, Failed, Refused, Unsent:
		if c.State == Unknown || c.State == t.Reversed || !c.State.provable() {
			return ignored
		}
		return contradicts
	}
	return refused
}

// judgeOpen is for a transaction of which nothing is known yet. That nothing
// was created or sent can be told only by the exchange itself.
func judgeOpen(t *Transaction, c *Change) verdict {
	switch c.State {
	case Success, Failed, Pending:
		return moves
	case Refused, Unsent:
		if c.Cause == ByExchange {
			return moves
		}
	case Unknown:
		if t.State != Unknown {
			return moves
		}
	case Created, Sent:
	}
	return refused
}

// judgeOperator lets a person settle what is not under way, and correct what is
// final.
func judgeOperator(t *Transaction, to State) verdict {
	if to != Success && to != Failed && to != Refused {
		return refused
	}
	switch t.State {
	case Created, Sent:
		return refused
	case Unsent: // unless somebody says that it was sent
		if t.Reversed == "" && t.Attention.IsZero() {
			return refused
		}
		return moves
	case Unknown, Pending, Success, Failed, Refused:
		if t.State == to && t.Reversed == "" && t.Attention.IsZero() {
			return ignored
		}
		return moves
	}
	return refused
}

// provable reports whether the provider can be asked for the state.
func (s State) provable() bool { return s == Success || s == Failed || s == Refused || s == Pending }

// apply makes the change. It returns the row after it, and the kinds of the
// events that tell of it, none if nothing is to be told. Version, Updated and
// Sealed are not its concern. The error wraps [ErrTransition].
func apply(t Transaction, c *Change, now time.Time) (after Transaction, kinds []Kind, err error) {
	after = t
	switch judge(&t, c) {
	case refused:
		return t, nil, fmt.Errorf("changing %s to %s by %s: %w", t.State, c.State, c.Cause, ErrTransition)
	case ignored:
	case learns:
		after.learn(c)
		kinds = append(kinds, Kind(after.State))
	case moves:
		after.State = c.State
		if after.State.Final() { // whatever was the matter with it, it is settled
			after.Reversed, after.Attention = "", time.Time{}
		}
		after.learn(c)
		kinds = append(kinds, Kind(after.State))
	case contradicts:
		after.Reversed = c.State
		kinds = append(kinds, KindReversed)
	}
	if c.Disputed != "" && c.Disputed != after.State && after.Reversed == "" {
		after.Reversed = c.Disputed
		kinds = append(kinds, KindReversed)
	}
	if after.Reversed != "" && after.Attention.IsZero() {
		after.Attention = now
	}
	if c.Attention && after.Attention.IsZero() {
		after.Attention = now
		kinds = append(kinds, KindAttention)
	}
	if c.Checked {
		after.Checks++
	}
	if len(kinds) > 0 {
		after.Updated = now
	}
	if c.Next != nil {
		after.NextCheck = c.Next(after)
	}
	return after, kinds, nil
}

func (t *Transaction) learn(c *Change) {
	if c.ProviderID != "" {
		t.ProviderID = c.ProviderID
	}
	if c.Integrity != "" {
		t.Integrity = c.Integrity
	}
}

// expire is the change that the deadline makes.
func expire(next func(Transaction) time.Time) *Change {
	return &Change{State: Unknown, Cause: ByDeadline, Evidence: `{"reason":"no outcome was recorded before the deadline"}`, Next: next}
}
