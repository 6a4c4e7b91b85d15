package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// inRequest begins a value by which a request chooses its own fault:
// "sim:pending", or "sim:slow:3s", or "sim:failed:1001" where the value has to
// be unique.
const inRequest = "sim:"

// Fault makes the provider misbehave, once or for good. The first fault added
// that matches a request is the one it meets; a request that names a kind
// itself meets that one.
type Fault struct {
	Kind Kind
	// Operation and RequestID restrict the fault to one operation (bank/payout)
	// and to one request ID. Empty: any.
	Operation string
	RequestID string
	// Times is how many requests meet it. 0: all, until ClearFaults.
	Times int
	// Probability is the share of matching requests that meet it, chosen by the
	// seed. 0 and 1: each of them.
	Probability float64
	// Delay is how long Slow withholds the answer (0: two seconds), and after
	// how long PendingThenSuccess and PendingThenFailed settle (0: only by
	// SettlePending). Other kinds don't use it.
	Delay time.Duration
}

// faultJSON is a Fault as the control API writes it: {"kind":"slow","delay":"3s"}.
type faultJSON struct {
	Kind        Kind    `json:"kind"`
	Operation   string  `json:"operation,omitempty"`
	RequestID   string  `json:"request_id,omitempty"`
	Times       int     `json:"times,omitempty"`
	Probability float64 `json:"probability,omitempty"`
	Delay       string  `json:"delay,omitempty"`
}

// MarshalJSON writes the delay as a duration's text.
func (f Fault) MarshalJSON() ([]byte, error) {
	j := faultJSON{
		Kind: f.Kind, Operation: f.Operation, RequestID: f.RequestID,
		Times: f.Times, Probability: f.Probability,
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
		Times: j.Times, Probability: j.Probability,
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
	if chosen, err := chosenBy(f); err != nil || chosen.Kind != "" {
		return chosen, err
	}
	for i := range l.faults {
		c := &l.faults[i]
		if c.Operation != "" && c.Operation != operation || c.RequestID != "" && c.RequestID != requestID {
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
		return met, nil
	}
	return Fault{}, nil
}

// chosenBy returns the fault that a request asks for itself, in the first field
// by name that does.
func chosenBy(f fields) (Fault, error) {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		text, ok := f[name].(string)
		if !ok || !strings.HasPrefix(text, inRequest) {
			continue
		}
		kind, rest, _ := strings.Cut(text[len(inRequest):], ":")
		fault := Fault{Kind: Kind(kind)}
		// What follows is a delay, or only there to make the value unique.
		if d, err := time.ParseDuration(rest); err == nil && d > 0 {
			fault.Delay = d
		}
		return fault, fault.validate()
	}
	return Fault{}, nil
}

// AddFault makes the provider misbehave from the next request on. It fails if
// the kind is unknown or a number is out of range.
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
