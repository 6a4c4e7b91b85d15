package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

//go:embed wrk.lua
var wrkScript []byte

// loaded is what merchants saw.
type loaded struct {
	answers        int
	perSecond      float64
	p50, p99, p999 time.Duration
}

// runWrk has merchants call for some time, each again as soon as it is answered.
func (s *stand) runWrk(ctx context.Context, url string, l load) (loaded, error) {
	script := filepath.Join(s.folder, "wrk.lua")
	if err := os.WriteFile(script, wrkScript, 0o600); err != nil {
		return loaded{}, fmt.Errorf("writing the script for wrk: %w", err)
	}
	wrk := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(l.connections),
		fmt.Sprintf("-d%ds", int(l.time.Seconds())), "--timeout", "30s", "-s", script, url)
	wrk.Env = append(os.Environ(), "BENCH_TOKEN="+token, "BENCH_PREFIX="+newPrefix(),
		"BENCH_NUMBER="+strconv.Itoa(numberLength), "BENCH_BEFORE="+requestBefore, "BENCH_AFTER="+requestAfter)
	wrk.Stderr = os.Stderr
	out, err := wrk.Output()
	if err != nil {
		return loaded{}, fmt.Errorf("running wrk: %w\n%s", err, out)
	}
	return parseWrk(out)
}

// parseWrk reads the line that the script prints.
func parseWrk(out []byte) (done loaded, err error) {
	_, line, _ := bytes.Cut(out, []byte("bench: "))
	var failed int
	var length, p50, p99, p999 float64 // microseconds
	_, err = fmt.Sscan(string(line), &done.answers, &failed, &length, &p50, &p99, &p999)
	if err != nil || failed > 0 || done.answers == 0 || length == 0 {
		return loaded{}, fmt.Errorf("reading what wrk says, some of which failed:\n%s", out)
	}
	done.perSecond = float64(done.answers) / length * 1e6
	for to, from := range map[*time.Duration]float64{&done.p50: p50, &done.p99: p99, &done.p999: p999} {
		*to = time.Duration(from * float64(time.Microsecond))
	}
	return done, nil
}
