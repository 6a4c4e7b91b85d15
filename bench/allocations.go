package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// countAllocations has bench/cost count what an exchange allocates in our own
// packages, without the servers of Caddy and net/http.
func (s *stand) countAllocations(ctx context.Context) (float64, error) {
	out, err := exec.CommandContext(ctx, "go", "run", "./bench/cost", "-quick").CombinedOutput()
	n, found := parseCost(out)
	if !found { // not only dearer than its limits, on which it fails as well
		return 0, fmt.Errorf("running bench/cost: %w, it says:\n%s", cmp.Or(err, errors.New("no count")), out)
	}
	return n, nil
}

var costPattern = regexp.MustCompile(`(?m)^plain +allocs/op +(\d+\.\d+) `)

// parseCost reads the allocations of an exchange that moves no money.
func parseCost(out []byte) (n float64, found bool) {
	if match := costPattern.FindSubmatch(out); match != nil {
		n, _ = strconv.ParseFloat(string(match[1]), 64) // the pattern is that of a number
		return n, true
	}
	return 0, false
}
