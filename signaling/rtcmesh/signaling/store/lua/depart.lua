-- End a membership, or suspend it, unless another attachment has taken it over.
local ATTACHMENT, NODE, HOW = tonumber(ARGV[7]), ARGV[8], ARGV[9]

enter(LINEAGE, RUN)
local member = load_member(PEER)
if member and member.n == NODE and member.a ~= ATTACHMENT then
  return { 'detached' } -- the peer is back at this very server
end
redis.call('SREM', AT, ENTRY)
if not member or member.a ~= ATTACHMENT or member.n == '' then
  return { 'detached' }
end
if HOW == 'leave' then
  remove(PEER, 'left')
else
  suspend(PEER, member)
end
finish()
return { 'ok' }
