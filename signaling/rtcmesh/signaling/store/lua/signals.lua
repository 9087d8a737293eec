-- Put signals to members of one room into its stream, each once, however often it is sent, and answer it the same way
-- each time. From the seventh argument on: peer, attachment, id, receiver, sealed, refusal, of each.
--
-- Returns for each: ack, the code of the nack, or why nothing was done: late, detached, out_of_turn.
local ARGUMENTS_EACH = 6

-- A signal that comes alone goes with the nudge, up to so many bytes; more would cost the servers whom it does not concern.
local CARRIED_BYTES = 1024

enter(LINEAGE, RUN)
local late = is_late()
local senders, changed, receivers = {}, {}, {}
local accepted, carried = 0, nil

local function is_member(peer)
  if receivers[peer] == nil then
    receivers[peer] = redis.call('HEXISTS', STANDING, peer) == 1
  end
  return receivers[peer]
end

-- Whoever left ids out has answered them as unavailable; so it stays.
local function take_turn(member, id)
  local refused = {}
  for earlier, code in pairs(member.x) do
    if earlier > id - LIMITS.signal_window then
      refused[earlier] = code
    end
  end
  for skipped = member.i + 1, id - 1 do
    if skipped > id - LIMITS.signal_window then
      refused[skipped] = 'unavailable'
    end
  end
  member.i, member.x = id, refused
end

local function answer(peer, attachment, id, to, sealed, refusal)
  local member = senders[peer]
  if member == nil then
    member = load_member(peer) or false
    senders[peer] = member
  end
  if not member or member.n == '' or member.a ~= attachment then
    return 'detached'
  end
  local window = LIMITS.signal_window
  if id <= member.i - window or id > member.i + window then
    return 'out_of_turn'
  end
  if id <= member.i then
    return member.x[id] or 'ack'
  end
  if id == member.i + 1 and next(member.x) == nil then
    member.i = id
  else
    take_turn(member, id)
  end
  changed[peer] = member
  if refusal == '' and not is_member(to) then
    refusal = 'unknown_peer'
  end
  if refusal ~= '' then
    member.x[id] = refusal
    return refusal
  end
  local data = id .. ':' .. sealed
  append('signal', peer, to, data)
  accepted = accepted + 1
  carried = accepted == 1 and #data <= CARRIED_BYTES and ' ' .. peer .. ' ' .. to .. ' ' .. data
  return 'ack'
end

local answers = {}
for index = 7, #ARGV, ARGUMENTS_EACH do
  answers[#answers + 1] = late and 'late' or answer(
    ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2]), ARGV[index + 3], ARGV[index + 4],
    ARGV[index + 5]
  )
end
for peer, member in pairs(changed) do
  save_member(peer, member)
end
finish(carried)
return answers
