package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"time"
)

// script has wrk send payouts with a request ID each, and print how many answers
// it got, and how many requests failed.
const script = `
local sent = 0
local prefix = os.getenv("BENCH_PREFIX")
local headers = { ["Authorization"] = "Bearer " .. os.getenv("BENCH_TOKEN"), ["Content-Type"] = "application/json" }

function request()
	sent = sent + 1
	return wrk.format("POST", nil, headers,
		'{"accountnumber":"50100012345678","ifsc":"HDFC0000001","amount":"1.50","yourrequestid":"' ..
		prefix .. sent .. '","name":"Asha Rao","transferMode":"IMPS"}')
end

function done(summary, latency, requests)
	local e = summary.errors
	io.write("answers ", summary.requests, " ", e.connect + e.read + e.write + e.status + e.timeout, "\n")
end
`

// loads counts them, so that no two send the same request IDs.
var loads atomic.Int64

// load has merchants call for some time, as fast as they are answered, and
// returns how many answers they got.
func load(ctx context.Context, url, token string, length time.Duration, connections int) (answers int, err error) {
	file, err := os.CreateTemp("", "bench-*.lua")
	if err != nil {
		return 0, fmt.Errorf("making the script for wrk: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(script)
	if err := errors.Join(err, file.Close()); err != nil {
		return 0, fmt.Errorf("writing the script for wrk: %w", err)
	}
	wrk := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+length.String(), "-s", file.Name(), url)
	wrk.Env = append(os.Environ(), fmt.Sprintf("BENCH_PREFIX=L%dN", loads.Add(1)), "BENCH_TOKEN="+token)
	wrk.Stderr = os.Stderr
	out, err := wrk.Output()
	if err != nil {
		return 0, fmt.Errorf("running wrk (Debian: apt-get install wrk): %w", err)
	}
	_, said, _ := bytes.Cut(out, []byte("answers "))
	var failed int
	if _, err := fmt.Sscan(string(said), &answers, &failed); err != nil || answers == 0 || failed > 0 {
		return 0, fmt.Errorf("wrk says that something failed:\n%s", out)
	}
	return answers, nil
}
