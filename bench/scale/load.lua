-- Makes requests of all merchants by turns, each with a request ID that stands
-- anywhere in the order of those before.

local sent = 0
local merchants = tonumber(os.getenv("SCALE_MERCHANTS"))
local suffix = os.getenv("SCALE_SUFFIX")
local pays = os.getenv("SCALE_PAYS") == "true"
local headers = { ["Content-Type"] = "application/json" }

function request()
	sent = sent + 1
	local merchant = "m" .. sent % merchants
	headers["Authorization"] = "Bearer npg_" .. merchant
	return wrk.format("POST", pays and "/api/bank/payout" or "/api/" .. merchant .. "/quote", headers,
		'{"accountnumber":"50100012345678","ifsc":"HDFC0000001","amount":"1.50","yourrequestid":"' ..
		string.format("%08x", sent * 2654435761 % 4294967296) .. suffix .. '","name":"Asha Rao","transferMode":"IMPS"}')
end
