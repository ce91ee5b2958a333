-- Sends the body in the file BENCH_BODY again and again, with a number of its own in each where the body has the marker
-- of content.py.

dofile(os.getenv("BENCH_LUA") .. "/summary.lua")

local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = file:read("*a")
file:close()

local before, after = wrk.body:match("^(.-)f0e1d2c3b4a59687(.*)$")
if before then
  -- Threads are far apart, see summary.lua, and so are runs.
  local number = os.time() % 2^20 * 2^32

  function request()
    number = number + 1
    return wrk.format(nil, nil, nil, string.format("%s%02x%014x%s", before, place, number, after))
  end
end
