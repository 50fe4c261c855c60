//! The scripts: what a shared store does in one step. The rules are not here: they run in Rust on the opened records, and a
//! script only puts the result in place if nobody else has meanwhile.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use redis::{Cmd, cmd};
use std::sync::OnceLock;

/// A script and its digest.
pub(crate) struct Script {
    text: &'static str,
    digest: OnceLock<String>,
}

/// Replaces a user's records if they are still those that the caller ran a transition on.
///
/// Keys: the user's, the group's memory. Arguments: the memory as the caller knows it; the header of the records as the caller
/// knows them, empty where there were none; `read`, `write` or `delete`; the new value; its lifetime in ms, 0 for ever; the
/// channel to tell, or nothing. Answers: what became of it, the time, and what was found instead.
pub(crate) static EXCHANGE: Script = Script::new(
    r"
local t = redis.call('TIME')
local m = redis.call('GET', KEYS[2])
if m ~= ARGV[1] then return {2, t[1], t[2], m} end
local n = redis.call('STRLEN', KEYS[1])
local h = ''
if n > 0 then h = redis.call('GETRANGE', KEYS[1], 0, 40) end
if h ~= ARGV[2] then
  if n > 262144 then return {3, t[1], t[2], false} end
  return {1, t[1], t[2], redis.call('GET', KEYS[1])}
end
if ARGV[3] == 'write' then
  if ARGV[5] == '0' then redis.call('SET', KEYS[1], ARGV[4])
  else redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) end
elseif ARGV[3] == 'delete' then redis.call('DEL', KEYS[1]) end
if ARGV[6] ~= '' then redis.call('PUBLISH', ARGV[6], '1') end
return {0, t[1], t[2], false}
",
);

/// Replaces one value if it is still what the caller knows; answers what is there now.
///
/// Arguments: what the caller knows, empty for nothing; the new value, empty for none; its lifetime in ms, 0 for ever.
pub(crate) static REPLACE: Script = Script::new(
    r"
local v = redis.call('GET', KEYS[1]) or ''
if v ~= ARGV[1] then return v end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
elseif ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return ARGV[2]
",
);

/// A sign of life: puts it down, forgets who gave none lately, and answers who is alive.
///
/// Key: the hash of nodes. Arguments: the incarnation, what the node says of itself, how long that holds in ms.
pub(crate) static BEAT: Script = Script::new(
    r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], string.format('%d ', now) .. ARGV[2])
else redis.call('HDEL', KEYS[1], ARGV[1]) end
local all = redis.call('HGETALL', KEYS[1])
local live = {}
for i = 1, #all, 2 do
  local at = tonumber(string.match(all[i + 1], '^(%d+) '))
  if not at or now - at > tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], all[i])
  elseif #live < 4096 then live[#live + 1] = all[i]; live[#live + 1] = all[i + 1] end
end
return {t[1], t[2], live}
",
);

/// Puts down a report of a session unless the store has a newer one, which is the answer then. Forgets those of which nothing was
/// heard for long, and the oldest beyond a limit.
///
/// Keys: the reports, when each came. Arguments: the field; the order of the report, which its header names too; the value; how long
/// reports are kept, in ms; how many.
pub(crate) static REPORT: Script = Script::new(
    r"
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known and #known >= 13 then
  local order = 0
  for i = 6, 13 do order = order * 256 + string.byte(known, i) end
  if order >= tonumber(ARGV[2]) then return known end
end
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local last = tonumber(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2] or 0)
local at = string.format('%.0f', math.max(now, last + 1))
redis.call('HSETNX', KEYS[1], 'life', at)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], at, ARGV[1])
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - ARGV[4] * 1000), 'LIMIT', 0, 16)
local over = redis.call('ZCARD', KEYS[2]) - ARGV[5]
if #gone == 0 and over > 0 then gone = redis.call('ZRANGE', KEYS[2], 0, math.min(over, 16) - 1) end
for _, field in ipairs(gone) do
  redis.call('HDEL', KEYS[1], field)
  redis.call('ZREM', KEYS[2], field)
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return false
",
);

/// The reports that came after a time, the oldest first.
///
/// Keys: the reports, when each came. Arguments: the time, as this script told it before; how many at most. Answers: the life of the
/// store, the time up to which it told, how many there were, and fields and values.
pub(crate) static REPORTS: Script = Script::new(
    r"
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local reports, last = {}, ARGV[1]
for i = 1, #found, 2 do
  last = found[i + 1]
  local length = redis.call('HSTRLEN', KEYS[1], found[i])
  if length > 0 and length <= 65536 then
    reports[#reports + 1] = found[i]
    reports[#reports + 1] = redis.call('HGET', KEYS[1], found[i])
  end
end
return {redis.call('HGET', KEYS[1], 'life') or '', last, #found / 2, reports}
",
);

impl Script {
    const fn new(text: &'static str) -> Self {
        Self { text, digest: OnceLock::new() }
    }

    /// What Redis calls it: SHA-1 of the text, which is a name and protects nothing.
    fn digest(&self) -> &str {
        self.digest.get_or_init(|| crate::keys::hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, self.text.as_bytes()).as_ref()))
    }

    /// The call, by digest where the server knows the script.
    pub(crate) fn call(&self, known: bool, keys: &[&str]) -> Cmd {
        let mut call = if known {
            let mut call = cmd("EVALSHA");
            call.arg(self.digest());
            call
        } else {
            let mut call = cmd("EVAL");
            call.arg(self.text);
            call
        };
        call.arg(keys.len());
        for key in keys {
            call.arg(*key);
        }
        call
    }
}
