import { createHash } from 'node:crypto'

/** Decides and writes in one step. Each works on one key, so that all run on a Redis Cluster. */
export interface Script { lua: string, sha: string }

/**
 * The fields of a record: `d` the value behind what it is, 't' for text or 'b' for bytes; `v` version, `x`
 * expiry, `c` creation, `p` the hash of its principal or '', `i` until when the index of that principal is
 * sure to have it.
 */
const save = `
  redis.call('HSET', KEYS[1], 'd', ARGV[2], 'v', ARGV[3], 'x', ARGV[4], 'c', ARGV[5],
    'p', ARGV[6], 'i', indexed)
  redis.call('PEXPIRE', KEYS[1], ARGV[4] - ARGV[1])`

/**
 * now, value, version, expiry, creation, principal, indexed until.
 * A driver may send a write again when the connection broke before the answer: the version tells.
 */
export const create = script(`
  local x, v = unpack(redis.call('HMGET', KEYS[1], 'x', 'v'))
  if x and tonumber(x) > tonumber(ARGV[1]) then
    return v == ARGV[3] and 'ok' or 'exists'
  end
  local indexed = ARGV[7]
  ${save}
  return 'ok'`)

/**
 * As create, and the version to replace. Answers 'index' if the index must have the key for longer before.
 */
export const update = script(`
  local x, v, p, i = unpack(redis.call('HMGET', KEYS[1], 'x', 'v', 'p', 'i'))
  if not x or tonumber(x) <= tonumber(ARGV[1]) then return 'missing' end
  if v == ARGV[3] then return 'ok' end
  if v ~= ARGV[8] then return 'conflict' end
  local indexed = ARGV[7]
  if indexed == '' then
    if p ~= ARGV[6] or tonumber(i) < tonumber(ARGV[4]) then return 'index' end
    indexed = i
  end
  ${save}
  return 'ok'`)

/**
 * now, expiry, principal, indexed until. Answers with the principal if its index must have the key for longer
 * before this can be.
 */
export const touch = script(`
  local x, p, i = unpack(redis.call('HMGET', KEYS[1], 'x', 'p', 'i'))
  if not x or tonumber(x) <= tonumber(ARGV[1]) then return 'missing' end
  if p ~= '' and tonumber(i) < tonumber(ARGV[2]) then
    if p ~= ARGV[3] then return p end
    redis.call('HSET', KEYS[1], 'i', ARGV[4])
  end
  redis.call('HSET', KEYS[1], 'x', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[2] - ARGV[1])
  return 'ok'`)

/** now, and the field that must have a value, if any. Answers with the result and the principal. */
export const remove = script(`
  local x, p = unpack(redis.call('HMGET', KEYS[1], 'x', 'p'))
  if not x or tonumber(x) <= tonumber(ARGV[1]) then return { 'missing', '' } end
  if ARGV[2] and redis.call('HGET', KEYS[1], ARGV[2]) ~= ARGV[3] then return { 'conflict', '' } end
  redis.call('DEL', KEYS[1])
  return { 'ok', p }`)

/** now, session key, until when it is in the index. An index lives as long as its last entry. */
export const index = script(`
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
  local score = redis.call('ZSCORE', KEYS[1], ARGV[2])
  if not score or tonumber(score) < tonumber(ARGV[3]) then
    redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
  end
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', tonumber(last) - tonumber(ARGV[1])))`)

function script (lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}
