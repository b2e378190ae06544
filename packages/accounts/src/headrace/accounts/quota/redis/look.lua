-- args: subject, periods, now. Returns msgpack: running, requests, tokens, and for day and month nil or {tokens, cost}.

local function taken(period)
  local key = budget_key(args.subject, period)
  if redis.call('HEXISTS', key, 'u') == 0 then return nil end
  return { get(key, 'u') + get(key, 'r'), get(key, 'cu') + get(key, 'cr') }
end
local window = read_window(args.subject)
return cmsgpack.pack({
  running = get(PREFIX .. 'running', args.subject), requests = total_of(window.r), tokens = total_of(window.t),
  day = taken(day), month = taken(month)
})
