-- args: now; and ends, each {request_id, owner, tokens, cost}.

for _, item in ipairs(args.ends) do
  local lease = read_lease(item[1])
  if lease and lease.owner == item[2] then
    end_lease(item[1], lease, { tokens = item[3], cost = item[4] })
  end
end
return 0
