package caddymodule

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/oklog/ulid/v2"
	"go.uber.org/zap"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

func init() {
	caddy.RegisterModule(new(App))
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "nowpay",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision checks the whole configuration and makes the gateway. It reaches
// no network and reads no secret, so that `caddy validate` does not either.
func (a *App) Provision(ctx caddy.Context) error {
	a.keepMemory(ctx.Slogger())
	settings, err := a.settings(ctx)
	if err != nil {
		return err
	}
	if err := metrics.register(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	a.rt = newRuntime(ctx.Slogger())
	a.rt.sharedKeys = settings.sharedKeys
	if a.rt.egress, err = egress.New(settings.egress); err != nil {
		return fmt.Errorf("setting up the way out: %w", err)
	}
	a.rt.modes = settings.modes()
	accounts := make(map[string]gateway.Account)
	for name, account := range settings.accounts {
		if a.rt.accounts[name], err = a.rt.acquire(account.secret); err != nil {
			return fmt.Errorf("opening the secret of account %s: %w", name, err)
		}
		a.rt.origins[name] = newOrigin(account)
		if err := a.rt.openTransit(name, account); err != nil {
			return fmt.Errorf("account %q: %w", name, err)
		}
		accounts[name] = gateway.Account{
			Secret: a.rt.accounts[name], Sign: account.sign, Verify: account.verify, Live: account.live,
		}
	}
	if err := a.rt.acquireJournal(settings.journal); err != nil {
		return err
	}
	if err := a.makeSenders(ctx, settings.egress.LocalAddresses); err != nil {
		return err
	}
	a.rt.gateway = gateway.New(gateway.Config{
		Catalogue:  settings.catalogue,
		Policy:     settings.policy,
		Accounts:   accounts,
		Egress:     a.rt.egress,
		Journal:    a.rt.journal.Journal,
		Limits:     gateway.NewLimits(settings.policy.Merchants(), servingLimits(), time.Now),
		Places:     gateway.NewPlaces(settings.policy.Merchants(), settings.inFlight, servingPlaces()),
		Reconcile:  settings.reconcile,
		Signatures: settings.signatures,
		Callbacks:  settings.callbacks,
		Notify:     notifiers(a.rt.senders),
		MaxBody:    settings.maxBody,
		Logger:     a.rt.logger,
		Record:     recorder(ctx.Logger()),
		Observed:   metrics.observe,
		CalledBack: metrics.calledBack,
		Posted:     metrics.posted,
		NewID:      newID,
		Now:        time.Now,
		Random:     rand.Float64,
	})
	return nil
}

// newID makes the id of an exchange or a transaction. Unlike ulid.Make it takes no
// lock: ids of the same millisecond are in no order.
func newID() string {
	var id ulid.ULID
	_ = id.SetTime(ulid.Now())                        // fails in the year 10889
	binary.BigEndian.PutUint64(id[6:], rand.Uint64()) //nolint:gosec // an id is no secret
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()) //nolint:gosec // an id is no secret
	return id.String()
}

// recorder logs and counts exchanges.
func recorder(logger *zap.Logger) func(context.Context, *gateway.Record) {
	return func(ctx context.Context, r *gateway.Record) {
		metrics.record(r)
		logExchange(ctx, logger, r)
	}
}

// Start opens the journal, fetches the credentials and begins to watch the egress
// addresses. What is missing stops nothing: the gateway refuses merchants, says
// so in its readiness, and recovers by itself. A journal that cannot be opened for
// a reason that does not pass stops the start.
func (a *App) Start() error {
	ctx := context.Background() //nolint:forbidigo // caddy.App.Start has none to give
	for _, key := range a.rt.sharedKeys {
		if err := key.load(); err != nil {
			return err
		}
	}
	if err := a.rt.journal.start(ctx, a.rt.logger); err != nil {
		return err
	}
	a.rt.egress.Start()
	if err := a.rt.egress.Ready(); err != nil {
		a.rt.logger.Error("the egress address is missing; refusing merchants until it is there", "error", err)
	}
	a.rt.keepPrevious(serving.Load())
	for _, m := range a.rt.modes {
		a.rt.logger.Info("account", "account", m.Name, "mode", m.Mode, "upstream", m.Upstream)
	}
	var starting sync.WaitGroup // together, so that all take no longer than one may
	for name, source := range a.rt.accounts {
		starting.Go(func() {
			if err := source.start(ctx, a.rt.logger.With("account", name)); err != nil {
				a.rt.logger.Error("there is no credential; refusing merchants until there is", "account", name, "error", err)
			}
		})
	}
	for merchant, source := range a.rt.signing {
		starting.Go(func() {
			if err := source.start(ctx, a.rt.logger.With("merchant", merchant)); err != nil {
				a.rt.logger.Error("there is no secret to sign notifications with; they wait until there is", "merchant", merchant, "error", err)
			}
		})
	}
	starting.Wait()
	a.rt.serve()
	a.rt.work(ctx)
	return nil
}

// Stop ends the work in the background, and waits for exchanges under way when
// the process ends. A reload needs no waiting for these: they keep what they use
// until they are done.
func (a *App) Stop() error {
	a.rt.rest()
	if caddy.Exiting() {
		a.rt.drain()
	}
	return nil
}

// Cleanup gives back what Provision acquired, as soon as the last exchange is
// over.
func (a *App) Cleanup() error {
	if a.rt == nil {
		return nil
	}
	a.rt.rest()
	a.rt.unserve()
	a.rt.close()
	return nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
	_ secret.Source      = (*pooledSource)(nil)
)
