-- Writes one verdict, or refuses it. The only way into the health table.
-- KEYS: health table, health log, checker epoch, registry (sorted set).
-- ARGV: node, verdict as JSON ('' takes the node off the table), epoch, expected version (0: not in the table),
--       version, old, new, reason, at, length of the log.
-- Returns {'ok'}, {'stale', epoch} or {'conflict', standing verdict or '', its version}.
local leader = tonumber(redis.call('GET', KEYS[3]) or '0')
if tonumber(ARGV[3]) < leader then
  return {'stale', tostring(leader)}
end
local standing = redis.call('HGET', KEYS[1], ARGV[1])
local version = 0
if standing then
  local parsed, verdict = pcall(cjson.decode, standing)
  -- What does not parse can only be overwritten.
  version = parsed and type(verdict) == 'table' and tonumber(verdict['version']) or tonumber(ARGV[4])
end
if version ~= tonumber(ARGV[4]) then
  return {'conflict', standing or '', tostring(version)}
end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  local lease = redis.call('ZSCORE', KEYS[4], ARGV[1])
  if lease and tonumber(lease) < tonumber(ARGV[9]) then
    redis.call('ZREM', KEYS[4], ARGV[1])
  end
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[10], '*', 'node', ARGV[1], 'old', ARGV[6], 'new', ARGV[7],
  'reason', ARGV[8], 'epoch', ARGV[3], 'version', ARGV[5], 'at', ARGV[9])
redis.call('PUBLISH', KEYS[1], ARGV[1])
return {'ok'}
