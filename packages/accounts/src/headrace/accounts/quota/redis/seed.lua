-- args: now; and used, each {subject, period, tokens, cost}.

for _, item in ipairs(args.used) do
  local key = budget_key(item[1], item[2])
  redis.call('HSET', key, 'u', int(math.max(get(key, 'u'), item[3])), 'cu', int(math.max(get(key, 'cu'), item[4])))
  redis.call('EXPIRE', key, #item[2] == 8 and DAY_TTL or MONTH_TTL)
end
return 0
