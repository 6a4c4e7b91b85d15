package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

const (
	defaultTransitMount   = "transit"
	defaultTransitTimeout = 5 * time.Second
	// transitSlots is how many requests to Vault can be under way: with one, Vault
	// would work on one core, and calls would wait for a slow request.
	transitSlots = 4
	// maxBatch is how many calls share a request. It and maxBase are within what
	// Vault takes.
	maxBatch = 100
	maxBase  = 64 << 10
	// maxWaiting is how many signatures, and as many verifications, can wait.
	maxWaiting = 1024
	// keptConnection is how long a connection is kept without being used.
	keptConnection = 90 * time.Second
)

// TransitConfig names a key of Vault's transit engine, and what to do with it.
type TransitConfig struct {
	// Mount is the engine's path. Empty: "transit".
	Mount string
	// Key is the key's name.
	Key string
	// Algorithm is "hmac-sha256", "ed25519", "ecdsa-p256-sha256" or
	// "rsa-pss-sha512", as in RFC 9421, section 3.3.
	Algorithm string
	// Version of the key. 0: the latest one signs, and signatures of the latest
	// three are good.
	Version int
	// Timeout bounds one Sign or Verify. 0: 5 seconds.
	Timeout time.Duration
}

// TransitOptions are what a Transit takes from its surroundings. The zero value
// is usable. The functions must be quick, and may be called concurrently.
type TransitOptions struct {
	// Called is told how long a Sign or Verify took, with waiting for other
	// requests, and its error. A wrong signature is none. Nil: nobody is.
	Called func(took time.Duration, err error)
	// Sent is told how many calls shared a request to Vault. Nil: nobody is.
	Sent func(calls int)
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Transit signs and verifies with a key that never leaves Vault. It uses the
// logins of a Source. Its methods are safe for concurrent use.
//
// Calls that come while others are under way share a request. A lone call does
// not wait for company. Nothing is tried for longer than [TransitConfig.Timeout],
// and no call waits where too many do: it fails. Calls have no lock in common but
// that of a channel.
type Transit struct {
	source *Source
	cfg    TransitConfig
	opts   TransitOptions
	scheme scheme
	path   string // below /v1/, of the engine
	client *http.Client
	info   atomic.Pointer[keyInfo] // nil: not read yet

	signing, verifying chan *call
	closed             <-chan struct{}
	end                context.CancelFunc
	working            sync.WaitGroup
}

// call is a Sign or Verify that waits.
type call struct {
	base, signature string // encoded: the bytes are the caller's, who may leave; signature: of Verify
	deadline        time.Time
	left            <-chan struct{} // closed when the caller does not wait any more
	done            chan outcome    // with room for one
}

type outcome struct {
	signature []byte
	valid     bool
	err       error
}

// NewTransit returns a Transit that works until Close. It reaches no network: that
// Vault has no such key, or one for another algorithm, is an error of the calls.
// The source is used, not owned: close the Transit first.
func NewTransit(source *Source, cfg TransitConfig, opts TransitOptions) (*Transit, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("checking transit: %w", err)
	}
	opts = opts.withDefaults()
	// No key passes here: connections are kept, and nothing is overwritten that came
	// over one.
	transport := source.guard.next.Clone()
	transport.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	transport.DialTLSContext = nil
	transport.TLSHandshakeTimeout = dialTimeout
	transport.DisableKeepAlives = false
	transport.MaxIdleConnsPerHost = transitSlots
	transport.IdleConnTimeout = keptConnection
	scheme, _ := schemeOf(cfg.Algorithm)
	ctx, end := context.WithCancel(context.Background()) //nolint:forbidigo // it ends with Close
	t := &Transit{
		source: source, cfg: cfg, opts: opts, scheme: scheme,
		path:      cfg.Mount + "/",
		client:    &http.Client{Transport: &guard{next: transport, index: source.guard.index}},
		signing:   make(chan *call, maxWaiting),
		verifying: make(chan *call, maxWaiting),
		closed:    ctx.Done(),
		end:       end,
	}
	for range transitSlots {
		t.working.Go(func() { t.work(ctx) })
	}
	return t, nil
}

func (c TransitConfig) withDefaults() TransitConfig {
	if c.Mount == "" {
		c.Mount = defaultTransitMount
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTransitTimeout
	}
	return c
}

// validate checks a TransitConfig that has its defaults.
func (c TransitConfig) validate() error {
	if err := checkPath(c.Mount + "/" + c.Key); err != nil {
		return fmt.Errorf("mount and key: %w", err)
	}
	if strings.ContainsFunc(c.Key, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-.", r))
	}) {
		return fmt.Errorf("key: %q must be of letters, digits and _ - . only", c.Key)
	}
	if _, ok := schemeOf(c.Algorithm); !ok {
		return fmt.Errorf("algorithm: unknown %q; there is: ecdsa-p256-sha256, ed25519, hmac-sha256, rsa-pss-sha512", c.Algorithm)
	}
	if c.Version < 0 {
		return fmt.Errorf("version: %d is negative", c.Version)
	}
	if c.Timeout < 0 {
		return fmt.Errorf("timeout: %v is negative", c.Timeout)
	}
	return nil
}

