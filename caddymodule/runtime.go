package caddymodule

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
	"github.com/nowpay-gateway/nowpay-gateway/egress"
	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// firstFetch bounds how long a start or a reload waits for a credential.
const firstFetch = 10 * time.Second

// sources are the secret sources of all configurations that are live. A reload
// that does not change a source keeps it, with the credential it holds: an
// outage of the secret store during a reload costs nothing.
var sources = caddy.NewUsagePool()

// pooledSource is a source in the pool. It knows nothing of a configuration
// but the logger of the newest one.
type pooledSource struct {
	ManagedSource
	once sync.Once
}

// start starts the source if no earlier configuration did. It says why there
// is no credential, if there is none.
func (s *pooledSource) start(ctx context.Context, logger *slog.Logger) error {
	s.SetLogger(logger)
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, firstFetch)
		defer cancel()
		_ = s.Start(ctx) // the status tells, now and after later reloads
	})
	status := s.Status()
	if status.Available {
		return nil
	}
	return cmp.Or(status.Err, secret.ErrUnavailable)
}

// Destruct implements caddy.Destructor.
func (s *pooledSource) Destruct() error {
	s.Close()
	return nil
}

// underWay counts the exchanges of all configurations.
var underWay sync.WaitGroup

// runtime is what one configuration holds while it serves. Exchanges may
// outlive the configuration, so whoever leaves last gives the resources back.
type runtime struct {
	gateway       *gateway.Gateway
	egress        *egress.Client
	accounts      map[string]*pooledSource
	origins       map[string]origin // of the accounts' credentials
	modes         []accountMode
	keys          []string                                   // of the pool of sources, acquired and not yet given back
	senders       map[string]*notify.Sender                  // of notifications, by merchant
	signing       map[string]*pooledSource                   // of the secrets of notifications that are in the pool, by merchant
	notifySecrets map[string]func() ([]notify.Secret, error) // by merchant
	sharedKeys    []*sharedKeyFile                           // of merchants who sign
	transits      []*vault.Transit                           // on sources of the pool
	journal       *pooledJournal
	journalKey    string // of the pool of journals, acquired and not yet given back
	logger        *slog.Logger
	underWay      *sync.WaitGroup

	working     sync.WaitGroup // the work in the background
	stopWorking context.CancelFunc
	reading     context.Context //nolint:containedctx // of what operators read; ends before the configuration
	stopReading context.CancelFunc

	ready   chan struct{} // closed by started
	started func()        // lets those in who wait for the start; idempotent

	mu       sync.Mutex
	inFlight int
	draining bool     // no new exchanges: the process ends
	closed   bool     // the configuration is gone
	previous *runtime // that served before; to return to if this one fails
}

func newRuntime(logger *slog.Logger) *runtime {
	ready := make(chan struct{})
	reading, stopReading := context.WithCancel(context.Background()) //nolint:forbidigo // it ends with the configuration
	return &runtime{
		senders:       make(map[string]*notify.Sender),
		signing:       make(map[string]*pooledSource),
		notifySecrets: make(map[string]func() ([]notify.Secret, error)),
		stopWorking:   func() {},
		reading:       reading,
		stopReading:   stopReading,
		accounts:      make(map[string]*pooledSource),
		origins:       make(map[string]origin),
		logger:        logger,
		underWay:      &underWay,
		ready:         ready,
		started:       sync.OnceFunc(func() { close(ready) }),
	}
}

// serving is the runtime of the newest configuration that was started.
var serving atomic.Pointer[runtime]

// serve makes r the one that serves.
func (r *runtime) serve() {
	previous := serving.Swap(r)
	r.mu.Lock()
	r.previous = previous
	r.mu.Unlock()
	r.started()
}

// work begins to settle transactions in the background, to work off callbacks and
// to notify merchants.
func (r *runtime) work(ctx context.Context) {
	ctx, r.stopWorking = context.WithCancel(ctx)
	r.working.Go(func() { r.gateway.RunReconciliation(ctx) })
	r.working.Go(func() { r.gateway.RunPost(ctx) })
}

// rest ends the work in the background and waits for it, and ends what operators
// read, which may be long. It may be called twice.
func (r *runtime) rest() {
	r.stopReading()
	r.stopWorking()
	r.working.Wait()
}

