package caddymodule

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/oklog/ulid/v2"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
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
	settings, err := a.settings(ctx)
	if err != nil {
		return err
	}
	if err := metrics.register(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	a.rt = &runtime{
		logger:   ctx.Slogger(),
		accounts: make(map[string]*pooledSource),
		idle:     make(chan struct{}),
	}
	if a.rt.egress, err = egress.New(settings.egress); err != nil {
		return fmt.Errorf("setting up the upstream: %w", err)
	}
	accounts := make(map[string]gateway.Account)
	for name, account := range settings.accounts {
		if err := a.rt.acquire(name, account.secret); err != nil {
			return err
		}
		accounts[name] = gateway.Account{Secret: a.rt.accounts[name], Sign: account.sign}
	}
	a.rt.gateway = gateway.New(gateway.Config{
		Catalogue: settings.catalogue,
		Policy:    settings.policy,
		Accounts:  accounts,
		Egress:    a.rt.egress,
		MaxBody:   settings.maxBody,
		Logger:    a.rt.logger,
		Record:    metrics.record,
		NewID:     func() string { return ulid.Make().String() },
		Now:       time.Now,
	})
	return nil
}

// Start fetches the credentials and begins to watch the egress addresses. What
// is missing stops nothing: the gateway refuses merchants, says so in its
// readiness, and recovers by itself.
func (a *App) Start() error {
	a.rt.egress.Start()
	if err := a.rt.egress.Ready(); err != nil {
		a.rt.logger.Error("the egress address is missing; refusing merchants until it is there", "error", err)
	}
	for _, name := range slices.Sorted(maps.Keys(a.rt.accounts)) {
		if err := a.rt.accounts[name].start(a.rt.logger.With("account", name)); err != nil {
			a.rt.logger.Error("there is no credential; refusing merchants until there is", "account", name, "error", err)
		}
	}
	metrics.forget(left(serving.Load(), a.rt))
	a.rt.serve()
	return nil
}

// left lists the merchants of one configuration that are not in the next.
func left(previous, next *runtime) []string {
	if previous == nil {
		return nil
	}
	var gone []string
	for _, merchant := range previous.gateway.Policy.Merchants() {
		same := func(m *whitelist.Merchant) bool { return m.Name == merchant.Name }
		if !slices.ContainsFunc(next.gateway.Policy.Merchants(), same) {
			gone = append(gone, merchant.Name)
		}
	}
	return gone
}

// Stop waits for exchanges under way when the process ends. A reload needs no
// waiting: they keep what they use until they are done.
func (a *App) Stop() error {
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
	_ signer.Scheme      = signer.Credentials{}
)
