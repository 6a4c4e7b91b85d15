// Package wrk has merchants call as fast as they are answered, by means of wrk
// (Debian's package of that name).
package wrk

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// done is Lua that prints what became of the requests.
//
//go:embed done.lua
var done []byte

// Load is how merchants call.
type Load struct {
	URL         string
	Connections int
	Time        time.Duration // in whole seconds
	Script      []byte        // Lua that makes the requests
	Env         []string      // for the script
	Folder      string        // where the script is put for wrk
}

// Answers are what wrk got.
type Answers struct {
	All            int
	Refused        int // of them: with a status of 400 and more
	Bytes          int // of all, with their heads
	Length         time.Duration
	P50, P99, P999 time.Duration
}

// PerSecond is how many there were in a second.
func (a Answers) PerSecond() float64 { return float64(a.All) / a.Length.Seconds() }

// Look finds wrk, or says how to install it.
func Look() error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return fmt.Errorf("looking for wrk (Debian: apt-get install wrk): %w", err)
	}
	return nil
}

// Run runs wrk.
func Run(ctx context.Context, l Load) (Answers, error) {
	script := filepath.Join(l.Folder, "wrk.lua")
	if err := os.WriteFile(script, append(bytes.Clone(l.Script), done...), 0o600); err != nil {
		return Answers{}, fmt.Errorf("writing the script for wrk: %w", err)
	}
	wrk := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(l.Connections),
		fmt.Sprintf("-d%ds", int(l.Time.Seconds())), "--timeout", "60s", "-s", script, l.URL)
	wrk.Env = append(os.Environ(), l.Env...)
	wrk.Stderr = os.Stderr
	out, err := wrk.Output()
	if err != nil {
		return Answers{}, fmt.Errorf("running wrk: %w\n%s", err, out)
	}
	return parse(out)
}

// parse reads the line that the script prints.
func parse(out []byte) (a Answers, err error) {
	_, line, _ := bytes.Cut(out, []byte("bench: "))
	var failed int
	var length, p50, p99, p999 float64 // microseconds
	_, err = fmt.Sscan(string(line), &a.All, &a.Refused, &failed, &a.Bytes, &length, &p50, &p99, &p999)
	if err == nil && (failed > 0 || a.All == 0 || length == 0) {
		err = errors.New("some failed, or all")
	}
	if err != nil {
		return Answers{}, fmt.Errorf("reading what wrk says: %w:\n%s", err, out)
	}
	for to, from := range map[*time.Duration]float64{&a.Length: length, &a.P50: p50, &a.P99: p99, &a.P999: p999} {
		*to = time.Duration(from * float64(time.Microsecond))
	}
	return a, nil
}
