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
