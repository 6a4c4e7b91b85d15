// Command scale measures how the cost of an exchange grows: with merchants, with
// connections, with the provider's latency, with the transactions in the journal and
// with a second gateway. It prints tables in Markdown.
//
//	go run ./bench/scale -out bench/SCALE.md
//
// Each row has a gateway and a provider of its own. The rows of a table are measured
// by turns, so that what else the machine does meets all of them. wrk, which is the
// merchants, and the provider share the machine with the gateway: take CPU time and
// memory for what they are, and exchanges a second for a lower bound.
//
// It needs Linux and wrk (Debian's package of that name). Where PostgreSQL is missing,
// the rows with it are left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/caddy"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/provider"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/wrk"
)

// asProvider is the argument that makes this command the provider.
const asProvider = "provider"

// options say what is measured.
type options struct {
	parts        []string
	length       time.Duration
	rounds       int
	waiting      int // connections, with a provider that takes its time
	places       int // max_in_flight, with these
	transactions []int
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == asProvider {
		delay, err := time.ParseDuration(os.Args[2])
		if err == nil {
			err = provider.Serve(delay)
		}
		fail(err)
		return
	}
	parts := flag.String("parts", "merchants,connections,latency,limit,gateways,journal", "what is measured")
	transactions := flag.String("transactions", "10000,100000,1000000", "how many are in the journal beforehand; ten million take a quarter of an hour and 15 GB")
	out := flag.String("out", "", "a file for the tables, beside the standard output")
	var o options
	flag.DurationVar(&o.length, "time", 3*time.Second, "how long each row is measured in each round")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each row is measured, after one round that warms up")
	flag.IntVar(&o.waiting, "waiting", 2000, "connections of the tables of latencies and of the limit")
	flag.IntVar(&o.places, "places", 500, "max_in_flight in the table of the limit")
	flag.Parse()
	o.parts = strings.Split(*parts, ",")
	var err error
	if o.transactions, err = integers(*transactions); err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o, *out)
	}
	fail(err)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func integers(list string) (all []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("reading a list of numbers: %w", err)
		}
		all = append(all, n)
	}
	return all, nil
}

// run measures all parts and writes the page.
func run(ctx context.Context, o options, file string) (err error) {
	if o.length < time.Second || o.length%time.Second != 0 || o.rounds < 1 {
		return errors.New("reading the flags: -time is whole seconds, and -rounds at least 1")
	}
	for _, part := range o.parts {
		if !slices.ContainsFunc(tables(o), func(t table) bool { return t.part == part }) {
			return fmt.Errorf("there is no part %q", part)
		}
	}
	if err := manyFiles(); err != nil {
		return err
	}
	if err := wrk.Look(); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "scale-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(folder)
	program := filepath.Join(folder, "caddy")
	if err := caddy.Build(ctx, program); err != nil {
		return err
	}
	var page strings.Builder
	w := io.MultiWriter(os.Stdout, &page)
	m := machine.Describe("go run ./bench/scale", folder)
	m.Add("Caddy", caddy.Version(program))
	head(w, m)
	for _, t := range tables(o) {
		if !slices.Contains(o.parts, t.part) {
			continue
		}
		if err := t.measure(ctx, w, program, o); err != nil {
			return fmt.Errorf("measuring %s: %w", t.part, err)
		}
	}
	if file == "" {
		return nil
	}
	return os.WriteFile(file, []byte(page.String()), 0o644)
}

// manyFiles lets this process and those that it starts open as many files as they
// may: each connection is one, and an exchange has two.
func manyFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raising the limit of open files: %w", err)
	}
	return nil
}

// head says where and how the tables came about.
func head(w io.Writer, m machine.Machine) {
	fmt.Fprintf(w, "# How the cost of an exchange grows\n\nWritten by `%s` on %s.\n%s, %d cores, %s, Linux %s; %s.\n\n"+
		"wrk, the gateway and the provider share the machine: exchanges a second are a lower bound.\n"+
		"Figures are medians of the rounds. All connections are opened anew in each, which is in the CPU time.\n",
		m.Command, m.Date, m.CPU, m.Cores, m.Memory, m.Linux, strings.Join(m.Versions, ", "))
	if m.InMemory {
		fmt.Fprint(w, "\n**The journals were on a file system in memory, where commits cost nothing.**\n")
	}
}
