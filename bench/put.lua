-- Writes a new document with each request: the ids of a thread are a row of numbers under a prefix of its own.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  prefix = os.getenv("BENCH_PREFIX") .. number .. "-"
  count = 0
  body = '{"type":"observation","patient":"0123456789","at":"2026-01-01T00:00:00Z","value":37.2,"note":"' .. string.rep("x", 200) .. '"}'
end

function request()
  count = count + 1
  return wrk.format("PUT", prefix .. count, nil, body)
end
