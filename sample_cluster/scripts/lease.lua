-- Takes, renews or gives back the checkers' lease, or only asks who holds it.
-- KEYS: lease, epoch, canary. ARGV: who, epoch that they led with (0: never), floor, fresh ('1': first claim), ttl in ms,
--       what ('take', 'look' or 'release').
-- Returns {'granted', epoch} or {'held', epoch, holder or '', ms left}.
local holder = redis.call('GET', KEYS[1])
local epoch = tonumber(redis.call('GET', KEYS[2]) or '0')
local mine = tonumber(ARGV[2])
local ours = holder == ARGV[1] and mine ~= 0 and epoch == mine
if ours and ARGV[6] == 'release' then
  redis.call('DEL', KEYS[1])
  return {'held', tostring(epoch), '', '0'}
end
if ours then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return {'granted', tostring(epoch)}
end
-- Under our own name stands either an earlier life, which a fresh start may follow, or a later one, which it may not.
if ARGV[6] ~= 'take' or (holder and not (holder == ARGV[1] and ARGV[4] == '1')) then
  -- Whoever stands by writes too: a server that can be read but not written to is none to lead with.
  redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[5])
  return {'held', tostring(epoch), holder or '', tostring(holder and redis.call('PTTL', KEYS[1]) or -1)}
end
epoch = math.max(epoch, tonumber(ARGV[3])) + 1
redis.call('SET', KEYS[2], string.format('%d', epoch))
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[5])
return {'granted', string.format('%d', epoch)}
