-- Takes or renews the checkers' lease.
-- KEYS: lease, epoch. ARGV: who, epoch that they led with (0: never), floor, fresh ('1': first claim), ttl in ms.
-- Returns {'granted', epoch} or {'held', epoch, holder}.
local holder = redis.call('GET', KEYS[1])
local epoch = tonumber(redis.call('GET', KEYS[2]) or '0')
local mine = tonumber(ARGV[2])
if holder == ARGV[1] and mine ~= 0 and epoch == mine then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return {'granted', tostring(epoch)}
end
-- Under our own name stands either an earlier life, which a fresh start may follow, or a later one, which it may not.
if holder and not (holder == ARGV[1] and ARGV[4] == '1') then
  return {'held', tostring(epoch), holder}
end
epoch = math.max(epoch, tonumber(ARGV[3])) + 1
redis.call('SET', KEYS[2], string.format('%d', epoch))
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[5])
return {'granted', string.format('%d', epoch)}