func (o TransitOptions) withDefaults() TransitOptions {
	if o.Called == nil {
		o.Called = func(time.Duration, error) {}
	}
	if o.Sent == nil {
		o.Sent = func(int) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Sign returns the signature of base, which has 1 to 65536 bytes, as RFC 9421 has
// it: of ECDSA r and s with 32 bytes each, of RSA-PSS with a salt of 64 bytes. The
// error wraps [secret.ErrUnavailable]: Vault did not sign in time, or would not,
// and may do so later. It says why, and holds neither token nor base.
func (t *Transit) Sign(ctx context.Context, base []byte) ([]byte, error) {
	o := t.do(ctx, t.signing, base, nil)
	if o.err != nil {
		return nil, fmt.Errorf("%w: signing by %s%s: %w", secret.ErrUnavailable, t.path, t.cfg.Key, o.err)
	}
	return o.signature, nil
}

// Verify reports whether the signature is that of base. It has the forms, the
// limits and the errors of Sign.
func (t *Transit) Verify(ctx context.Context, base, signature []byte) (bool, error) {
	if !t.scheme.fits(signature) {
		return false, nil
	}
	o := t.do(ctx, t.verifying, base, signature)
	if o.err != nil {
		return false, fmt.Errorf("%w: verifying by %s%s: %w", secret.ErrUnavailable, t.path, t.cfg.Key, o.err)
	}
	return o.valid, nil
}

// Close ends the calls that are under way with an error and waits for the
// requests. It may be called twice.
func (t *Transit) Close() {
	t.end()
	t.working.Wait()
	t.client.CloseIdleConnections()
}

// Reasons of a Transit's own.
var (
	errTransitClosed = errors.New("it is closed")
	errCrowded       = fmt.Errorf("%d calls are waiting already", maxWaiting)
	errNoLogin       = errors.New("there is no login to Vault")
	errBase          = fmt.Errorf("what is signed must have 1 to %d bytes", maxBase)
)

// do puts a call into the queue and waits for what comes of it.
func (t *Transit) do(ctx context.Context, queue chan<- *call, base, signature []byte) (o outcome) {
	begun := t.opts.Now()
	defer func() { t.opts.Called(t.opts.Now().Sub(begun), o.err) }()
	if len(base) == 0 || len(base) > maxBase {
		return outcome{err: errBase}
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	c := &call{
		base:      base64.StdEncoding.EncodeToString(base),
		signature: t.scheme.encoding.EncodeToString(signature),
		left:      ctx.Done(),
		done:      make(chan outcome, 1),
	}
	c.deadline, _ = ctx.Deadline()
	select {
	case <-t.closed:
		return outcome{err: errTransitClosed}
	case queue <- c:
	default:
		return outcome{err: errCrowded}
	}
	select {
	case o := <-c.done:
		return o
	case <-ctx.Done():
		return outcome{err: ctx.Err()}
	case <-t.closed:
		return outcome{err: errTransitClosed}
	}
}

// work is one slot: it sends what waits as one request, and then what has come
// to wait in the meantime.
func (t *Transit) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-t.signing:
			t.settle(ctx, gather(first, t.signing), t.sign)
		case first := <-t.verifying:
			t.settle(ctx, gather(first, t.verifying), t.verify)
		}
	}
}

// gather returns the calls that wait, without those whose caller has left.
func gather(first *call, queue <-chan *call) []*call {
	var calls []*call
	for next := first; ; {
		select {
		case <-next.left:
		default:
			calls = append(calls, next)
		}
		if len(calls) == maxBatch {
			return calls
		}
		select {
		case next = <-queue:
		default:
			return calls
		}
	}
}

// settle has a request made for the calls, for as long as one of them may wait,
// and tells each what came of it.
func (t *Transit) settle(ctx context.Context, calls []*call, request func(context.Context, []*call, []outcome) error) {
	if len(calls) == 0 {
		return
	}
	var latest time.Time
	for _, c := range calls {
		if c.deadline.After(latest) {
			latest = c.deadline
		}
	}
	ctx, cancel := context.WithDeadline(ctx, latest)
	defer cancel()
	outcomes := make([]outcome, len(calls))
	err := request(ctx, calls, outcomes)
	for i, c := range calls {
		if err != nil {
			outcomes[i] = outcome{err: err}
		}
		c.done <- outcomes[i]
	}
}
