package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// counted is how many exchanges are in the shorter of two runs.
const counted = 300

// environment keeps everything out of the count that is not the same each time:
// collections, other threads that look for work, and instructions that only some
// versions of valgrind know.
var environment = []string{"GOMAXPROCS=1", "GOGC=off", "GODEBUG=cpu.adx=off,cpu.sha=off,cpu.erms=off,cpu.fsrm=off"}

// countInstructions counts those of an exchange, by two runs of this command.
func countInstructions(ctx context.Context, variant string) (float64, error) {
	short, err := instructionsOf(ctx, variant, counted)
	if err != nil {
		return 0, err
	}
	long, err := instructionsOf(ctx, variant, 3*counted)
	if err != nil {
		return 0, err
	}
	if long <= short {
		return 0, fmt.Errorf("counting instructions: %d exchanges took %d, and %d took %d", counted, short, 3*counted, long)
	}
	return float64(long-short) / (2 * counted), nil
}

// instructionsOf counts those of a run of this command.
func instructionsOf(ctx context.Context, variant string, exchanges int) (int64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("finding this command: %w", err)
	}
	run := exec.CommandContext(ctx, "valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--vgdb=no",
		self, "-run", variant, "-exchanges", strconv.Itoa(exchanges))
	run.Env = append(os.Environ(), environment...)
	out, err := run.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return 0, fmt.Errorf("counting instructions (Debian: apt-get install valgrind; -quick does without): %w", err)
	}
	if err != nil {
		return 0, fmt.Errorf("counting instructions: %w\n%s", err, out)
	}
	return parseCount(string(out))
}

var count = regexp.MustCompile(`(?m)^==\d+== I +refs: +([\d,]+)\s*$`)

// parseCount finds the number of instructions in what valgrind prints.
func parseCount(said string) (int64, error) {
	found := count.FindAllStringSubmatch(said, -1)
	if len(found) != 1 {
		return 0, fmt.Errorf("reading valgrind's output: %d counts of instructions in it, want one:\n%s", len(found), said)
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(found[0][1], ",", ""), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading valgrind's output: %w", err)
	}
	return n, nil
}
