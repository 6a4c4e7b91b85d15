package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// inRequest begins a value by which a request chooses its own fault:
// "sim:pending", or "sim:slow:3s", or "sim:failed:1001" where the value has to
// be unique. A callback's fault may name a shape there: "sim:callback-sent:flat".
const inRequest = "sim:"

// Fault makes the provider misbehave, once or for good. It is about a request
// and its answer, or about a callback, which its kind says. The first fault added
// that matches a request is the one it meets, and the first of a callback that
// matches is the one that its callback meets, when that is due. A request that
// names a kind itself meets that one; it may name one for itself and one for its
// callback, in two fields.
type Fault struct {
	// Kind is one of Kinds or of CallbackKinds.
	Kind Kind
	// Operation and RequestID restrict the fault to one operation (bank/payout)
	// and to one request ID. Empty: any.
	Operation string
	RequestID string
	// Times is how many requests, or callbacks, meet it. 0: all, until ClearFaults.
	Times int
	// Probability is the share of matching requests that meet it, chosen by the
	// seed. 0 and 1: each of them.
	Probability float64
	// Delay is how long Slow withholds the answer and CallbackDelayed the callback
	// (0: two seconds), and after how long PendingThenSuccess and
	// PendingThenFailed settle (0: only by SettlePending). Other kinds don't use it.
	Delay time.Duration

	// Copies is how often CallbackRepeated sends, 100 at most. 0: three times.
	Copies int
	// From is where CallbackWrongSource sends from. Zero: 127.0.0.66.
	From netip.Addr
	// Shape is how a callback is written, with each of the callback's kinds. "":
	// as CallbackTarget says.
	Shape Shape
}

// faultJSON is a Fault as the control API writes it: {"kind":"slow","delay":"3s"}.
type faultJSON struct {
	Kind        Kind       `json:"kind"`
	Operation   string     `json:"operation,omitempty"`
	RequestID   string     `json:"request_id,omitempty"`
	Times       int        `json:"times,omitempty"`
	Probability float64    `json:"probability,omitempty"`
	Delay       string     `json:"delay,omitempty"`
	Copies      int        `json:"copies,omitempty"`
	From        netip.Addr `json:"from,omitzero"`
	Shape       Shape      `json:"shape,omitempty"`
}

// MarshalJSON writes the delay as a duration's text.
func (f Fault) MarshalJSON() ([]byte, error) {
	j := faultJSON{
		Kind: f.Kind, Operation: f.Operation, RequestID: f.RequestID,
		Times: f.Times, Probability: f.Probability, Copies: f.Copies, From: f.From, Shape: f.Shape,
	}
	if f.Delay != 0 {
		j.Delay = f.Delay.String()
	}
	b, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("writing fault: %w", err)
	}
	return b, nil
}

// UnmarshalJSON reads what MarshalJSON writes; unknown members are errors.
func (f *Fault) UnmarshalJSON(b []byte) error {
	var j faultJSON
	if err := decodeStrict(b, &j); err != nil {
		return err
	}
	*f = Fault{
		Kind: j.Kind, Operation: j.Operation, RequestID: j.RequestID,
		Times: j.Times, Probability: j.Probability, Copies: j.Copies, From: j.From, Shape: j.Shape,
	}
	if j.Delay == "" {
		return nil
	}
	var err error
	if f.Delay, err = time.ParseDuration(j.Delay); err != nil {
		return fmt.Errorf("parsing delay: %w", err)
	}
	return nil
}

