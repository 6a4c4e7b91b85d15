
-- Prints how many were answered, refused and failed, how many bytes came, and
-- microseconds: how long it took, p50, p99 and p99.9.
function done(summary, latency)
	local e = summary.errors
	io.write(string.format("bench: %d %d %d %d %d %d %d %d\n", summary.requests, e.status,
		e.connect + e.read + e.write + e.timeout, summary.bytes, summary.duration,
		latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
