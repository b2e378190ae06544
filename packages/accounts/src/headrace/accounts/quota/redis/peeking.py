"""The script that looks and changes nothing: it takes nothing away that is over, as all others do first."""

PEEK = """
-- KEYS[1] is the prefix of one tenant, as in the other scripts, which say what is below it. ARGV[1] is a msgpack map:
-- subject, periods, now. Returns msgpack: running; requests and tokens, {taken, milliseconds until nothing is}; day and
-- month, {used tokens, used cost, reserved tokens, reserved cost}, with -1 for what was used where it is not seeded.

local PREFIX = KEYS[1]
local args = cmsgpack.unpack(ARGV[1])
local STEP_MS, STEPS = 5000, 13

local now = args.now
if now == 0 then
  local clock = redis.call('TIME')
  now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
end
local step = math.floor(now / STEP_MS)

local taken, last = { r = 0, t = 0 }, {}
local fields = redis.call('HGETALL', PREFIX .. 'window:' .. args.subject)
for index = 1, #fields, 2 do
  local letter, at, amount = string.sub(fields[index], 1, 1), tonumber(string.sub(fields[index], 2)), fields[index + 1]
  if at > step - STEPS and tonumber(amount) ~= 0 then
    taken[letter] = taken[letter] + tonumber(amount)
    last[letter] = math.max(last[letter] or at, at)
  end
end
local function minute(letter)
  return { taken[letter], last[letter] and (last[letter] + STEPS) * STEP_MS - now or 0 }
end

-- What a gateway that is gone ran still counts as running until the next script that changes something.
local running = tonumber(redis.call('HGET', PREFIX .. 'running', args.subject) or '0')
for _, request_id in ipairs(redis.call('ZRANGEBYSCORE', PREFIX .. 'leases', '-inf', string.format('%.0f', now))) do
  local packed = redis.call('HGET', PREFIX .. 'lease', request_id)
  local lease = packed and cmsgpack.unpack(packed)
  if lease and lease.active then
    for _, subject in ipairs(lease.subjects) do
      if subject == args.subject then running = running - 1 end
    end
  end
end

local answer = { running = math.max(0, running), requests = minute('r'), tokens = minute('t') }
for _, period in ipairs(args.periods) do
  if period[2] <= now and now < period[3] then
    local found = redis.call('HMGET', PREFIX .. 'budget:' .. args.subject .. ':' .. period[1], 'u', 'cu', 'r', 'cr')
    answer[#period[1] == 8 and 'day' or 'month'] = {
      tonumber(found[1] or '-1'), tonumber(found[2] or '-1'), tonumber(found[3] or '0'), tonumber(found[4] or '0')
    }
  end
end
return cmsgpack.pack(answer)
"""
