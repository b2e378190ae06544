"""The scripts in Lua, as text: what a package holds apart from its modules can't be read without blocking the loop."""

PRELUDE = """
-- What every script begins with. KEYS[1] is the prefix of everything that belongs to one tenant; it holds the tenant's
-- id in braces, so that a cluster keeps all of it on one node. ARGV[1] is a msgpack map.
--
--   PREFIX running          hash   subject -> leases that are held
--   PREFIX window:SUBJECT   hash   r<step>, t<step> -> requests and tokens taken in those five seconds
--   PREFIX budget:SUBJECT:PERIOD   hash   u, cu -> used tokens and cost (absent: not seeded); r, cr -> reserved
--   PREFIX leases           zset   request id -> when it expires, milliseconds
--   PREFIX lease            hash   request id -> the lease, msgpack

local PREFIX = KEYS[1]
local args = cmsgpack.unpack(ARGV[1])
local STEP_MS, STEPS, WINDOW_TTL, EXPIRED_MS = 5000, 13, 70, 86400000
local DAY_MS, DAY_TTL, MONTH_TTL = 86400000, 3 * 86400, 34 * 86400

local now = args.now
if now == 0 then
  local clock = redis.call('TIME')
  now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
end
local step = math.floor(now / STEP_MS)

-- Periods are named by the caller, who knows the calendar, and chosen by the time of Redis.
local day, month
for _, period in ipairs(args.periods or {}) do
  if period[2] <= now and now < period[3] then
    if #period[1] == 8 then day = period[1] else month = period[1] end
  end
end

-- Lua has a -0, which Redis does not take for a number.
local function int(number) return number == 0 and '0' or string.format('%.0f', number) end
local function get(key, field) return tonumber(redis.call('HGET', key, field) or '0') end
local function window_key(subject) return PREFIX .. 'window:' .. subject end
local function budget_key(subject, period) return PREFIX .. 'budget:' .. subject .. ':' .. period end

local function count_running(lease, change)
  for _, subject in ipairs(lease.subjects) do
    if redis.call('HINCRBY', PREFIX .. 'running', subject, change) <= 0 then
      redis.call('HDEL', PREFIX .. 'running', subject)
    end
  end
end

local function add_to_window(subject, letter, at, amount)
  if at > step - STEPS then
    redis.call('HINCRBY', window_key(subject), letter .. int(at), int(amount))
    redis.call('EXPIRE', window_key(subject), WINDOW_TTL)
  end
end

local function read_window(subject)
  local key, found = window_key(subject), { r = {}, t = {} }
  local pairs_of = redis.call('HGETALL', key)
  for index = 1, #pairs_of, 2 do
    local field, amount = pairs_of[index], tonumber(pairs_of[index + 1])
    local at = tonumber(string.sub(field, 2))
    if at <= step - STEPS then
      redis.call('HDEL', key, field)
    else
      table.insert(found[string.sub(field, 1, 1)], { at, amount })
    end
  end
  for _, list in pairs(found) do
    table.sort(list, function(one, other) return one[1] < other[1] end)
  end
  return found
end

local function total_of(list)
  local total = 0
  for _, item in ipairs(list) do total = total + item[2] end
  return total
end

-- When at most `room` is taken, in milliseconds from now.
local function wait_for(list, room)
  local total = total_of(list)
  for _, item in ipairs(list) do
    if total <= room then break end
    total = total - item[2]
    if total <= room then return (item[1] + STEPS) * STEP_MS - now end
  end
  return 0
end

local function wait_until_empty(list)
  for index = #list, 1, -1 do
    if list[index][2] ~= 0 then return (list[index][1] + STEPS) * STEP_MS - now end
  end
  return 0
end

local function add_to_budget(subject, period, reserved, used)
  local key = budget_key(subject, period)
  redis.call('HINCRBY', key, 'r', int(reserved.tokens))
  redis.call('HINCRBY', key, 'cr', int(reserved.cost))
  if used and redis.call('HEXISTS', key, 'u') == 1 then
    redis.call('HINCRBY', key, 'u', int(used.tokens))
    redis.call('HINCRBY', key, 'cu', int(used.cost))
  end
  redis.call('EXPIRE', key, #period == 8 and DAY_TTL or MONTH_TTL)
end

local function read_lease(request_id)
  local packed = redis.call('HGET', PREFIX .. 'lease', request_id)
  return packed and cmsgpack.unpack(packed)
end

local function write_lease(request_id, lease, expires)
  redis.call('HSET', PREFIX .. 'lease', request_id, cmsgpack.pack(lease))
  redis.call('ZADD', PREFIX .. 'leases', int(expires), request_id)
end

-- Takes a lease whatever the limits say; step 0 counts in no minute.
local function take_lease(request_id, lease)
  count_running(lease, 1)
  for _, subject in ipairs(lease.subjects) do
    add_to_window(subject, 'r', lease.step, 1)
    add_to_window(subject, 't', lease.step, lease.tokens)
    add_to_budget(subject, lease.day, lease, nil)
    add_to_budget(subject, lease.month, lease, nil)
  end
  write_lease(request_id, lease, now + args.lease_ms)
end

local function hold_lease(request_id, lease, owner)
  if not lease.active then count_running(lease, 1) end
  lease.active, lease.owner = true, owner
  write_lease(request_id, lease, now + args.lease_ms)
end

local function end_lease(request_id, lease, used)
  redis.call('HDEL', PREFIX .. 'lease', request_id)
  redis.call('ZREM', PREFIX .. 'leases', request_id)
  if lease.active then count_running(lease, -1) end
  for _, subject in ipairs(lease.subjects) do
    add_to_window(subject, 't', lease.step, used.tokens - lease.tokens)
    for _, period in ipairs({ lease.day, lease.month }) do
      add_to_budget(subject, period, { tokens = -lease.tokens, cost = -lease.cost }, used)
    end
  end
end

-- A gateway that is gone renews nothing: what it ran no longer runs, and what it reserved waits for somebody who knows.
for _, request_id in ipairs(redis.call('ZRANGEBYSCORE', PREFIX .. 'leases', '-inf', int(now), 'LIMIT', 0, 100)) do
  local lease = read_lease(request_id)
  if not lease then
    redis.call('ZREM', PREFIX .. 'leases', request_id)
  elseif lease.active then
    count_running(lease, -1)
    lease.active = false
    write_lease(request_id, lease, now + EXPIRED_MS)
  else
    end_lease(request_id, lease, lease)
  end
end
"""

