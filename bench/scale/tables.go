package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// table is one of the page's: rows that are measured by turns.
type table struct {
	part    string
	title   string
	text    string
	rows    []row
	columns []column
}

// column is a figure of a row.
type column struct {
	title  string
	format string
	value  func(g *gateway, s sample) float64
}

// sample is what a row did in one round.
type sample struct {
	answers
	seconds   float64
	exchanges float64 // that ended with success, also after wrk had left
	refusals  float64
	cpu       float64 // µs of the gateway
	commits   float64
	journal   float64 // bytes that it grew by
	busy      state   // in the middle of it
}

// What the tables show.
var (
	perSecond = column{"exchanges/s", "%.0f", func(_ *gateway, s sample) float64 { return float64(s.all-s.answers.refused) / s.seconds }}
	cpu       = column{"CPU µs/exchange", "%.0f", func(_ *gateway, s sample) float64 { return s.cpu / s.exchanges }}
	perReq    = column{"CPU µs/request", "%.0f", func(_ *gateway, s sample) float64 { return s.cpu / (s.exchanges + s.refusals) }}
	refused   = column{"refused/s", "%.0f", func(_ *gateway, s sample) float64 { return float64(s.answers.refused) / s.seconds }}
	p50       = column{"p50 ms", "%.1f", func(_ *gateway, s sample) float64 { return s.p50 }}
	p99       = column{"p99 ms", "%.1f", func(_ *gateway, s sample) float64 { return s.p99 }}
	idle      = column{"idle MiB", "%.0f", func(g *gateway, _ sample) float64 { return g.idle.resident }}
	resident  = column{"resident MiB", "%.0f", func(_ *gateway, s sample) float64 { return s.busy.resident }}
	inFlight  = column{"in flight", "%.0f", func(_ *gateway, s sample) float64 { return s.busy.inFlight }}
	goroutine = column{"goroutines", "%.0f", func(_ *gateway, s sample) float64 { return s.busy.goroutines }}
	each      = column{"KiB/connection", "%.0f", func(g *gateway, s sample) float64 {
		return (s.busy.resident - g.idle.resident) * 1024 / float64(g.row.connections)
	}}
	growth  = column{"bytes/payment", "%.0f", func(_ *gateway, s sample) float64 { return s.journal / s.exchanges }}
	commits = column{"commits/exchange", "%.3f", func(_ *gateway, s sample) float64 { return s.commits / s.exchanges }}
)

// tables are all there are.
func tables(o options) []table {
	const few = 64 // connections
	merchants := table{
		part: "merchants", title: "Merchants", columns: []column{perSecond, cpu, p99, idle, resident},
		text: "Each has ten source ranges and an operation of its own, which moves no money. They call by turns, over 64 connections.",
	}
	for _, n := range []int{5, 50, 500, 5000} {
		merchants.rows = append(merchants.rows, row{name: fmt.Sprintf("%d merchants", n), merchants: n, connections: few})
	}
	connections := table{
		part: "connections", title: "Connections", columns: []column{perSecond, cpu, p50, p99, resident, each},
		text: "One operation that moves no money; the provider answers at once.",
	}
	for _, n := range []int{16, 64, 256, 1024, 4096} {
		connections.rows = append(connections.rows, row{name: fmt.Sprintf("%d connections", n), merchants: 1, connections: n})
	}
	latency := table{
		part: "latency", title: "The provider's latency", columns: []column{perSecond, cpu, inFlight, goroutine, resident, each},
		text: fmt.Sprintf("%d connections, each of which waits for its answer before it sends the next request.", o.waiting),
	}
	for _, d := range []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second} {
		latency.rows = append(latency.rows, row{name: d.String(), merchants: 1, connections: o.waiting, latency: d})
	}
	limit := table{
		part: "limit", title: "max_in_flight", columns: []column{perSecond, refused, perReq, inFlight, goroutine, resident, each},
		text: fmt.Sprintf("A provider that takes 2 s, with `max_in_flight %d`: requests beyond get 429 at once, and wrk sends the next one at once, "+
			"without waiting as it is told to.", o.places),
	}
	for _, r := range []row{{connections: o.waiting}, {connections: o.waiting, maxInFlight: o.places}, {connections: 2 * o.waiting, maxInFlight: o.places}} {
		bound := "default"
		if r.maxInFlight > 0 {
			bound = strconv.Itoa(r.maxInFlight)
		}
		r.name, r.merchants, r.latency = fmt.Sprintf("%s, %d connections", bound, r.connections), 1, 2*time.Second
		limit.rows = append(limit.rows, r)
	}
	journal := table{
		part: "journal", title: "Transactions in the journal", columns: []column{perSecond, cpu, commits, growth, p99, resident},
		text: "Payments, each recorded before and after it is sent, in a SQLite journal that has many already; 64 connections. " +
			"For the journal alone with ten million: `JOURNAL_BENCHMARK_LARGE=1 go test -run '^$' -bench InsertInto -benchtime 1000x -timeout 1h ./journal/sqlite`.",
	}
	for _, n := range o.transactions {
		journal.rows = append(journal.rows, row{name: fmt.Sprintf("%d transactions", n), merchants: 1, connections: few, transactions: n, pays: true})
	}
	return []table{merchants, connections, latency, limit, journal}
}

