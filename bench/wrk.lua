-- Sends requests with an ID each, and prints for bench how many were answered, how
-- many failed, and microseconds: how long it took, p50, p99 and p99.9.

local prefix, after = os.getenv("BENCH_PREFIX"), os.getenv("BENCH_AFTER")
local number = "%0" .. os.getenv("BENCH_NUMBER") .. "d"
local before, sent = nil, 0

-- All but the number is the same in each request.
function init()
	local body = os.getenv("BENCH_BEFORE") .. prefix
	local tail = string.format(number, 0) .. after
	local whole = wrk.format("POST", nil, {
		["Host"] = wrk.headers["Host"],
		["Authorization"] = "Bearer " .. os.getenv("BENCH_TOKEN"),
		["Content-Type"] = "application/json",
	}, body .. tail)
	before = whole:sub(1, #whole - #tail)
end

function request()
	sent = sent + 1
	return before .. string.format(number, sent) .. after
end

function done(summary, latency)
	local e = summary.errors
	io.write(string.format("bench: %d %d %d %d %d %d\n", summary.requests,
		e.connect + e.read + e.write + e.status + e.timeout, summary.duration,
		latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