RESERVE = """
-- args: request_id, owner, tokens, cost, lease_ms, periods, now; and subjects, each with name and the fields of
-- `KeyLimits`, of which an absent one is no limit.
-- Returns msgpack: {"granted", standings}, {"unseeded", {{subject, period}, ...}}, or
-- {"refused", kind, subject, limit, wait in milliseconds (-1 for ever), now, standings}.

local function standings()
  local told = {}
  for _, subject in ipairs(args.subjects) do
    local window = read_window(subject.name)
    table.insert(told, {
      total_of(window.r), wait_until_empty(window.r), total_of(window.t), wait_until_empty(window.t)
    })
  end
  return told
end

local known = read_lease(args.request_id)
if known then
  hold_lease(args.request_id, known, args.owner)
  return cmsgpack.pack({ 'granted', standings() })
end

local missing = {}
local function need(subject, period)
  if redis.call('HEXISTS', budget_key(subject, period), 'u') == 0 then
    table.insert(missing, { subject, period })
  end
end
for _, subject in ipairs(args.subjects) do
  if subject.tokens_per_day then need(subject.name, day) end
  if subject.tokens_per_month or subject.cost_per_month_micros then need(subject.name, month) end
end
if #missing > 0 then return cmsgpack.pack({ 'unseeded', missing }) end

local function budget(subject, period, letter)
  local key = budget_key(subject, period)
  return get(key, letter .. 'u') + get(key, letter .. 'r')
end

for _, subject in ipairs(args.subjects) do
  local name, window = subject.name, read_window(subject.name)
  local function excess(kind, limit, taken, wants, wait)
    if limit and taken + wants > limit then
      local wait_ms = wants <= limit and wait(limit - wants) or -1
      return cmsgpack.pack({ 'refused', kind, name, limit, wait_ms, now, standings() })
    end
  end
  local function soon() return 1000 end
  -- The caller knows how long a day or a month still lasts.
  local function later() return 0 end
  local refusal = excess('concurrent', subject.concurrent_generations, get(PREFIX .. 'running', name), 1, soon)
    or excess('requests_per_minute', subject.requests_per_minute, total_of(window.r), 1,
      function(room) return wait_for(window.r, room) end)
    or excess('tokens_per_minute', subject.tokens_per_minute, total_of(window.t), args.tokens,
      function(room) return wait_for(window.t, room) end)
    or (subject.tokens_per_day
      and excess('tokens_per_day', subject.tokens_per_day, budget(name, day, ''), args.tokens, later))
    or (subject.tokens_per_month
      and excess('tokens_per_month', subject.tokens_per_month, budget(name, month, ''), args.tokens, later))
    or (subject.cost_per_month_micros
      and excess('cost_per_month', subject.cost_per_month_micros, budget(name, month, 'c'), args.cost, later))
  if refusal then return refusal end
end

local names = {}
for _, subject in ipairs(args.subjects) do table.insert(names, subject.name) end
take_lease(args.request_id, {
  owner = args.owner, tokens = args.tokens, cost = args.cost, subjects = names,
  step = step, day = day, month = month, active = true
})
return cmsgpack.pack({ 'granted', standings() })
"""

SETTLE = """
-- args: now; and ends, each {request_id, owner, tokens, cost}.

for _, item in ipairs(args.ends) do
  local lease = read_lease(item[1])
  if lease and lease.owner == item[2] then
    end_lease(item[1], lease, { tokens = item[3], cost = item[4] })
  end
end
return 0
"""

RENEW = """
-- args: lease_ms, periods, now; and leases, each {request_id, owner, tokens, cost, {subject, ...}}.

for _, item in ipairs(args.leases) do
  local lease = read_lease(item[1])
  if not lease then
    take_lease(item[1], {
      owner = item[2], tokens = item[3], cost = item[4], subjects = item[5],
      step = 0, day = day, month = month, active = true
    })
  elseif lease.owner == item[2] then
    hold_lease(item[1], lease, item[2])
  end
end
return 0
"""

SEED = """
-- args: now; and used, each {subject, period, tokens, cost}.

for _, item in ipairs(args.used) do
  local key = budget_key(item[1], item[2])
  redis.call('HSET', key, 'u', int(math.max(get(key, 'u'), item[3])), 'cu', int(math.max(get(key, 'cu'), item[4])))
  redis.call('EXPIRE', key, #item[2] == 8 and DAY_TTL or MONTH_TTL)
end
return 0
"""

LOOK = """
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
"""

SCRIPTS = {
    "reserve": RESERVE,
    "settle": SETTLE,
    "renew": RENEW,
    "seed": SEED,
    "look": LOOK,
}
"""Each follows the prelude."""
