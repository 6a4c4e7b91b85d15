package simulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

const (
	// defaultCopies is how often CallbackRepeated sends if it isn't told.
	defaultCopies = 3
	// maxCopies bounds Fault.Copies.
	maxCopies = maxSending
)

// wrongSource is where CallbackWrongSource sends from if it isn't told.
var wrongSource = netip.AddrFrom4([4]byte{127, 0, 0, 66}) //nolint:gochecknoglobals // a constant in all but syntax

// ErrNoTarget is the error of sending a callback where no URL is configured.
var ErrNoTarget = errors.New("no callback URL is configured")

// CallbackTarget says where callbacks go: what the partner had Nowpay store.
type CallbackTarget struct {
	// URL is called for each transaction that was pending and becomes success or
	// failed. http or https; it may have a query. "": no callbacks.
	URL string `json:"url"`
	// From is the local address that callbacks are sent from, for the receiver's
	// whitelist. Zero: the system chooses.
	From netip.Addr `json:"from,omitzero"`
	// Shape is how all of them are written. "": Flat for recharges, Envelope for
	// all else.
	Shape Shape `json:"shape,omitempty"`
}

// validate reports what is wrong with a target.
func (t CallbackTarget) validate() error {
	if t.Shape != "" && !t.Shape.known() {
		return fmt.Errorf("unknown shape %q", t.Shape)
	}
	if t.URL == "" {
		return nil
	}
	return checkURL(t.URL)
}

// checkURL does not repeat the URL: its query may hold a token.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Contains(text, "#") {
		return errors.New("the callback URL must be http(s)://host/…, without user and fragment")
	}
	return nil
}

// Callback is what is remembered of one callback: one request to the partner,
// which was sent, or was meant to be. Keys are cut out.
type Callback struct {
	// Number counts them from 1, in the order in which they ended.
	Number int `json:"number"`
	// Time is the provider's clock when it was sent.
	Time time.Time `json:"time"`
	// Method, URL, ContentType and Body are the request.
	Method      string `json:"method"`
	URL         string `json:"url"`
	ContentType string `json:"content_type,omitempty"`
	Body        string `json:"body"`
	// From is the address that it was to be sent from; zero: the system's choice.
	From netip.Addr `json:"from,omitzero"`
	// Shape, State and the two ids are what it said, which a fault may have made
	// wrong. All are "" for SendRaw.
	Shape      Shape  `json:"shape,omitempty"`
	State      State  `json:"state,omitempty"`
	ProviderID string `json:"provider_id,omitempty"`
	RequestID  string `json:"request_id,omitempty"`
	// Status is the reply's, 0 if there was none. Error says why, "" if all went
	// well or the callback was lost on purpose.
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
	// Fault is the misbehaviour that it met, "" for none.
	Fault Kind `json:"fault,omitempty"`
}

// RawCallback is a request to the partner that somebody else makes up.
type RawCallback struct {
	// URL is where it goes. "": the configured one.
	URL string `json:"url"`
	// From is the local address that it is sent from. Zero: the configured one.
	From netip.Addr `json:"from"`
	// Method is POST if "". ContentType is sent if it is not "".
	Method      string `json:"method"`
	ContentType string `json:"content_type"`
	Body        string `json:"body"`
}

// callback is one on its way out. It is not changed once it is launched.
type callback struct {
	box       *outbox
	operation string
	fault     Kind

	shape                    Shape
	state                    State
	ours, yours, rrn, payee  string
	amount                   nowpay.Paise // 0: none in it
	junk, unsigned           bool
	from                     netip.Addr
	copies                   int
	delay                    time.Duration
	method, url, contentType string
	body                     string
}

