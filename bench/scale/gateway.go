package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/caddy"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/provider"
)

// row is one line of a table: a gateway, its provider, and who calls it.
type row struct {
	name         string
	merchants    int
	connections  int
	latency      time.Duration
	maxInFlight  int // 0: the default
	transactions int // in the journal beforehand
	pays         bool
	gateways     int  // that share a journal in PostgreSQL; 0: one gateway, with SQLite
	watched      bool // what is under way is looked at meanwhile, which costs CPU
}

// gateway is one that runs, with its provider.
type gateway struct {
	row      row
	folder   string
	shared   string // the journal in a Caddyfile; empty: SQLite
	server   *caddy.Server
	provider *machine.Child
	idle     float64 // MiB before the first exchange
}

// start starts a gateway of a row and its provider.
func start(ctx context.Context, program string, r row, shared string) (g *gateway, err error) {
	g = &gateway{row: r, shared: shared}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if g.folder, err = os.MkdirTemp("", "scale-"); err != nil {
		return g, fmt.Errorf("making a folder: %w", err)
	}
	if g.provider, err = machine.StartChild(asProvider, r.latency.String()); err != nil {
		return g, err
	}
	if err := g.startServer(ctx, program); err != nil {
		return g, err
	}
	if r.transactions > 0 { // into the journal that it has made
		if err := errors.Join(g.server.Stop(), fill(ctx, g.journal(), r.transactions)); err != nil {
			return g, err
		}
		if err := g.startServer(ctx, program); err != nil {
			return g, err
		}
	}
	g.idle, _, err = g.server.Memory()
	return g, err
}

func (g *gateway) startServer(ctx context.Context, program string) (err error) {
	g.server, err = caddy.Start(ctx, caddy.Config{
		Program: program, Folder: g.folder, Gateway: true,
		Text: func(admin, site string) (string, error) {
			return g.caddyfile(admin, site)
		},
	})
	return err
}

// journal is its file.
func (g *gateway) journal() string { return filepath.Join(g.folder, "journal.db") }

// close ends what runs, and removes what was written.
func (g *gateway) close() (err error) {
	if g.server != nil {
		err = g.server.Stop()
	}
	if g.provider != nil {
		err = errors.Join(err, g.provider.Stop())
	}
	return errors.Join(err, os.RemoveAll(g.folder))
}

// state is what the gateway and its provider have done so far.
type state struct {
	before, after time.Duration // of CPU: as reading began and ended, which takes some itself
	goroutines    float64
	inFlight      float64 // requests
	places        float64 // of max_in_flight that are taken
	successes     float64
	refusals      float64 // limit-exceeded
	commits       float64 // of the journal
	journal       float64 // bytes
	provider      provider.Counts
}

// read reads the state.
func (g *gateway) read(ctx context.Context) (s state, err error) {
	if s.before, err = g.server.CPU(); err != nil {
		return s, err
	}
	if g.row.pays && g.shared == "" {
		if s.journal, err = pages(ctx, g.journal()); err != nil {
			return s, err
		}
	}
	metrics, err := g.server.Metrics(ctx)
	if err != nil {
		return s, err
	}
	s.count(metrics)
	if s.provider, err = provider.Ask(g.provider); err != nil {
		return s, err
	}
	s.after, err = g.server.CPU()
	return s, err
}

// count takes what the tables show out of the metrics.
func (s *state) count(metrics []caddy.Metric) {
	for _, m := range metrics {
		switch {
		case m.Name == "go_goroutines":
			s.goroutines = m.Value
		case m.Name == "nowpay_in_flight":
			s.inFlight = m.Value
		case m.Name == "nowpay_exchanges_in_flight":
			s.places += m.Value
		case m.Name == "nowpay_journal_commits_total":
			s.commits = m.Value
		case m.Name == "nowpay_exchanges_total" && strings.Contains(m.Labels, `outcome="success"`):
			s.successes += m.Value
		case m.Name == "nowpay_decisions_total" && strings.Contains(m.Labels, `reason="limit-exceeded"`):
			s.refusals += m.Value
		}
	}
}

// rest waits until nothing is under way: exchanges go on when wrk has left. It looks
// once in most cases, since that costs CPU.
func (g *gateway) rest(ctx context.Context) (state, error) {
	for deadline := time.Now().Add(time.Minute); ; {
		if err := sleep(ctx, g.row.latency+100*time.Millisecond); err != nil {
			return state{}, err
		}
		s, err := g.read(ctx)
		switch {
		case err != nil || s.inFlight == 0:
			return s, err
		case time.Now().After(deadline):
			return s, errors.New("exchanges do not end")
		}
	}
}

// sleep waits, or ends with the context.
func sleep(ctx context.Context, length time.Duration) error {
	select {
	case <-time.After(length):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