// unserve returns to the configuration before, if r was still the one that
// serves: then Caddy could not start all of it, and the one before goes on.
func (r *runtime) unserve() {
	r.mu.Lock()
	previous := r.previous
	r.previous = nil
	r.mu.Unlock()
	if previous != nil && !previous.alive() {
		previous = nil
	}
	if serving.CompareAndSwap(r, previous) && previous != nil {
		for name, source := range previous.accounts {
			source.SetLogger(previous.logger.With("account", name))
		}
		for name, source := range previous.signing {
			source.SetLogger(previous.logger.With("merchant", name))
		}
		previous.keepPrevious(nil)
		previous.journal.SetLogger(previous.logger)
	}
}

func (r *runtime) alive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.closed
}

// enter admits an exchange, if the runtime still takes any. Every successful
// enter is followed by one leave.
func (r *runtime) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining || r.closed {
		return false
	}
	r.inFlight++
	r.underWay.Add(1)
	metrics.inFlight.Inc()
	return true
}

// enterServing admits an exchange to r, or, if its configuration is gone, to
// the one that serves now: a reload, or several, may overtake a request that was
// accepted before. It waits for the start of r: Caddy starts apps in any order, so
// that requests may be there first. It returns nil when the process ends.
func (r *runtime) enterServing() *runtime {
	<-r.ready
	for candidate := r; candidate != nil; {
		if candidate.enter() {
			return candidate
		}
		next := serving.Load() // not before: it may have changed since
		if next == candidate {
			return nil
		}
		candidate = next
	}
	return nil
}

func (r *runtime) leave() {
	defer r.underWay.Done()
	metrics.inFlight.Dec()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight--
	if r.closed && r.inFlight == 0 {
		r.release()
	}
}

// drain refuses new exchanges and waits for those under way, of earlier
// configurations too. Each of them is bounded: by bodyTime, and then by the
// upstream timeout.
func (r *runtime) drain() {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	r.underWay.Wait()
}

// close gives the resources back, now or when the last exchange is over. From now on
// nobody returns to r: what another one serves with, it has to itself. It may be
// called twice.
func (r *runtime) close() {
	if other := serving.Load(); other != nil && other != r {
		other.keepPrevious(nil)
	}
	r.started() // or given up: those who wait are sent on
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.inFlight == 0 {
		r.release()
	}
}

// release gives back exactly what was acquired. Nothing more will be counted
// here, so the series of merchants that are gone can be dropped.
func (r *runtime) release() {
	metrics.forget(left(r, serving.Load()))
	if r.egress != nil {
		r.egress.Close()
	}
	for _, sender := range r.senders {
		sender.Close()
	}
	for _, transit := range r.transits {
		transit.Close() // before the source that it uses
	}
	for _, key := range r.keys {
		if _, err := sources.Delete(key); err != nil {
			r.logger.Error("closing a secret source", "error", err)
		}
	}
	r.keys = nil
	r.releaseJournal() // last: an exchange ends with what it writes
}

// acquire takes a source from the pool, or puts it there.
func (r *runtime) acquire(provider SecretProvider) (*pooledSource, error) {
	key := provider.Key()
	value, _, err := sources.LoadOrNew(key, func() (caddy.Destructor, error) {
		source, err := provider.New(r.logger)
		if err != nil {
			return nil, err
		}
		return &pooledSource{ManagedSource: source}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("making the source: %w", err)
	}
	r.keys = append(r.keys, key)
	return value.(*pooledSource), nil
}

// notifiers are the senders as the gateway takes them.
func notifiers(senders map[string]*notify.Sender) map[string]gateway.Notifier {
	all := make(map[string]gateway.Notifier, len(senders))
	for merchant, sender := range senders {
		all[merchant] = sender
	}
	return all
}

// notReady lists why merchants cannot be served; empty when they can. The
// reasons are shown without authentication, so they name no address of a
// secret store and repeat no error.
func notReady() []string {
	r := serving.Load()
	if r == nil {
		return []string{"starting: the gateway has not started yet, or is about to end"}
	}
	var reasons []string
	for name, source := range r.accounts {
		if !source.Status().Available {
			reasons = append(reasons, "credential-unavailable: account "+name)
		}
	}
	if err := r.journal.Ready(); err != nil {
		reasons = append(reasons, "journal-unavailable: transactions cannot be recorded")
	}
	if err := r.egress.Ready(); err != nil {
		reasons = append(reasons, "egress-unavailable: none of the egress addresses is on this machine")
	}
	return reasons
}
