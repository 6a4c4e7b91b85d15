// Command bench measures the gateway against what else could stand in its place:
// plain Caddy, nginx, and Go's own reverse proxy, in front of the same upstream, in
// one run, interleaved round by round.
//
//	go run ./bench              # all of it, about twenty minutes
//	go run ./bench -quick       # to see that it works, about a minute
//	go run ./bench -out bench   # writes bench/RESULTS.md and bench/results.svg
//
// What is measured, the upstream and the loads are processes of their own and share
// the machine: take the ratios, not the figures. It needs Linux and wrk (Debian's
// package of that name). Where nginx or PostgreSQL is missing, their rows are left
// out, and the report says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/provider"
)

// What this command is to be, as its first argument, when it starts itself.
const (
	asUpstream = "upstream"
	asProxy    = "proxy"
)

// options are the flags.
type options struct {
	rounds      int
	time, long  time.Duration
	connections string
	only        string
	out         string
	quick       bool
}

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == asUpstream:
		fail(provider.Serve(0))
	case len(os.Args) == 4 && os.Args[1] == asProxy:
		fail(serveProxy(os.Args[2], os.Args[3]))
	default:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err := run(ctx, parse())
		stop()
		fail(err)
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse() (o options) {
	flag.IntVar(&o.rounds, "rounds", 5, "how often each variant is measured")
	flag.DurationVar(&o.time, "time", 2*time.Second, "how long each time, in whole seconds; half as long again at the constant rate")
	flag.DurationVar(&o.long, "long", time.Minute, "how long memory is watched")
	flag.StringVar(&o.connections, "connections", "1,16,64,256", "how many connections the merchants keep")
	flag.StringVar(&o.only, "only", "", "a regular expression: the `variants` to measure, beside plain Caddy")
	flag.StringVar(&o.out, "out", "", "the `folder` for RESULTS.md and results.svg; without, the report is printed")
	flag.BoolVar(&o.quick, "quick", false, "one short round at 64 connections")
	flag.Parse()
	if o.quick {
		o.rounds, o.time, o.long, o.connections = 1, time.Second, 4*time.Second, "64"
	}
	return o
}

// run measures and reports.
func run(ctx context.Context, o options) (err error) {
	loads, err := loadsOf(o)
	if err != nil {
		return err
	}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("reading -only: %w", err)
	}
	if info, err := os.Stat(o.out); o.out != "" && (err != nil || !info.IsDir()) {
		return fmt.Errorf("looking for the folder of -out: %q is none", o.out)
	}
	s, err := newStand(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	r := &results{loads: loads, rounds: o.rounds, machine: s.describe(ctx)}
	runners, err := s.startAll(ctx, only, r)
	if err != nil {
		return err
	}
	r.machine.Add("PostgreSQL", s.postgres)
	if r.allocations, err = s.countAllocations(ctx); err != nil {
		return err
	}
	if err := s.measureAll(ctx, runners, o, r); err != nil {
		return err
	}
	if r.endurances, err = s.endureAll(ctx, runners, o.long); err != nil {
		return err
	}
	return write(o.out, r)
}

// write writes the report into a folder, or prints it.
func write(folder string, r *results) error {
	text, err := report(r)
	if err != nil {
		return err
	}
	if folder == "" {
		_, err = os.Stdout.WriteString(text)
		return err
	}
	drawing, err := picture(r)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"RESULTS.md": text, "results.svg": drawing} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	return nil
}

// load is how merchants call: as fast as they are answered, unless there is a rate.
type load struct {
	connections int
	rate        int // requests per second
	time        time.Duration
}

// The constant rate.
const (
	rate            = 1000
	rateConnections = 32
)

// loadsOf are those that the flags ask for; the last is the constant rate.
func loadsOf(o options) (loads []load, err error) {
	if o.time < time.Second || o.time%time.Second != 0 || o.rounds < 1 {
		return nil, errors.New("reading the flags: -time is whole seconds, and -rounds at least 1")
	}
	for text := range strings.SplitSeq(o.connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("reading -connections: %q is no number of connections", text)
		}
		loads = append(loads, load{connections: n, time: o.time})
	}
	return append(loads, load{connections: rateConnections, rate: rate, time: o.time * 3 / 2}), nil // few, for a p99.9
}

// String names it.
func (l load) String() string {
	switch {
	case l.rate > 0:
		return fmt.Sprintf("%s/s over %d connections", thousands(float64(l.rate)), l.connections)
	case l.connections == 1:
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", l.connections)
}
