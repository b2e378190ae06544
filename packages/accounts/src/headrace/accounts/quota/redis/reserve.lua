-- args: request_id, owner, tokens, cost, lease_ms, periods, now; and subjects, each with name and the names of `KeyLimits`,
-- of which an absent one is no limit.
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
      return cmsgpack.pack({ 'refused', kind, name, limit, wants <= limit and wait(limit - wants) or -1, now, standings() })
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
