-- End the membership of a suspended member whose resume window is over.
enter(LINEAGE, RUN)
local window_ends = redis.call('ZSCORE', SUSPENDED, ENTRY)
if not window_ends or tonumber(window_ends) > NOW then
  return { 'early' }
end
if load_member(PEER) then
  remove(PEER, 'expired')
else
  redis.call('ZREM', SUSPENDED, ENTRY)
end
finish()
return { 'ok' }
