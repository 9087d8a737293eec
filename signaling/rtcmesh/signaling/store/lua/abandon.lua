-- Suspend a member of a server whose lease is over, in stream order, and tell that server if it is still there.
local NODE = ARGV[7]

enter(LINEAGE, RUN)
local lease_ends = redis.call('ZSCORE', NODES, NODE)
if lease_ends and tonumber(lease_ends) > NOW then
  return { 'alive' }
end
local member = load_member(PEER)
if member and member.n == NODE then
  suspend(PEER, member)
  append_note(PEER, member.a + 1, 'unavailable')
  finish()
end
redis.call('SREM', AT, ENTRY)
-- Its last member is what the record of a dead server was kept for.
if redis.call('SCARD', AT) == 0 then
  redis.call('ZREM', NODES, NODE)
end
return { 'ok' }
