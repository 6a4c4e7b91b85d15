package stats

import (
	"math"
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 9, 2}, 3},
		{nil, math.NaN()},
		{[]float64{1, math.NaN(), 2}, math.NaN()},
	} {
		given := slices.Clone(c.of)
		if got := Median(given); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("Median(%v) = %v, want %v", c.of, got, c.want)
		}
		if len(given) == 3 && given[0] != c.of[0] {
			t.Errorf("Median(%v) reorders it", c.of)
		}
	}
}
