package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"
)

// script has wrk send requests of all merchants by turns, each with a request ID
// that stands anywhere in the order of those before, and print what became of them.
const script = `
local sent = 0
local merchants = tonumber(os.getenv("SCALE_MERCHANTS"))
local group = os.getenv("SCALE_GROUP")
local suffix = os.getenv("SCALE_SUFFIX")
local action = os.getenv("SCALE_ACTION")
local headers = { ["Content-Type"] = "application/json" }

function request()
	sent = sent + 1
	local merchant = sent % merchants
	local id = string.format("%08x", sent * 2654435761 % 4294967296) .. suffix
	headers["Authorization"] = "Bearer npg_scale_" .. merchant
	local path = "/api/" .. (group == "" and "own" .. merchant or group) .. "/" .. action
	return wrk.format("POST", path, headers,
		'{"accountnumber":"50100012345678","ifsc":"HDFC0000001","amount":"1.50","yourrequestid":"' ..
		id .. '","name":"Asha Rao","transferMode":"IMPS"}')
end

function done(summary, latency, requests)
	local e = summary.errors
	io.write("answers ", summary.requests, " ", e.status, " ", e.connect + e.read + e.write + e.timeout, " ",
		string.format("%.1f %.1f", latency:percentile(50) / 1000, latency:percentile(99) / 1000), "\n")
end
`

// answers are what wrk got.
type answers struct {
	all, refused int
	p50, p99     float64 // ms
}

// loads counts them, so that no two send the same request IDs.
var loads atomic.Int64

// load has merchants call for some time, as fast as they are answered.
func (g *gateway) load(ctx context.Context, length time.Duration) (a answers, err error) {
	file := filepath.Join(g.folder, "load.lua")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		return a, fmt.Errorf("writing the script for wrk: %w", err)
	}
	wrk := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(g.row.connections), "-d"+length.String(), "--timeout", "60s", "-s", file, g.url)
	group, action := "", "quote"
	if g.row.pays {
		group, action = "bank", "payout"
	}
	wrk.Env = append(os.Environ(), fmt.Sprintf("SCALE_MERCHANTS=%d", g.row.merchants), fmt.Sprintf("SCALE_SUFFIX=L%d", loads.Add(1)),
		"SCALE_GROUP="+group, "SCALE_ACTION="+action)
	wrk.Stderr = os.Stderr
	out, err := wrk.Output()
	if err != nil {
		return a, fmt.Errorf("running wrk (Debian: apt-get install wrk): %w", err)
	}
	_, said, _ := bytes.Cut(out, []byte("answers "))
	var failed int
	_, err = fmt.Sscan(string(said), &a.all, &a.refused, &failed, &a.p50, &a.p99)
	if err != nil || a.all == 0 || failed > 0 || a.refused > 0 && g.row.maxInFlight == 0 {
		return a, fmt.Errorf("wrk says that something failed:\n%s", out)
	}
	return a, nil
}
