package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	tolerance = 0.1 // of a limit, in both directions

	// aim is how many allocations a plain exchange is to make do with. It is no limit.
	aim      = 25
	aimsAtIt = "plain"
)

// row compares one value with its limit.
type row struct {
	variant, unit string
	value, limit  float64
}

func (r row) String() string { return r.variant + " " + r.unit }
func (r row) ratio() float64 { return r.value / r.limit }
func (r row) dearer() bool   { return r.ratio() > 1+tolerance }
func (r row) cheaper() bool  { return r.ratio() < 1-tolerance }

// compare holds what was measured against the limits. Both must be of the same variants.
func compare(costs, limits []cost) (rows []row, err error) {
	for _, limit := range limits {
		if !slices.ContainsFunc(costs, func(c cost) bool { return c.variant == limit.variant }) {
			return nil, fmt.Errorf("there is a limit for %q, which is not measured: -update", limit.variant)
		}
	}
	for _, c := range costs {
		i := slices.IndexFunc(limits, func(l cost) bool { return l.variant == c.variant })
		if i < 0 {
			return nil, fmt.Errorf("there is no limit for %q: -update", c.variant)
		}
		for j, unit := range units {
			if c.values[j] > 0 {
				rows = append(rows, row{c.variant, unit, c.values[j], limits[i].values[j]})
			}
		}
	}
	return rows, nil
}

// report prints the comparison. Its error says what has become too dear.
func report(out io.Writer, rows []row) error {
	fmt.Fprintf(out, "%-8s %-15s %10s %10s %6s\n", "exchange", "unit", "measured", "limit", "ratio")
	var dearer, cheaper []string
	for _, r := range rows {
		mark := ""
		switch {
		case r.dearer():
			dearer, mark = append(dearer, r.String()), " DEARER"
		case r.cheaper():
			cheaper, mark = append(cheaper, r.String()), " cheaper"
		}
		fmt.Fprintf(out, "%-8s %-15s %10s %10s %6.2f%s\n", r.variant, r.unit, number(r.value), number(r.limit), r.ratio(), mark)
	}
	fmt.Fprintln(out)
	reportAim(out, rows)
	if len(cheaper) > 0 {
		fmt.Fprintf(out, "More than %.0f %% below the limit: %s. Keep what was won with -update.\n", 100*tolerance, strings.Join(cheaper, ", "))
	}
	if len(dearer) > 0 {
		return fmt.Errorf("more than %.0f %% above the limit: %s. -profile says what allocates; if it is worth it, -update, and say why in the commit",
			100*tolerance, strings.Join(dearer, ", "))
	}
	return nil
}

// reportAim says how far it is to what is aimed at.
func reportAim(out io.Writer, rows []row) {
	for _, r := range rows {
		if r.variant == aimsAtIt && r.unit == units[allocs] {
			verdict := "missed"
			if r.value <= aim {
				verdict = "met"
			}
			fmt.Fprintf(out, "Target of at most %d allocations in a plain exchange: %s (%s).\n", aim, verdict, number(r.value))
		}
	}
}