// measure starts the gateways of all rows, measures them by turns, and prints.
func (t table) measure(ctx context.Context, w io.Writer, binary string, o options) (err error) {
	gateways := make([]*gateway, len(t.rows))
	defer func() {
		for _, g := range gateways {
			if g != nil {
				err = errors.Join(err, g.close())
			}
		}
	}()
	for i, r := range t.rows {
		if gateways[i], err = start(ctx, binary, r); err != nil {
			gateways[i] = nil // it is closed
			return fmt.Errorf("starting %s: %w", r.name, err)
		}
	}
	samples := make([][]sample, len(t.rows))
	for round := range o.rounds + 1 {
		for i, g := range gateways {
			s, err := g.measure(ctx, max(o.length, 3*g.row.latency))
			if err != nil {
				return fmt.Errorf("measuring %s: %w", g.row.name, err)
			}
			if round > 0 { // the first warms up
				samples[i] = append(samples[i], s)
			}
		}
	}
	t.print(w, gateways, samples)
	return nil
}

// measure loads one gateway, and looks at it in the middle.
func (g *gateway) measure(ctx context.Context, length time.Duration) (s sample, err error) {
	before, err := g.read(ctx)
	if err != nil {
		return s, err
	}
	looked := make(chan error, 1)
	go func() {
		time.Sleep(length * 3 / 4)
		var err error
		s.busy, err = g.read(ctx)
		looked <- err
	}()
	a, err := g.load(ctx, length)
	if err := errors.Join(err, <-looked); err != nil {
		return s, err
	}
	after, err := g.rest(ctx)
	if err != nil {
		return s, err
	}
	s.answers, s.seconds = a, length.Seconds()
	s.exchanges, s.refusals = after.successes-before.successes, after.refusals-before.refusals
	s.cpu, s.commits = float64((after.cpu - before.cpu).Microseconds()), after.commits-before.commits
	s.journal = after.journal - before.journal
	if want := float64(a.all - a.refused); s.exchanges < want {
		return s, fmt.Errorf("%.0f answers, of which %.0f say success", want, s.exchanges)
	}
	return s, nil
}

// rest waits until nothing is under way: exchanges go on when wrk has left.
func (g *gateway) rest(ctx context.Context) (state, error) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		s, err := g.read(ctx)
		switch {
		case err != nil || s.inFlight == 0:
			return s, err
		case time.Now().After(deadline):
			return s, errors.New("exchanges do not end")
		}
	}
}

func (t table) print(w io.Writer, gateways []*gateway, samples [][]sample) {
	fmt.Fprintf(w, "\n## %s\n\n%s\n\n| |", t.title, t.text)
	for _, c := range t.columns {
		fmt.Fprintf(w, " %s |", c.title)
	}
	fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("---:|", len(t.columns)))
	for i, g := range gateways {
		fmt.Fprintf(w, "| %s |", g.row.name)
		for _, c := range t.columns {
			var all []float64
			for _, s := range samples[i] {
				all = append(all, c.value(g, s))
			}
			slices.Sort(all)
			fmt.Fprintf(w, " "+c.format+" |", all[len(all)/2])
		}
		fmt.Fprintln(w)
	}
}
