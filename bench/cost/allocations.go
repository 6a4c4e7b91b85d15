package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"slices"
)

const (
	samples  = 5
	warmUp   = 200 // exchanges: what is pooled is there, and so are the database's statements
	measured = 1000
)

// allocations counts what an exchange allocates, and of how many bytes: medians of
// some samples.
func allocations(ctx context.Context, r *rig) (objects, bytes float64, err error) {
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
