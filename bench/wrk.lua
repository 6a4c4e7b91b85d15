-- Makes requests with an ID each, all but whose number is the same.

local prefix, after = os.getenv("BENCH_PREFIX"), os.getenv("BENCH_AFTER")
local number = "%0" .. os.getenv("BENCH_NUMBER") .. "d"
local before, sent = nil, 0

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