// validate reports what is wrong with a fault.
func (f Fault) validate() error {
	switch {
	case !f.Kind.known():
		return fmt.Errorf("unknown fault %q", f.Kind)
	case f.Times < 0:
		return errors.New("times must not be negative")
	case !(f.Probability >= 0 && f.Probability <= 1):
		return errors.New("probability must be from 0 to 1")
	case f.Delay < 0:
		return errors.New("delay must not be negative")
	case f.Copies < 0 || f.Copies > maxCopies:
		return fmt.Errorf("copies must be from 0 to %d", maxCopies)
	case f.Copies != 0 && f.Kind != CallbackRepeated:
		return fmt.Errorf("copies are of %s only", CallbackRepeated)
	case f.From.IsValid() && f.Kind != CallbackWrongSource:
		return fmt.Errorf("from is of %s only", CallbackWrongSource)
	case f.Shape != "" && !f.Shape.known():
		return fmt.Errorf("unknown shape %q", f.Shape)
	case f.Shape != "" && !f.Kind.ofCallback():
		return errors.New("only callbacks have a shape")
	}
	return nil
}

// faultList chooses the fault of each request. Not safe for concurrent use.
type faultList struct {
	faults []Fault
	chance *rand.Rand
	// dying holds the connections that KeepAliveDeath was met on, by peer.
	dying map[string]struct{}
}

func newFaultList(seed uint64) *faultList {
	return &faultList{
		chance: rand.New(rand.NewPCG(seed, 2)), //nolint:gosec // G404: repeatable on purpose
		dying:  map[string]struct{}{},
	}
}

// choose returns the fault that a request meets; Kind "" if none.
func (l *faultList) choose(operation, requestID string, f fields) (Fault, error) {
	if chosen, err := chosenBy(f, metByAnswer); err != nil || chosen.Kind != "" {
		return chosen, err
	}
	return l.next(operation, requestID, metByAnswer), nil
}

// Who looks for a fault sees only those that it could meet: an answer; a request
// whose callback may come before the answer; or a callback that is due.
func metByAnswer(k Kind) bool   { return !k.ofCallback() } // unknown ones are refused
func metByRequest(k Kind) bool  { return k == CallbackBeforeAnswer }
func metByCallback(k Kind) bool { return k.ofCallback() && k != CallbackBeforeAnswer }

// next returns the first fault that matches, and counts it; Kind "" if none.
func (l *faultList) next(operation, requestID string, meets func(Kind) bool) Fault {
	for i := range l.faults {
		c := &l.faults[i]
		if !meets(c.Kind) || c.Operation != "" && c.Operation != operation || c.RequestID != "" && c.RequestID != requestID {
			continue
		}
		if c.Probability > 0 && c.Probability < 1 && l.chance.Float64() >= c.Probability {
			continue
		}
		met := *c
		if c.Times == 1 {
			l.faults = slices.Delete(l.faults, i, i+1)
		} else if c.Times > 1 {
			c.Times--
		}
		return met
	}
	return Fault{}
}

// chosenBy returns the fault that a request asks for itself, in the first field
// by name that asks for one of these kinds.
func chosenBy(f fields, meets func(Kind) bool) (Fault, error) {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		text, ok := f[name].(string)
		if !ok || !strings.HasPrefix(text, inRequest) {
			continue
		}
		kind, rest, _ := strings.Cut(text[len(inRequest):], ":")
		fault := Fault{Kind: Kind(kind)}
		if !meets(fault.Kind) {
			continue
		}
		// What follows is a delay or a shape, or only there to make the value unique.
		if d, err := time.ParseDuration(rest); err == nil && d > 0 {
			fault.Delay = d
		}
		if shape := Shape(rest); fault.Kind.ofCallback() && shape.known() {
			fault.Shape = shape
		}
		return fault, fault.validate()
	}
	return Fault{}, nil
}

// AddFault makes the provider misbehave from the next request or callback on. It
// fails if the kind is unknown, or a number out of range or not of that kind.
func (s *Simulator) AddFault(f Fault) error {
	if err := f.validate(); err != nil {
		return fmt.Errorf("adding fault: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.faults = append(s.faults.faults, f)
	return nil
}

// Faults returns the faults still to be met, with the times left.
func (s *Simulator) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Fault{}, s.faults.faults...)
}

// ClearFaults ends all misbehaviour.
func (s *Simulator) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.faults = nil
	clear(s.faults.dying)
}

var (
	_ json.Marshaler   = Fault{}
	_ json.Unmarshaler = (*Fault)(nil)
)
