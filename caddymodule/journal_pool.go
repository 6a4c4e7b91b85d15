package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/postgres"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
)

// journals are the journals of all configurations that are live. A reload that
// names the same database keeps it open: a file has one owner, and there is no
// moment without it.
var journals = caddy.NewUsagePool()

// pooledJournal is a journal in the pool. It knows nothing of a configuration but
// the logger of the newest one.
type pooledJournal struct {
	*journal.Journal
	settings JournalSettings
	once     sync.Once
	startErr error
}

// start opens the journal if no earlier configuration did. A database that does
// not answer is no error: the journal goes on trying.
func (p *pooledJournal) start(ctx context.Context, logger *slog.Logger) error {
	return p.startBy(ctx, logger, p.Start)
}

// startExisting is start for a journal that must be there already.
func (p *pooledJournal) startExisting(ctx context.Context, logger *slog.Logger) error {
	return p.startBy(ctx, logger, p.StartExisting)
}

func (p *pooledJournal) startBy(ctx context.Context, logger *slog.Logger, start func(context.Context) error) error {
	p.SetLogger(logger)
	p.once.Do(func() { p.startErr = start(ctx) })
	switch {
	case p.startErr == nil:
	case !errors.Is(p.startErr, journal.ErrUnavailable):
		return fmt.Errorf("opening the journal: %w", p.startErr)
	case p.Ready() != nil:
		logger.Error("the journal's database does not answer; refusing money operations until it does", "error", p.startErr)
	}
	return nil
}

// Destruct implements caddy.Destructor.
func (p *pooledJournal) Destruct() error { return p.Close() }

// acquireJournal takes the journal from the pool, or puts it there.
func (r *runtime) acquireJournal(provider JournalProvider) error {
	settings := provider.Settings()
	value, loaded, err := journals.LoadOrNew(provider.Key(), func() (caddy.Destructor, error) {
		store, err := newStore(settings, r.logger)
		if err != nil {
			return nil, err
		}
		return &pooledJournal{
			settings: settings,
			Journal: journal.New(journal.Options{
				Store: store, KeyFile: settings.KeyFile, Gateway: journal.HostName(), Logger: r.logger,
			}),
		}, nil
	})
	if err != nil {
		return fmt.Errorf("making the journal: %w", err)
	}
	r.journal, r.journalKey = value.(*pooledJournal), provider.Key()
	if loaded && r.journal.settings.KeyFile != settings.KeyFile {
		return fmt.Errorf("journal: key_file: the journal is open with the key file %s; another path takes a restart (another key does not: put it into a first line of the file)", r.journal.settings.KeyFile)
	}
	return nil
}

// releaseJournal gives it back, once.
func (r *runtime) releaseJournal() {
	if r.journalKey == "" {
		return
	}
	if _, err := journals.Delete(r.journalKey); err != nil {
		r.logger.Error("closing the journal", "error", err)
	}
	r.journalKey = ""
}

func newStore(s JournalSettings, logger *slog.Logger) (journal.Store, error) {
	if s.Kind == "postgres" {
		return postgres.New(string(s.DSN.Reveal()), logger)
	}
	return sqlite.New(s.Path), nil
}

// servingLimits are those of the configuration that serves: a reload keeps what
// of them stays the same.
func servingLimits() *gateway.Limits {
	if rt := serving.Load(); rt != nil {
		return rt.gateway.Limits
	}
	return nil
}

// servingPlaces are those of the configuration that serves: its exchanges under way
// count in the next one too.
func servingPlaces() *gateway.Places {
	if rt := serving.Load(); rt != nil {
		return rt.gateway.Places
	}
	return nil
}
