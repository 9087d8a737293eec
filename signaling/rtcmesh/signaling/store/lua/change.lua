-- Change a member's presence or home relay, once: changes of an attachment are numbered. A full store takes them,
-- since each replaces the one before.
local ATTACHMENT, NUMBER, WHAT, VALUE = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], ARGV[10]

enter(LINEAGE, RUN)
local member = attached(PEER, ATTACHMENT)
if not member then
  return { 'detached' }
end
if NUMBER > member.c then
  member.c = NUMBER
  save_member(PEER, member)
  if WHAT == 'presence' then
    set_presence(PEER, VALUE)
  else
    set_relay(PEER, VALUE)
  end
  finish()
end
return { 'ok' }
