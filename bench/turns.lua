-- Sends one credential after another: the header BENCH_HEADER with the values in the lines of the file BENCH_VALUES. The threads begin at different places.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  requests = {}
  for line in io.lines(os.getenv("BENCH_VALUES")) do
    requests[#requests + 1] = wrk.format(nil, nil, {[os.getenv("BENCH_HEADER")] = line, ["Host"] = wrk.headers["Host"]})
  end
  at = math.floor(#requests / 2) * number
end

function request()
  at = at % #requests + 1
  return requests[at]
end