// SetCallback replaces the target of callbacks from now on. It fails for a URL
// that is none, or an unknown shape.
func (s *Simulator) SetCallback(t CallbackTarget) error {
	if err := t.validate(); err != nil {
		return fmt.Errorf("setting callback: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbox.target = t
	return nil
}

// Callbacks returns the last 10,000 callbacks, in the order in which they
// ended: with a reply, an error, or lost. After Close none is missing.
func (s *Simulator) Callbacks() []Callback {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outbox.sent.all()
}

// callBack sends the callback of a transaction that has just become final. It
// needs the lock.
func (s *Simulator) callBack(e *Entry) {
	if !s.callsBack(e) {
		return
	}
	f := e.callback
	if f.Kind == "" {
		f = s.faults.next(e.Operation, e.RequestID, metByCallback)
	}
	c := s.newCallback(e, e.State, f)
	switch f.Kind {
	case CallbackLost:
		s.record(c, Callback{Time: s.config.Now()})
	case CallbackOvertaken:
		c.box.held = append(c.box.held, c)
	default:
		s.launch(c)
	}
}

// callsBack tells whether an entry has callbacks. Of PAN none are reported. It
// needs the lock.
func (s *Simulator) callsBack(e *Entry) bool {
	return s.outbox.target.URL != "" && !strings.HasPrefix(e.Operation, "pan/")
}

// callBackFirst settles what is to be final before its request is answered. The
// channel gives the callback's end; nil if there is none. It needs the lock.
func (s *Simulator) callBackFirst(x *exchange) <-chan Callback {
	e := x.entry
	if e == nil || x.behaviour.settle == "" || !s.callsBack(e) {
		return nil
	}
	f := e.callback
	if f.Kind == "" {
		f = s.faults.next(e.Operation, e.RequestID, metByRequest)
	}
	if f.Kind != CallbackBeforeAnswer {
		return nil
	}
	s.books.change(e, x.behaviour.settle)
	return s.launch(s.newCallback(e, e.State, f))
}

// newCallback makes a callback for an entry that says the given state, and lets
// a fault change it. It needs the lock.
func (s *Simulator) newCallback(e *Entry, says State, f Fault) *callback {
	t := s.outbox.target
	c := &callback{
		box: s.outbox, operation: e.Operation, fault: f.Kind, copies: 1, from: t.From,
		state: says, ours: e.ProviderID, yours: e.RequestID, rrn: e.RRN, payee: e.payee,
	}
	switch {
	case f.Shape != "":
		c.shape = f.Shape
	case t.Shape != "":
		c.shape = t.Shape
	default:
		c.shape = shapeOf(e.Operation)
	}
	if change := callbackByKind[f.Kind].change; change != nil {
		change(c, e, f)
	}
	switch { // after the fault: it may have changed the state
	case c.state != StateSuccess:
		c.rrn, c.payee = "", ""
	case c.rrn == "":
		c.rrn = s.books.ids.digits(12)
	}
	c.write(t.URL)
	return c
}

// SendCallback sends a callback for a transaction, whatever its state is and
// whether or not one was sent, and waits for the end of it: one record for each
// copy. state is what it says, "" for what the books say. The fault may have
// any kind of CallbackKinds, or none, but for those that are about when a
// callback is sent: CallbackOvertaken and CallbackBeforeAnswer.
//
// It fails with ErrNotFound, ErrState if there is no final state to tell, and
// ErrNoTarget. That a callback did not get through is in the record's Error.
// When ctx ends, it returns without the records that are missing.
func (s *Simulator) SendCallback(ctx context.Context, providerID string, state State, f Fault) ([]Callback, error) {
	done, n, err := s.sendFor(providerID, state, f)
	if err != nil {
		return nil, fmt.Errorf("sending callback for %q: %w", providerID, err)
	}
	return collect(ctx, done, n)
}

func (s *Simulator) sendFor(providerID string, state State, f Fault) (<-chan Callback, int, error) {
	if f.Kind == "" {
		f.Kind = CallbackSent
	}
	if err := f.validate(); err != nil {
		return nil, 0, err
	}
	if !f.Kind.ofCallback() || f.Kind == CallbackOvertaken || f.Kind == CallbackBeforeAnswer {
		return nil, 0, fmt.Errorf("%q can't be sent on demand", f.Kind)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(s.config.Now())
	e := s.books.find(providerID)
	if e == nil {
		return nil, 0, ErrNotFound
	}
	if state == "" {
		state = e.State
	}
	if state != StateSuccess && state != StateFailed {
		return nil, 0, fmt.Errorf("telling that a transaction is %q: %w", state, ErrState)
	}
	if s.outbox.target.URL == "" {
		return nil, 0, ErrNoTarget
	}
	c := s.newCallback(e, state, f)
	if f.Kind == CallbackLost {
		done := make(chan Callback, 1)
		done <- s.record(c, Callback{Time: s.config.Now()})
		return done, 1, nil
	}
	return s.launch(c), c.copies, nil
}

// SendRaw sends a request that is nobody's callback, and waits for its end. It
// fails without a URL, with ErrNoTarget, and for a URL that is none. That it did
// not get through is in the record's Error.
func (s *Simulator) SendRaw(ctx context.Context, r RawCallback) (Callback, error) {
	done, err := s.sendRaw(r)
	if err != nil {
		return Callback{}, fmt.Errorf("sending raw callback: %w", err)
	}
	got, err := collect(ctx, done, 1)
	if err != nil {
		return Callback{}, err
	}
	return got[0], nil
}

func (s *Simulator) sendRaw(r RawCallback) (<-chan Callback, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.outbox.target
	if r.URL != "" {
		t.URL = r.URL
	}
	if r.From.IsValid() {
		t.From = r.From
	}
	if r.Method == "" {
		r.Method = http.MethodPost
	}
	if t.URL == "" {
		return nil, ErrNoTarget
	}
	if err := checkURL(t.URL); err != nil {
		return nil, err
	}
	return s.launch(&callback{
		box: s.outbox, copies: 1, from: t.From,
		method: r.Method, url: t.URL, contentType: r.ContentType, body: r.Body,
	}), nil
}

// collect waits for the ends of n copies.
func collect(ctx context.Context, done <-chan Callback, n int) ([]Callback, error) {
	got := make([]Callback, 0, n)
	for range n {
		select {
		case c := <-done:
			got = append(got, c)
		case <-ctx.Done():
			return got, fmt.Errorf("waiting for callback: %w", ctx.Err())
		}
	}
	return got, nil
}
