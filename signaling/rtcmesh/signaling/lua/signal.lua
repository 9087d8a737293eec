-- Put a signal into the stream once, however often it is sent, and answer it the same way each time.
--
-- Returns {ack}, {code of the nack}, or why nothing was done: {late}, {detached}, {out_of_turn}.
local ATTACHMENT, ID, TO, SEALED, REFUSAL = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], ARGV[10], ARGV[11]

enter(LINEAGE, RUN)
if is_late() then
  return { 'late' }
end
local member = attached(ATTACHMENT)
if not member then
  return { 'detached' }
end
local window = LIMITS.signal_window
if ID <= member.i - window or ID > member.i + window then
  return { 'out_of_turn' }
end
if ID <= member.i then
  return { member.x[ID] or 'ack' }
end

-- Whoever left ids out has answered them as unavailable; so it stays.
local refused = {}
for id, code in pairs(member.x) do
  if id > ID - window then
    refused[id] = code
  end
end
for id = member.i + 1, ID - 1 do
  if id > ID - window then
    refused[id] = 'unavailable'
  end
end
member.i, member.x = ID, refused

local refusal = REFUSAL
if refusal == '' and redis.call('HEXISTS', STANDING, TO) == 0 then
  refusal = 'unknown_peer'
end
if refusal ~= '' then
  member.x[ID] = refusal
  save_member(PEER, member)
  return { refusal }
end
save_member(PEER, member)
append('signal', PEER, TO, ID .. ':' .. SEALED)
finish()
return { 'ack' }
