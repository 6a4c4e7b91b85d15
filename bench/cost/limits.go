package main

import (
	"errors"
	"fmt"
	"go/version"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// What is counted, as indexes of what follows.
const (
	allocs = iota
	size
	instructions
)

// units are what benchstat knows them by.
var units = [...]string{"allocs/op", "B/op", "instructions/op"}

// cost is that of one exchange; 0 where it was not counted.
type cost struct {
	variant string
	values  [len(units)]float64
}

// limits are what exchanges may cost.
type limits struct {
	platform platform
	costs    []cost
}

// platform is what instructions depend on.
type platform struct{ goos, goarch, version string }

func here() platform { return platform{runtime.GOOS, runtime.GOARCH, runtime.Version()} }

// compiles reports whether another platform makes nearly the same instructions of
// the same code: that of another bug fix release does.
func (p platform) compiles(q platform) bool {
	release := version.Lang(p.version)
	return p.goos == q.goos && p.goarch == q.goarch && release != "" && release == version.Lang(q.version)
}

func (p platform) String() string { return p.version + " on " + p.goos + "/" + p.goarch }

const (
	heading   = "# What an exchange may cost, give or take a tenth. Written by: go run ./bench/cost -update\n"
	benchmark = "BenchmarkExchange/"
)

// text is the file of the limits, in the format of Go benchmarks.
func (l limits) text() []byte {
	b := fmt.Appendf(nil, "%sgoos: %s\ngoarch: %s\ntoolchain: %s\n", heading, l.platform.goos, l.platform.goarch, l.platform.version)
	for _, c := range l.costs {
		b = append(b, benchmark+c.variant+" 1"...)
		for i, unit := range units {
			b = fmt.Appendf(b, " %s %s", number(c.values[i]), unit)
		}
		b = append(b, '\n')
	}
	return b
}

// number is a value with as many digits as mean something.
func number(v float64) string {
	if v < 1000 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// parseLimits reads what text has written, and refuses anything else.
func parseLimits(text string) (l limits, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		setting, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case setting == "goos":
			l.platform.goos = value
		case setting == "goarch":
			l.platform.goarch = value
		case setting == "toolchain":
			l.platform.version = value
		default:
			c, err := parseCost(line)
			if err != nil {
				return limits{}, fmt.Errorf("parsing %q: %w", line, err)
			}
			if slices.ContainsFunc(l.costs, func(d cost) bool { return d.variant == c.variant }) {
				return limits{}, fmt.Errorf("parsing %q: it is there twice", line)
			}
			l.costs = append(l.costs, c)
		}
	}
	return l, nil
}

// parseCost reads a line of a benchmark. It must have each unit once.
func parseCost(line string) (c cost, err error) {
	fields := strings.Fields(line)
	if len(fields) != 2+2*len(units) || fields[1] != "1" {
		return cost{}, errors.New("want a name, 1, and a value for each unit")
	}
	var found bool
	if c.variant, found = strings.CutPrefix(fields[0], benchmark); !found || c.variant == "" {
		return cost{}, fmt.Errorf("want a name that begins with %s", benchmark)
	}
	for pair := range slices.Chunk(fields[2:], 2) {
		i := slices.Index(units[:], pair[1])
		value, err := strconv.ParseFloat(pair[0], 64)
		switch {
		case i < 0 || c.values[i] != 0:
			return cost{}, fmt.Errorf("unit %q is unknown, or there twice", pair[1])
		case err != nil || !(value > 0):
			return cost{}, fmt.Errorf("%q is no positive number", pair[0])
		}
		c.values[i] = value
	}
	return c, nil
}
