package simulator

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// defaultBalance is what a wallet starts with.
const defaultBalance nowpay.Paise = 100_000_00

// Credential is a username and a key that belong together.
type Credential struct {
	Username string `json:"username"`
	Key      string `json:"key"`
}

// Config says how the provider begins. It is not changed, and must not be
// changed after New.
type Config struct {
	// Username and Key are what the partner must send. Both are required.
	Username, Key string
	// AllowedIPs are the partner's whitelisted addresses. Empty: any.
	AllowedIPs []netip.Prefix
	// TradeBalance and AEPSBalance are what is in the wallets at the start.
	// 0: 100000.00 rupees. For an empty wallet use the fault LowBalance.
	TradeBalance, AEPSBalance nowpay.Paise
	// Surcharge is debited on top of each amount, apart from it. Default 0.
	Surcharge nowpay.Paise
	// RefuseDuplicates refuses a request ID that was executed before. By
	// default it is executed again: the provider pays twice.
	RefuseDuplicates bool
	// JWE has requests and answers encrypted. nil: the key is in the body of
	// requests, and answers are plain.
	JWE *JWEConfig
	// Signatures has requests, answers and callbacks signed in its place. nil: they
	// are not.
	Signatures *SignatureConfig
	// Callback says where callbacks go. Zero: there are none.
	Callback CallbackTarget
	// CallbackRoots are the authorities that the receiver of callbacks may have
	// its certificate from, if its URL is https. nil: the system's.
	CallbackRoots *x509.CertPool
	// Now is the provider's clock. Default: time.Now. What a fault's Delay settles
	// waits for this clock; its callback is sent when the books are looked at, or
	// when Delay has passed in real time, if this clock agrees.
	Now func() time.Time
	// Seed decides on ids, references and chances. The same seed, clock and
	// order of requests give the same answers.
	Seed uint64
}

// Simulator is a Nowpay. All its methods are safe for concurrent use.
type Simulator struct {
	config   Config
	security security // nil: the documented one
	closed   chan struct{}
	close    func()
	running  sync.WaitGroup // callbacks, and what waits to settle
	slots    chan struct{}  // one for each callback under way
	// life is the context of callbacks, which belong to no request. It has no end:
	// a callback has, and Close waits for that.
	life context.Context //nolint:containedctx // see above

	mu          sync.Mutex
	credentials []Credential
	keys        []string // all that were ever valid, to be cut out of requests
	redactor    redactor
	allowed     []netip.Prefix
	refuseTwice bool
	books       *books
	faults      *faultList
	requests    ring[Request]
	outbox      *outbox
}

// New makes a provider in which nothing has happened yet. It fails without a
// username or key, for negative amounts, for a callback URL that is none, and
// with JWE or signatures for a key that is not one for them.
func New(c Config) (*Simulator, error) {
	if c.Username == "" || c.Key == "" {
		return nil, errors.New("simulating nowpay: username and key are required")
	}
	if c.TradeBalance < 0 || c.AEPSBalance < 0 || c.Surcharge < 0 {
		return nil, errors.New("simulating nowpay: balances and surcharge must not be negative")
	}
	if err := c.Callback.validate(); err != nil {
		return nil, fmt.Errorf("simulating nowpay: %w", err)
	}
	if c.TradeBalance == 0 {
		c.TradeBalance = defaultBalance
	}
	if c.AEPSBalance == 0 {
		c.AEPSBalance = defaultBalance
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.AllowedIPs = slices.Clone(c.AllowedIPs)
	secured, err := newSecurity(c)
	if err != nil {
		return nil, fmt.Errorf("simulating nowpay: %w", err)
	}
	s := &Simulator{config: c, security: secured, closed: make(chan struct{}), slots: make(chan struct{}, maxSending)}
	s.close = sync.OnceFunc(s.end)
	s.life = context.Background() //nolint:forbidigo // it outlives every request
	s.Reset()
	return s, nil
}

// Header is in every answer of Handler, so that nobody takes a simulator for the
// provider. A gateway with a live account believes no answer that has it.
const Header = "Nowpay-Simulator"

// Handler is the provider's API. It expects a server of its own: some faults
// take over the connection.
func (s *Simulator) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Close ends requests that hang or wait, now and later. It does not wait for
// them: the server's Shutdown does. It waits for callbacks under way, which takes
// up to five seconds; those that wait for something are not sent, and later there
// are none. It may be called more than once.
func (s *Simulator) Close() {
	s.close()
	s.running.Wait()
}

func (s *Simulator) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.closed)
	close(s.outbox.over)
	for _, c := range s.outbox.held {
		s.giveUp(c)
	}
	s.outbox.held = nil
}

