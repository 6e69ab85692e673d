-- wrk's script: sends the requests of a file in turn, then stops sending and waits for every answer, so that the
-- stored rows can be compared with the answers. It needs one thread (wrk -t1).
-- Arguments: the file of requests, seconds to send, connections.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } clock_time;
  int clock_gettime(int clock, clock_time *time);
  int getpid(void);
  int kill(int process, int signal);
]]
local CLOCK_MONOTONIC, SIGINT = 1, 2
local NEVER_MS = 3600 * 1000

local clock = ffi.new("clock_time")
local function now()
  ffi.C.clock_gettime(CLOCK_MONOTONIC, clock)
  return tonumber(clock.seconds) + tonumber(clock.nanoseconds) / 1e9
end

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  requests, seconds, connections = {}, tonumber(arguments[2]), tonumber(arguments[3])
  -- Each request is preceded by its length on a line of its own.
  local length = file:read("*l")
  while length do
    table.insert(requests, file:read(tonumber(length)))
    length = file:read("*l")
  end
  file:close()
end

-- wrk calls this before every request, and once more on each connection after its last answer.
function delay()
  last = now()
  if not began then
    -- wrk has called request() once already, only to inspect it.
    began, asked, sent = last, 0, 0
  end
  asked = asked + 1
  if last < began + seconds then return 0 end
  if asked == sent + connections then
    -- Every connection has its last answer: stop before wrk's own time ends.
    ffi.C.kill(ffi.C.getpid(), SIGINT)
  end
  return NEVER_MS
end

function request()
  sent = (sent or 0) + 1
  return requests[sent % #requests + 1]
end

function done(summary, latency)
  local thread, errors = threads[1], summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  print(string.format(
    'figures {"sent": %d, "answered": %d, "refused": %d, "failed": %d, "seconds": %.6f, "p50": %.3f, "p99": %.3f}',
    thread:get("sent"), summary.requests, errors.status, failed, thread:get("last") - thread:get("began"),
    latency:percentile(50) / 1000, latency:percentile(99) / 1000
  ))
end
