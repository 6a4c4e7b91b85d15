package journal

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// TestDisputed: what the provider says in two ways at once is not known, and from
// then on only a person decides.
func TestDisputed(t *testing.T) {
	now := time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name  string
		from  Transaction
		kinds []Kind
		state State
	}{
		{"under way", Transaction{State: Sent, Attempt: 1}, []Kind{Kind(Unknown), KindReversed}, Unknown},
		{"unknown meanwhile", Transaction{State: Unknown, Attempt: 1}, []Kind{KindReversed}, Unknown},
		{"failed meanwhile", Transaction{State: Failed, Attempt: 1}, []Kind{KindReversed}, Failed},
		{"success meanwhile", Transaction{State: Success, Attempt: 1}, nil, Success},
	} {
		c := Change{State: Unknown, Disputed: Success, Cause: ByExchange, Attempt: 1}
		after, kinds, err := apply(test.from, &c, now)
		if err != nil || after.State != test.state || !slices.Equal(kinds, test.kinds) {
			t.Errorf("%s: %s, %v, %v", test.name, after.State, kinds, err)
		}
		if marked := after.Reversed == Success && after.Attention.Equal(now); marked != (len(test.kinds) > 0) {
			t.Errorf("%s: reversed %q, attention %v", test.name, after.Reversed, after.Attention)
		}
	}

	disputed := Transaction{State: Unknown, Attempt: 1, Reversed: Success, Attention: now}
	for _, cause := range []Cause{ByExchange, ByRevalidation, ByReconciliation, ByDailyCheck, ByDeadline} {
		for _, said := range []State{Success, Failed, Pending} {
			after, kinds, err := apply(disputed, &Change{State: said, Cause: cause, Attempt: 1}, now)
			if err != nil || len(kinds) > 0 || after.State != Unknown || after.Reversed != Success {
				t.Errorf("%s says %s: %+v, %v, %v", cause, said, after, kinds, err)
			}
		}
	}
	after, kinds, err := apply(disputed, &Change{State: Failed, Cause: ByOperator}, now)
	if err != nil || !slices.Equal(kinds, []Kind{Kind(Failed)}) || after.State != Failed || after.Reversed != "" || !after.Attention.IsZero() {
		t.Errorf("a person decides: %+v, %v, %v", after, kinds, err)
	}
}

// TestUnsentButKnown: a person can settle what was not sent only if the provider
// knows of it all the same.
func TestUnsentButKnown(t *testing.T) {
	now := time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)
	unsent := Transaction{State: Unsent, Attempt: 1}
	if _, _, err := apply(unsent, &Change{State: Success, Cause: ByOperator}, now); !errors.Is(err, ErrTransition) {
		t.Errorf("settling what was not sent: %v", err)
	}
	known, kinds, err := apply(unsent, &Change{State: Success, Cause: ByRevalidation}, now)
	if err != nil || !slices.Equal(kinds, []Kind{KindReversed}) || known.State != Unsent || known.Reversed != Success {
		t.Fatalf("the provider knows of it: %+v, %v, %v", known, kinds, err)
	}
	after, _, err := apply(known, &Change{State: Success, Cause: ByOperator}, now)
	if err != nil || after.State != Success || after.Reversed != "" {
		t.Errorf("a person decides: %+v, %v", after, err)
	}
}

// TestNextKnowsTheTime: the next look is planned from the change, not from what
// was before it.
func TestNextKnowsTheTime(t *testing.T) {
	before := time.Date(2026, 11, 25, 6, 0, 0, 0, time.UTC)
	now := before.AddDate(0, 0, 1)
	next := func(after Transaction) time.Time { return after.Updated.Add(time.Hour) }
	after, _, err := apply(Transaction{State: Pending, Updated: before}, &Change{State: Success, Cause: ByReconciliation, Next: next}, now)
	if err != nil || !after.NextCheck.Equal(now.Add(time.Hour)) {
		t.Errorf("next look at %v, %v; want %v", after.NextCheck, err, now.Add(time.Hour))
	}
}