// Reset brings back what New made: keys, addresses, wallets, the target of
// callbacks, and the seed's beginning. Ledger, requests, faults and callbacks are
// empty. Callbacks that wait for something are not sent.
func (s *Simulator) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outbox != nil && !s.isClosed() {
		close(s.outbox.over)
		s.outbox.held = nil
	}
	c := s.config
	s.setCredentials(Credential{c.Username, c.Key})
	s.allowed = c.AllowedIPs
	s.refuseTwice = c.RefuseDuplicates
	s.books = newBooks(c)
	s.faults = newFaultList(c.Seed)
	s.requests = ring[Request]{}
	if signs, ok := s.security.(*signatures); ok {
		clear(signs.nonces)
		signs.last = nil
	}
	s.outbox = newOutbox(c.Callback)
}

// SetKeys replaces the valid keys of the configured username: several while
// rotating, none to lock the partner out.
func (s *Simulator) SetKeys(keys ...string) {
	credentials := make([]Credential, len(keys))
	for i, key := range keys {
		credentials[i] = Credential{s.config.Username, key}
	}
	s.SetCredentials(credentials...)
}

// SetCredentials replaces all valid credentials. A username with the key of
// another one is refused.
func (s *Simulator) SetCredentials(credentials ...Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setCredentials(credentials...)
}

func (s *Simulator) setCredentials(credentials ...Credential) {
	s.credentials = slices.Clone(credentials)
	for _, c := range credentials {
		if c.Key != "" && !slices.Contains(s.keys, c.Key) {
			s.keys = append(s.keys, c.Key)
		}
	}
	s.redactor = newRedactor(s.keys...)
}

// SetAllowedIPs replaces the whitelist of the partner's addresses. None: any.
func (s *Simulator) SetAllowedIPs(allowed ...netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = slices.Clone(allowed)
}

// SetRefuseDuplicates changes what becomes of a request ID that was executed
// before.
func (s *Simulator) SetRefuseDuplicates(refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuseTwice = refuse
}

// Ledger returns a snapshot of the books.
func (s *Simulator) Ledger() Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(s.config.Now())
	return s.books.snapshot()
}

// Requests returns the last 10,000 requests that reached the provider, oldest
// first. Their headers must not be changed.
func (s *Simulator) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests.all()
}

// SettlePending makes a pending transaction success or failed, as the bank's
// late word does, and sends the callback. ErrNotFound, or ErrState if it is not pending. Where two
// transactions share the provider ID, the newer one is meant.
func (s *Simulator) SettlePending(providerID string, to State) error {
	return s.byHand(providerID, to, true)
}

// FlipFinal moves a final transaction to any other state, as operators at the
// provider do without telling anybody: there is no callback. ErrNotFound, or ErrState if it is
// pending or in that state already.
func (s *Simulator) FlipFinal(providerID string, to State) error {
	return s.byHand(providerID, to, false)
}

func (s *Simulator) byHand(providerID string, to State, pending bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(s.config.Now())
	e, err := s.books.byHand(providerID, to, pending)
	if err != nil {
		return fmt.Errorf("transaction %q: %w", providerID, err)
	}
	if pending {
		s.callBack(e)
	}
	return nil
}
