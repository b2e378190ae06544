"""What must happen in Redis in one step, in Lua. Times are Redis's own, so the clocks of processes need not agree.

| key | kind | what it holds |
|---|---|---|
| `headrace:retained:ID` | hash | everything about a generation but its events |
| `headrace:events:ID` | stream | its events; an entry's id is the number of events up to its end |
| `headrace:running` | sorted set | generations with an owner, by the time at which its lease runs out |
| `headrace:ended` | sorted set | generations that are kept after their end, by the time of it |
| `headrace:key:KEY` | string | the generation that an idempotency key stands for, and the hash of its request |
| `headrace:inbox:OWNER` | stream | what one process is asked to do |
"""

PREFIX = "headrace:"
RUNNING = f"{PREFIX}running"
ENDED = f"{PREFIX}ended"


def head_key(request_id: str) -> str:
    """Return the key of a generation's head."""
    return f"{PREFIX}retained:{request_id}"


def events_key(request_id: str) -> str:
    """Return the key of a generation's events."""
    return f"{PREFIX}events:{request_id}"


def idempotency_key(key: str) -> str:
    """Return the key of an idempotency key."""
    return f"{PREFIX}key:{key}"


def inbox_key(owner: str) -> str:
    """Return the key of a process's inbox."""
    return f"{PREFIX}inbox:{owner}"


_NOW = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""

OPEN = (
    _NOW
    + """
local id, claim, holds = ARGV[1], ARGV[2], ARGV[3]
local lease, keep, most, ends = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
if claim ~= '' then
  local held = redis.call('GET', claim)
  if held then
    local holder = string.match(held, '^%S+')
    if redis.call('EXISTS', 'headrace:retained:' .. holder) == 1 then return held end
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - keep)
if redis.call('ZCARD', KEYS[1]) >= most then return 'full' end
redis.call('HSET', KEYS[3], unpack(ARGV, 8))
redis.call('PEXPIREAT', KEYS[3], ends)
redis.call('ZADD', KEYS[1], now + lease, id)
if claim ~= '' then redis.call('SET', claim, holds, 'PXAT', ends) end
return ''
"""
)
"""Keys: running, ended, head. Arguments: id, key, what the key holds, lease, how long is kept, most, when all of it
expires, and the fields of the head. Returns what holds the key, `full` where as many run as may be kept, or nothing."""

WRITE = (
    _NOW
    + """
local owner, first, last, events, facts = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local id, ends, keep, claim = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local known = redis.call('HMGET', KEYS[1], 'owner', 'count')
if not known[1] then return -1 end
if known[1] ~= owner then return 0 end
if facts ~= '' then
  redis.call('HSET', KEYS[1], 'facts', facts)
  while redis.call('ZCARD', KEYS[3]) + redis.call('ZCARD', KEYS[4]) > tonumber(ARGV[10]) do
    local oldest = redis.call('ZPOPMIN', KEYS[4])[1]
    if not oldest then break end
    redis.call('DEL', 'headrace:retained:' .. oldest, 'headrace:events:' .. oldest)
  end
end
if events ~= '' and tonumber(last) > tonumber(known[2] or '0') then
  redis.call('XADD', KEYS[2], last .. '-0', 's', first, 'e', events)
  redis.call('HSET', KEYS[1], 'count', last)
  redis.call('PEXPIREAT', KEYS[2], redis.call('PEXPIRETIME', KEYS[1]))
end
if ends == 'forget' then
  redis.call('DEL', KEYS[1])
  redis.call('PEXPIRE', KEYS[2], 10000)
  redis.call('ZREM', KEYS[3], id)
  if claim ~= '' then
    local held = redis.call('GET', claim)
    if held and string.match(held, '^%S+') == id then redis.call('DEL', claim) end
  end
elseif ends ~= '' then
  redis.call('HSET', KEYS[1], 'owner', '')
  redis.call('PEXPIRE', KEYS[1], keep)
  redis.call('PEXPIRE', KEYS[2], keep)
  redis.call('ZREM', KEYS[3], id)
  redis.call('ZADD', KEYS[4], now, id)
  if claim ~= '' then
    local held = redis.call('GET', claim)
    if held and string.match(held, '^%S+') == id then
      if ends == 'free' then redis.call('DEL', claim) else redis.call('PEXPIRE', claim, keep) end
    end
  end
end
return 1
"""
)
"""Keys: head, events, running, ended. Arguments: owner, places of the first and last event, events, facts, id, how it
ends (`keep`, `free`, or `forget`, after which only its readers find its events, for ten seconds), how long it is kept
then, its key, most that is kept. What says facts is accepted, and makes room. Returns 1; 0 if another owns it; -1 if it
is not there."""

RENEW = (
    _NOW
    + """
local found = {}
for i = 3, #ARGV do
  local owner = redis.call('HGET', 'headrace:retained:' .. ARGV[i], 'owner')
  if not owner then found[#found + 1] = -1
  elseif owner ~= ARGV[1] then found[#found + 1] = 0
  else
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[i])
    found[#found + 1] = 1
  end
end
return found
"""
)
"""Keys: running. Arguments: owner, lease (one of 0 gives it up), ids. Returns for each id what `WRITE` returns."""

CLAIM = (
    _NOW
    + """
while true do
  local id = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)[1]
  if not id then return '' end
  if redis.call('EXISTS', 'headrace:retained:' .. id) == 1 then
    redis.call('HSET', 'headrace:retained:' .. id, 'owner', ARGV[1])
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), id)
    return id
  end
  redis.call('ZREM', KEYS[1], id)
end
"""
)
"""Keys: running. Arguments: owner, lease. Returns the id of an orphan that is the caller's now, or nothing."""
