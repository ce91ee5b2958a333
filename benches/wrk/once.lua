-- Sends each line of the file BENCH_BODY once. Writes a line when the first is sent and one when the last is answered,
-- for whoever holds the clock; then sends fillers until it is interrupted, since wrk cannot end by itself.

dofile(os.getenv("BENCH_LUA") .. "/summary.lua")

local FILLER = '{"jsonrpc":"2.0","id":0,"method":"eth_chainId","params":[]}'
local requests, filler = {}, nil
local sent, accepted, refused = -1, 0, 0

local function say(line)
  io.write(line, "\n")
  io.flush()
end

function init()
  local headers = { ["Content-Type"] = "application/json", ["Host"] = wrk.headers["Host"] }
  for line in io.lines(os.getenv("BENCH_BODY")) do
    requests[#requests + 1] = wrk.format("POST", "/", headers, line)
  end
  filler = wrk.format("POST", "/", headers, FILLER)
end

function request()
  sent = sent + 1
  -- wrk calls once before it connects, to see whether a request is several.
  if sent == 0 then return filler end
  if sent == 1 then say("first") end
  return requests[sent] or filler
end

function response(_, _, body)
  -- A transaction's hash has 64 digits; a filler's answer is shorter.
  if body:find('"result"', 1, true) then
    if #body < 64 then return end
    accepted = accepted + 1
  else
    refused = refused + 1
    if refused == 1 then say("refused " .. body:gsub("%s+", " ")) end
  end
  if accepted + refused == #requests then say("last " .. accepted) end
end
