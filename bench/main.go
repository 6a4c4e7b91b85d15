// Command bench measures what a payment costs beside an operation of the same
// fields that moves no money, and what signatures of requests and answers
// (hmac-sha256) add, through the same gateway, in one run. The gateway,
// the provider, which answers at once, and wrk, which is the merchants, are
// processes of their own and share the machine: take the ratios, not the figures.
//
//	go run ./bench
//
// It needs Linux and wrk (Debian's package of that name).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"text/tabwriter"
	"time"
)

// asProvider is the argument that makes this command the provider.
const asProvider = "provider"

// variants are compared in every round, one after the other, with the first.
var variants = []variant{
	{"moves no money", "/api/" + quote, token},
	{"the same, signed both ways", "/api/" + quote, signedToken},
	{"payment, SQLite", "/api/bank/payout", token},
}

// variant is what is called, and by whom.
type variant struct{ name, path, token string }

// sample is what one variant did in one round.
type sample struct {
	exchanges int
	perSecond float64
	cpu       float64 // µs of the gateway for each exchange
	commits   float64 // of the journal, for each exchange
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == asProvider {
		fail(provide())
		return
	}
	rounds := flag.Int("rounds", 5, "how often each variant is measured")
	length := flag.Duration("time", 4*time.Second, "how long each time")
	connections := flag.Int("connections", 64, "how many connections the merchants keep")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fail(measure(ctx, *rounds, *length, *connections))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, rounds int, length time.Duration, connections int) (err error) {
	g, err := start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	samples := make([][]sample, len(variants))
	for round := range rounds + 1 {
		for i, v := range variants {
			s, err := g.measure(ctx, v, length, connections)
			if err != nil {
				return fmt.Errorf("measuring %q: %w", v.name, err)
			}
			if round > 0 { // the first warms up
				samples[i] = append(samples[i], s)
			}
		}
	}
	return report(samples)
}

// measure loads one variant, and checks that the gateway said success each time.
func (g *gateway) measure(ctx context.Context, v variant, length time.Duration, connections int) (sample, error) {
	before, err := g.read(ctx)
	if err != nil {
		return sample{}, err
	}
	n, err := load(ctx, g.url+v.path, v.token, length, connections)
	if err != nil {
		return sample{}, err
	}
	after, err := g.read(ctx)
	if err != nil {
		return sample{}, err
	}
	if succeeded := after.successes - before.successes; succeeded < float64(n) {
		return sample{}, fmt.Errorf("%d answers, of which %.0f say success", n, succeeded)
	}
	return sample{
		exchanges: n,
		perSecond: float64(n) / length.Seconds(),
		cpu:       float64((after.cpu - before.cpu).Microseconds()) / float64(n),
		commits:   (after.commits - before.commits) / float64(n),
	}, nil
}

// report prints medians. The ratios are medians of those of each round.
func report(samples [][]sample) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| what\t| exchanges/s\t| ratio\t| CPU µs/exchange\t| ratio\t| commits/exchange\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|")
	for i, v := range variants {
		of := func(value func(i, round int) float64) float64 {
			var all []float64
			for round := range samples[i] {
				all = append(all, value(i, round))
			}
			return median(all)
		}
		perSecond := func(i, round int) float64 { return samples[i][round].perSecond }
		cpu := func(i, round int) float64 { return samples[i][round].cpu }
		ratio := func(value func(i, round int) float64) func(i, round int) float64 {
			return func(i, round int) float64 { return value(i, round) / value(0, round) }
		}
		fmt.Fprintf(w, "| %s\t| %.0f\t| %.2f\t| %.0f\t| %.2f\t| %.3f\t|\n", v.name,
			of(perSecond), of(ratio(perSecond)), of(cpu), of(ratio(cpu)),
			of(func(i, round int) float64 { return samples[i][round].commits }))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	return nil
}

func median(all []float64) float64 {
	slices.Sort(all)
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}
