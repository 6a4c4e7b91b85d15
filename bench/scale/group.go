package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/postgres"
)

// group is what runs for a row.
type group struct {
	row      row
	gateways []*gateway // one in most cases
	database *postgres.Server
	samples  []sample
}

// measure starts what all rows need, measures the rows by turns, and prints.
func (t table) measure(ctx context.Context, w io.Writer, program string, o options) (err error) {
	var groups []*group
	defer func() {
		for _, g := range groups {
			err = errors.Join(err, g.close())
		}
	}()
	for _, r := range t.rows {
		g := &group{row: r}
		groups = append(groups, g)
		if err := g.start(ctx, program); errors.Is(err, machine.ErrMissing) {
			t.text += fmt.Sprintf("\n\nLeft out: %s. %v.", r.name, err)
			groups = groups[:len(groups)-1] // nothing of it runs
		} else if err != nil {
			return fmt.Errorf("starting %s: %w", r.name, err)
		}
	}
	for round := range o.rounds + 1 {
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", t.part, round, o.rounds)
		for _, g := range groups {
			s, err := g.measure(ctx, g.row.length(o.length))
			if err != nil {
				return fmt.Errorf("measuring %s: %w", g.row.name, err)
			}
			if round > 0 { // the first warms up
				g.samples = append(g.samples, s)
			}
		}
	}
	t.print(w, groups)
	return nil
}

// start starts the gateways, and their database if they have one.
func (g *group) start(ctx context.Context, program string) (err error) {
	shared := ""
	if g.row.gateways > 0 {
		if g.database, err = postgres.Start(ctx); err != nil {
			return err
		}
		dsn, err := g.database.Database()
		if err != nil {
			return err
		}
		shared = fmt.Sprintf("postgres %s {\n\t\t\tkey_file %s\n\t\t}", dsn, filepath.Join(filepath.Dir(program), fmt.Sprintf("journal-%d.key", g.row.gateways)))
	}
	for range max(g.row.gateways, 1) {
		one, err := start(ctx, program, g.row, shared)
		if err != nil {
			return err // one is closed
		}
		g.gateways = append(g.gateways, one)
	}
	return nil
}

func (g *group) close() error {
	var errs []error
	for _, one := range g.gateways {
		errs = append(errs, one.close())
	}
	if g.database != nil {
		errs = append(errs, g.database.Stop())
	}
	return errors.Join(errs...)
}

// measure loads all gateways at once.
func (g *group) measure(ctx context.Context, length time.Duration) (sample, error) {
	samples, errs := make([]sample, len(g.gateways)), make([]error, len(g.gateways))
	var wait sync.WaitGroup
	for i, one := range g.gateways {
		wait.Go(func() { samples[i], errs[i] = one.measure(ctx, length) })
	}
	wait.Wait()
	return together(samples), errors.Join(errs...)
}

// together is what several gateways did at the same time; latencies are those of the
// slowest.
func together(samples []sample) sample {
	all := samples[0]
	for _, s := range samples[1:] {
		all.All, all.Refused, all.Bytes = all.All+s.All, all.Refused+s.Refused, all.Bytes+s.Bytes
		all.Length = max(all.Length, s.Length)
		all.P50, all.P99, all.P999 = max(all.P50, s.P50), max(all.P99, s.P99), max(all.P999, s.P999)
		all.exchanges, all.refusals = all.exchanges+s.exchanges, all.refusals+s.refusals
		all.cpu, all.commits, all.journal = all.cpu+s.cpu, all.commits+s.commits, all.journal+s.journal
		all.resident, all.goroutines, all.places = all.resident+s.resident, all.goroutines+s.goroutines, all.places+s.places
	}
	return all
}
