// Command cost counts what one exchange costs in our own packages: allocations,
// bytes and instructions, which stay the same on a busy machine, as time does not.
// It fails if one of them is more than a tenth above its limit in limits.txt, which
// benchstat can read. Run it in the repository's root folder:
//
//	go run ./bench/cost                  compare with the limits
//	go run ./bench/cost -quick           the same without instructions, in some seconds
//	go run ./bench/cost -update          measure, and make that the limits
//	go run ./bench/cost -profile plain   where an exchange allocates
//
// What is counted is gateway.Exchange and all under it, over a kept connection to a
// provider in the same process, which allocates nothing but costs instructions. The
// server of net/http and Caddy are left out. The journal of a payment is in SQLite,
// its goroutines are counted, too.
//
// Few virtual machines have hardware counters, so valgrind counts instructions,
// twice: of some exchanges and of three times as many. The difference has neither
// the start nor collections of garbage in it. To programs, valgrind is the same
// processor on all machines that have AVX2, and what its newer versions may add is
// switched off. Repeated, the figures differ by less than 1 %, those of a payment by
// less than 2 %, since threads wait for the disk there. Another release of Go
// compiles other code: then, or on another architecture, instructions are not
// compared, and it says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
)

// options are those of the command line.
type options struct {
	limits        string
	update, quick bool
	profile, run  string
	exchanges     int
}

func main() {
	var o options
	flag.StringVar(&o.limits, "limits", "bench/cost/limits.txt", "the file with the limits")
	flag.BoolVar(&o.update, "update", false, "make what is measured the limits")
	flag.BoolVar(&o.quick, "quick", false, "count no instructions; needs no valgrind")
	flag.StringVar(&o.profile, "profile", "", "print where an exchange of this variant allocates")
	flag.StringVar(&o.run, "run", "", "only carry out exchanges of this variant, for a profiler to look at")
	flag.IntVar(&o.exchanges, "exchanges", counted, "how many, with -run")
	flag.Parse()
	if o.profile != "" {
		runtime.MemProfileRate = 1 // before anything else allocates
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
}

func (o options) do(ctx context.Context) error {
	switch {
	case o.profile != "":
		return o.print(ctx)
	case o.run != "":
		return with(ctx, o.run, func(r *rig) error { return r.exchange(ctx, o.exchanges) })
	case o.update && o.quick:
		return errors.New("-update needs the instructions, which -quick leaves out")
	case o.update:
		return o.write(ctx)
	default:
		return o.check(ctx)
	}
}

// print prints a profile, when all is cleaned up: the reader may leave early.
func (o options) print(ctx context.Context) error {
	var out strings.Builder
	err := with(ctx, o.profile, func(r *rig) error { return profile(ctx, &out, r) })
	fmt.Print(out.String())
	return err
}

// write makes what is measured the limits.
func (o options) write(ctx context.Context) error {
	costs, err := measure(ctx, true)
	if err != nil {
		return err
	}
	text := limits{here(), costs}.text()
	if err := os.WriteFile(o.limits, text, 0o600); err != nil {
		return fmt.Errorf("writing the limits: %w", err)
	}
	_, err = os.Stdout.Write(text)
	return err
}

// check compares what is measured with the limits.
func (o options) check(ctx context.Context) error {
	file, err := os.ReadFile(o.limits)
	if err != nil {
		return fmt.Errorf("reading the limits: %w", err)
	}
	l, err := parseLimits(string(file))
	if err != nil {
		return fmt.Errorf("reading %s: %w", o.limits, err)
	}
	same := l.platform.compiles(here())
	if !same {
		fmt.Printf("Instructions are not compared: the limits are for %v, and this is %v. To have them compared, use that, or -update.\n\n", l.platform, here())
	}
	costs, err := measure(ctx, same && !o.quick)
	if err != nil {
		return err
	}
	rows, err := compare(costs, l.costs)
	if err != nil {
		return err
	}
	return report(os.Stdout, rows)
}

// measure measures all variants.
func measure(ctx context.Context, withInstructions bool) ([]cost, error) {
	costs := make([]cost, 0, len(variants))
	for _, v := range variants {
		c := cost{variant: v.name}
		err := with(ctx, v.name, func(r *rig) (err error) {
			c.values[allocs], c.values[size], err = allocations(ctx, r)
			return err
		})
		if err == nil && withInstructions {
			c.values[instructions], err = countInstructions(ctx, v.name)
		}
		if err != nil {
			return nil, fmt.Errorf("measuring %q: %w", v.name, err)
		}
		costs = append(costs, c)
	}
	return costs, nil
}
