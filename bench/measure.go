package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"
)

// reading is what a subject and the upstream have done so far.
type reading struct {
	counts
	cpu      time.Duration
	accepted int // by the upstream
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
	done, err := run(ctx, v.url+v.path, l)
	if err != nil {
		return sample{}, err
	}
	after, err := s.read(ctx, v.subject)
	if err != nil {
		return sample{}, err
	}
	n := float64(done.answers)
	if succeeded := after.successes - before.successes; succeeded < n { // never so if it counts none
		return sample{}, fmt.Errorf("%d answers, of which %.0f say success", done.answers, succeeded)
	}
	taken := sample{
		throughput: done.perSecond,
		p50:        milliseconds(done.p50), p99: milliseconds(done.p99), p999: milliseconds(done.p999),
		cpu:     math.NaN(),
		mallocs: (after.mallocs - before.mallocs) / n, bytesAllocated: (after.bytes - before.bytes) / n,
		memory:   math.NaN(),
		connects: float64(after.accepted-before.accepted) / n * 10_000,
		commits:  (after.commits - before.commits) / n,
	}
	if v.process != nil {
		taken[cpu] = (after.cpu - before.cpu).Seconds() / n * 10_000
		taken[memory], _, err = v.process.memory()
	}
	return taken, err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (s *stand) read(ctx context.Context, v *subject) (r reading, err error) {
	r.counts = unknown
	if v.counters != nil {
		if r.counts, err = v.counters(ctx); err != nil {
			return r, err
		}
	}
	if v.process != nil {
		if r.cpu, err = v.process.cpu(); err != nil {
			return r, err
		}
	}
	err = s.upstream.ask(&r.accepted)
	return r, err
}
