package caddymodule

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
	"github.com/nowpay-gateway/nowpay-gateway/gateway"
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
	err  error
}

// start starts the source if no earlier configuration did.
func (s *pooledSource) start(logger *slog.Logger) error {
	s.SetLogger(logger)
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), firstFetch)
		defer cancel()
		s.err = s.Start(ctx)
	})
	return s.err
}

// Destruct implements caddy.Destructor.
func (s *pooledSource) Destruct() error {
	s.Close()
	return nil
}

// runtime is what one configuration holds while it serves. Exchanges may
// outlive the configuration, so whoever leaves last gives the resources back.
type runtime struct {
	gateway  *gateway.Gateway
	egress   *egress.Client
	accounts map[string]*pooledSource
	keys     []string // of the pool, acquired and not yet given back
	logger   *slog.Logger

	mu       sync.Mutex
	inFlight int
	draining bool          // no new exchanges: the process ends
	closed   bool          // the configuration is gone
	idle     chan struct{} // closed when draining and nothing is in flight
	previous *runtime      // that served before; to return to if this one fails
}

// serving is the runtime of the newest configuration that was started.
var serving atomic.Pointer[runtime]

// serve makes r the one that serves.
func (r *runtime) serve() {
	previous := serving.Swap(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.previous = previous
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
	metrics.inFlight.Inc()
	return true
}

// enterServing admits an exchange to r, or, if its configuration is gone, to
// the one that serves now: a reload may overtake a request that was accepted
// before. It returns nil when the process ends.
func (r *runtime) enterServing() *runtime {
	for _, candidate := range []*runtime{r, serving.Load()} {
		if candidate != nil && candidate.enter() {
			return candidate
		}
	}
	return nil
}

func (r *runtime) leave() {
	metrics.inFlight.Dec()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight--
	if r.inFlight > 0 {
		return
	}
	if r.draining {
		close(r.idle)
	}
	if r.closed {
		r.release()
	}
}

// drain refuses new exchanges and waits for those under way. Each of them is
// bounded by the upstream timeout.
func (r *runtime) drain() {
	r.mu.Lock()
	first := !r.draining
	r.draining = true
	if first && r.inFlight == 0 {
		close(r.idle)
	}
	r.mu.Unlock()
	<-r.idle
}

// close gives the resources back, now or when the last exchange is over.
func (r *runtime) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	if r.inFlight == 0 {
		r.release()
	}
}

// release gives back exactly what was acquired.
func (r *runtime) release() {
	if r.egress != nil {
		r.egress.Close()
	}
	for _, key := range r.keys {
		if _, err := sources.Delete(key); err != nil {
			r.logger.Error("closing a secret source", "error", err)
		}
	}
	r.keys = nil
}

// acquire takes an account's source from the pool, or puts it there.
func (r *runtime) acquire(account string, provider SecretProvider) error {
	key := provider.Key()
	value, _, err := sources.LoadOrNew(key, func() (caddy.Destructor, error) {
		source, err := provider.New(r.logger)
		if err != nil {
			return nil, err
		}
		return &pooledSource{ManagedSource: source}, nil
	})
	if err != nil {
		return fmt.Errorf("opening the secret of account %s: %w", account, err)
	}
	r.keys = append(r.keys, key)
	r.accounts[account] = value.(*pooledSource)
	return nil
}

// notReady lists why merchants cannot be served; empty when they can. The
// reasons are shown without authentication, so they name no address of a
// secret store and repeat no error.
func (r *runtime) notReady() []string {
	var reasons []string
	for name, source := range r.accounts {
		if !source.Status().Available {
			reasons = append(reasons, "credential-unavailable: account "+name)
		}
	}
	if err := r.egress.Ready(); err != nil {
		reasons = append(reasons, "egress-unavailable: none of the egress addresses is on this machine")
	}
	return reasons
}
