// Package stats says what many figures are together.
package stats

import (
	"math"
	"slices"
)

// Median is NaN if there is nothing, or something that is not known.
func Median(all []float64) float64 {
	if len(all) == 0 || slices.ContainsFunc(all, math.IsNaN) {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
