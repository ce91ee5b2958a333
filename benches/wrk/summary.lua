-- Each thread has one of the addresses BENCH_ADDRESSES.

local addresses = {}
for host, port in os.getenv("BENCH_ADDRESSES"):gmatch("(%S+):(%d+)") do
  addresses[#addresses + 1] = { host, port }
end
local threads = 0

function setup(thread)
  local host, port = unpack(addresses[threads % #addresses + 1])
  threads = threads + 1
  thread:set("place", threads)
  thread.addr = wrk.lookup(host, port)[1]
end

-- What every load reports at its end: one line of JSON, times in microseconds.

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"requests":%d,"duration":%d,"bytes":%d,"failed":%d,"p50":%d,"p99":%d,"max":%d}\n',
    summary.requests, summary.duration, summary.bytes, failed,
    latency:percentile(50), latency:percentile(99), latency.max))
end
