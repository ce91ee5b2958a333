-- Sends the body in the file BENCH_BODY again and again.

dofile(os.getenv("BENCH_LUA") .. "/summary.lua")

local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = file:read("*a")
file:close()
