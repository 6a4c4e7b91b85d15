package main

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
)

const (
	samples  = 5
	warmUp   = 200 // exchanges: what is pooled is there, and the database has its plans
	measured = 1000
)

// allocations counts what an exchange allocates. They are the medians of some samples.
func allocations(ctx context.Context, v variant) (allocs, bytes float64, err error) {
	r, err := newRig(ctx, v)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	// A collection within a sample would empty the pools.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var counts, sizes []float64
	for range samples {
		runtime.GC()
		if err := r.exchange(ctx, warmUp); err != nil {
			return 0, 0, err
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := r.exchange(ctx, measured); err != nil {
			return 0, 0, err
		}
		runtime.ReadMemStats(&after)
		counts = append(counts, float64(after.Mallocs-before.Mallocs)/measured)
		sizes = append(sizes, float64(after.TotalAlloc-before.TotalAlloc)/measured)
	}
	return median(counts), median(sizes), nil
}

// median is that of an odd number of values.
func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
