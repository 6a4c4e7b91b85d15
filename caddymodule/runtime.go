package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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
}

// errDraining says that the process is about to end.
var errDraining = errors.New("shutting down")

// enter admits an exchange; every enter is followed by one leave.
func (r *runtime) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return errDraining
	}
	r.inFlight++
	metrics.inFlight.Inc()
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
