package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/provider"
)

// reading is what a subject and the upstream have done so far.
type reading struct {
	counts
	provider.Counts
	before, after time.Duration // of CPU: as reading began and ended, which takes some itself
}

// measureAll measures each variant under each load, round by round.
func (s *stand) measureAll(ctx context.Context, runners []runner, o options, r *results) error {
	for round := range o.rounds {
		for _, l := range r.loads {
			fmt.Fprintf(os.Stderr, "round %d of %d, %v\n", round+1, o.rounds, l)
			for i := range runners {
				v := runners[(i+round)%len(runners)] // none is always behind the same other
				sample, err := s.measureWarm(ctx, v, l)
				if err != nil {
					return fmt.Errorf("measuring %q with %v: %w", v.name, l, err)
				}
				r.add(v.name, l, sample)
			}
		}
	}
	return nil
}

// measureWarm measures a variant that has opened its connections already: those of
// the last round may have been closed since.
func (s *stand) measureWarm(ctx context.Context, v runner, l load) (sample, error) {
	if l.rate == 0 {
		warming := l
		warming.time = time.Second
		if _, err := s.measure(ctx, v, warming); err != nil {
			return sample{}, err
		}
	}
	return s.measure(ctx, v, l)
}

// measure loads one variant, and checks that all went well.
func (s *stand) measure(ctx context.Context, v runner, l load) (sample, error) {
	before, err := s.read(ctx, v.subject)
	if err != nil {
		return sample{}, err
	}
	run := s.runWrk
	if l.rate > 0 {
		run = s.runVegeta
	}
	done, err := run(ctx, v, l)
	if err != nil {
		return sample{}, err
	}
	after, err := s.read(ctx, v.subject)
	if err != nil {
		return sample{}, err
	}
	if err := checkExchanges(done.answers, before, after, v.proves); err != nil {
		return sample{}, err
	}
	n := float64(done.answers)
	taken := sample{
		throughput: done.perSecond,
		p50:        milliseconds(done.p50), p99: milliseconds(done.p99), p999: milliseconds(done.p999),
		cpu:     math.NaN(),
		mallocs: (after.mallocs - before.mallocs) / n, bytesAllocated: (after.bytes - before.bytes) / n,
		memory:   math.NaN(),
		connects: float64(after.Accepted-before.Accepted) / n * 10_000,
		commits:  (after.commits - before.commits) / n,
	}
	if v.process != nil {
		taken[cpu] = (after.before - before.after).Seconds() / n * 10_000
		taken[memory], _, err = v.process.Memory()
	}
	return taken, err
}

// checkExchanges checks that what was answered has been at the upstream, with the key
// or a signature if there is to be one; that the gateway takes it for a success; and
// that no payment came a second time.
func checkExchanges(answers int, before, after reading, proves bool) error {
	received, proven := after.Received-before.Received, after.Proven-before.Proven
	switch succeeded := after.successes - before.successes; {
	case received < answers || proves && proven < answers:
		return fmt.Errorf("%d answers, but %d requests came to the upstream, %d with a proof", answers, received, proven)
	case succeeded < float64(answers): // never so if it counts none
		return fmt.Errorf("%d answers, of which %.0f say success", answers, succeeded)
	case after.Repeated > 0:
		return fmt.Errorf("%d payments came to the upstream a second time", after.Repeated)
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (s *stand) read(ctx context.Context, v *subject) (r reading, err error) {
	if r.before, err = v.cpu(); err != nil {
		return r, err
	}
	r.counts = unknown
	if v.counters != nil {
		if r.counts, err = v.counters(ctx); err != nil {
			return r, err
		}
	}
	if r.Counts, err = provider.Ask(s.upstream); err != nil {
		return r, err
	}
	r.after, err = v.cpu()
	return r, err
}

// cpu is that of its process, if it has one.
func (v *subject) cpu() (time.Duration, error) {
	if v.process == nil {
		return 0, nil
	}
	return v.process.CPU()
}
