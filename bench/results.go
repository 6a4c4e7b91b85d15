package main

import (
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/stats"
)

// figure is something that is measured.
type figure int

const (
	throughput     figure = iota // exchanges per second
	p50                          // milliseconds
	p99                          // milliseconds
	p999                         // milliseconds
	cpu                          // seconds for 10,000 exchanges
	mallocs                      // for an exchange
	bytesAllocated               // for an exchange
	memory                       // MiB
	connects                     // to the upstream, for 10,000 exchanges
	commits                      // of the journal, for an exchange
	figures
)

// sample is what one variant did under one load in one round; NaN: not known.
type sample [figures]float64

// cell names where samples are.
type cell struct {
	variant string
	load    load
}

// results are all that was measured.
type results struct {
	machine    machine.Machine
	rounds     int
	loads      []load
	variants   []variant // that were measured
	missing    []string  // those that could not be, and why
	samples    map[cell][]sample
	endurances map[string]endurance

	allocations float64 // of an exchange in our own packages
}

func (r *results) add(variant string, l load, s sample) {
	if r.samples == nil {
		r.samples = make(map[cell][]sample)
	}
	c := cell{variant, l}
	r.samples[c] = append(r.samples[c], s)
}

// value is the median of the rounds.
func (r *results) value(variant string, l load, f figure) float64 {
	var all []float64
	for _, s := range r.samples[cell{variant, l}] {
		all = append(all, s[f])
	}
	return stats.Median(all)
}

// ratio is the median of the ratios of each round.
func (r *results) ratio(variant, of string, l load, f figure) float64 {
	var all []float64
	others := r.samples[cell{of, l}]
	for round, s := range r.samples[cell{variant, l}] {
		if round < len(others) && others[round][f] != 0 {
			all = append(all, s[f]/others[round][f])
		}
	}
	return stats.Median(all)
}
