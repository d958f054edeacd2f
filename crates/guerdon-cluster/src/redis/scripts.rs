//! The scripts of the store. They are sent with plain `EVAL`, because proxies may refuse `SCRIPT`,
//! and they use commands of Redis 6.2 only. The time is the store's.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, ParsingError, Value};

use crate::keys::Keys;

/// The grace time after a loss of counts, in milliseconds: nothing is granted until every live
/// replica has beaten and written its own counts again.
pub(super) const GRACE_MS: u64 = 1_500;

const BEAT: &str = "\
local t=redis.call('TIME') local now=t[1]*1000+math.floor(t[2]/1000)
redis.call('ZADD',KEYS[1],now,ARGV[1])
redis.call('ZREMRANGEBYSCORE',KEYS[1],'-inf',now-ARGV[2])
redis.call('PEXPIRE',KEYS[1],ARGV[2]*10)
return redis.call('ZRANGE',KEYS[1],0,-1)";

const CLAIM: &str = "\
local a=redis.call('GET',KEYS[1]) if a then return {'stored',a} end
if redis.call('SET',KEYS[2],ARGV[1],'NX','PX',ARGV[2]) then return {'lead',''} end
return {'wait',tostring(redis.call('PTTL',KEYS[2]))}";

/// A value is stored even if the lease has passed to another caller, because it is paid for.
const PUT: &str = "\
redis.call('SET',KEYS[1],ARGV[2],'NX','PX',ARGV[3])
if redis.call('GET',KEYS[2])==ARGV[1] then redis.call('DEL',KEYS[2]) end
redis.call('PUBLISH',ARGV[4],ARGV[5])
return redis.call('GET',KEYS[1])";

const RENEW: &str = "\
if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('PEXPIRE',KEYS[1],ARGV[2]) end
return 0";

const RELEASE: &str = "\
if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end
redis.call('DEL',KEYS[1])
redis.call('PUBLISH',ARGV[2],ARGV[3])
return 1";

const REMOVE: &str = "\
if redis.call('GET',KEYS[1])==ARGV[1] then redis.call('DEL',KEYS[1]) end
return 1";

/// Grants a slice of a quota. The hash has one field `slot:replica` with the units that a replica
/// took in a slot of time, the store's process `e` and the time `et` since which counts are whole.
///
/// `ARGV`: limit, slot length, slots that count, replica, units wanted, least units, store's
/// process, grace, number of reductions, then pairs of slot and units: first the reductions, then
/// the replica's own counts. Returns the units, the wait, the current slot.
const GRANT: &str = "\
local t=redis.call('TIME') local now=t[1]*1000+math.floor(t[2]/1000)
local limit,w,n=tonumber(ARGV[1]),tonumber(ARGV[2]),tonumber(ARGV[3])
local me,want,least=ARGV[4],tonumber(ARGV[5]),tonumber(ARGV[6])
local k,slot=KEYS[1],math.floor(now/w)
if redis.call('HGET',k,'e')~=ARGV[7] then redis.call('HSET',k,'e',ARGV[7],'et',now) end
local back=tonumber(ARGV[9])
for i=1,back do
 local f=ARGV[8+2*i]..':'..me
 local v=tonumber(redis.call('HGET',k,f) or '0')
 redis.call('HSET',k,f,math.max(0,v-tonumber(ARGV[9+2*i])))
end
for i=10+2*back,#ARGV,2 do
 local f=ARGV[i]..':'..me
 local v=tonumber(redis.call('HGET',k,f) or '0')
 if v<tonumber(ARGV[i+1]) then redis.call('HSET',k,f,ARGV[i+1]) end
end
local all=redis.call('HGETALL',k)
local sum,by=0,{}
for i=1,#all,2 do
 local p=string.find(all[i],':',1,true)
 if p then
  local s=tonumber(string.sub(all[i],1,p-1))
  if s<=slot-n then redis.call('HDEL',k,all[i])
  else local v=tonumber(all[i+1]) sum=sum+v by[s]=(by[s] or 0)+v end
 end
end
redis.call('PEXPIRE',k,w*(n+2)+60000)
local whole=tonumber(redis.call('HGET',k,'et'))+tonumber(ARGV[8])
if now<whole then return {0,whole-now,slot} end
local free=limit-sum
if want>0 and free>=least then
 local g=math.min(want,free)
 redis.call('HINCRBY',k,slot..':'..me,g)
 return {g,0,slot}
end
local need=least-free
for s=slot-n+1,slot do
 need=need-(by[s] or 0)
 if need<=0 then return {0,math.max(1,(s+n)*w-now),slot} end
end
return {0,w,slot}";

/// Sets money aside. Accounts are hashes: `s:REPLICA` a replica's settled total, `x` the expired
/// holds, `held` the outstanding ones, `uncounted` the number of expired ones. Holds are a hash of
/// `id` to amount and account keys, and a sorted set of their ends. The field `!e` is the store's
/// process and `!t` the time since which the counts are whole.
///
/// `KEYS`: ends, holds, accounts. `ARGV`: id, amount, lifetime, replica, store's process, grace, then
/// for each account its cap (-1: none) and the replica's own total. An empty id sets nothing aside.
/// Returns a state (1 held, 2 wait, 3 refused), the index of the account, its spent amount and its
/// holds, and the time of `!t`.
const HOLD: &str = "\
local t=redis.call('TIME') local now=t[1]*1000+math.floor(t[2]/1000)
local ends,holds,id,amount,me=KEYS[1],KEYS[2],ARGV[1],tonumber(ARGV[2]),ARGV[4]
local accounts=#KEYS-2
local fresh=redis.call('HGET',holds,'!e')~=ARGV[5]
if fresh then redis.call('HSET',holds,'!e',ARGV[5],'!t',now) end
local since=tonumber(redis.call('HGET',holds,'!t'))
for i=1,accounts do
 local v=tonumber(redis.call('HGET',KEYS[2+i],'s:'..me) or '0')
 if v<tonumber(ARGV[6+2*i]) then redis.call('HSET',KEYS[2+i],'s:'..me,ARGV[6+2*i]) end
end
for _,old in ipairs(redis.call('ZRANGEBYSCORE',ends,'-inf',now,'LIMIT',0,1000)) do
 local h=redis.call('HGET',holds,old)
 if h then
  local a=nil
  for part in string.gmatch(h,'%S+') do
   if not a then a=part else
    redis.call('HINCRBY',part,'x',a) redis.call('HINCRBY',part,'held','-'..a)
    redis.call('HINCRBY',part,'uncounted',1)
   end
  end
  redis.call('HDEL',holds,old)
 end
 redis.call('ZREM',ends,old)
end
local keep=2678400000
redis.call('PEXPIRE',holds,keep) redis.call('PEXPIRE',ends,keep)
for i=1,accounts do redis.call('PEXPIRE',KEYS[2+i],keep) end
if id=='' then return {2,0,0,0,since} end
if now<since+tonumber(ARGV[6]) then return {2,0,0,0,since} end
for i=1,accounts do
 local cap=tonumber(ARGV[5+2*i])
 if cap>=0 then
  local spent,held,all=0,0,redis.call('HGETALL',KEYS[2+i])
  for j=1,#all,2 do
   local f=all[j]
   if f=='held' then held=tonumber(all[j+1])
   elseif f=='x' or string.sub(f,1,2)=='s:' then spent=spent+tonumber(all[j+1]) end
  end
  if spent+amount>cap then return {3,i,spent,held,since} end
  if spent+held+amount>cap then return {2,i,spent,held,since} end
 end
end
local h={amount}
for i=1,accounts do h[i+1]=KEYS[2+i] redis.call('HINCRBY',KEYS[2+i],'held',amount) end
redis.call('HSET',holds,id,table.concat(h,' '))
redis.call('ZADD',ends,now+tonumber(ARGV[3]),id)
return {1,0,0,0,since}";

/// Writes a hold again after a loss of counts, unless it is there.
const HOLD_AGAIN: &str = "\
local t=redis.call('TIME') local now=t[1]*1000+math.floor(t[2]/1000)
if redis.call('HEXISTS',KEYS[2],ARGV[1])==1 then return 0 end
local h={ARGV[2]}
for i=3,#KEYS do h[i-1]=KEYS[i] redis.call('HINCRBY',KEYS[i],'held',ARGV[2]) end
redis.call('HSET',KEYS[2],ARGV[1],table.concat(h,' '))
redis.call('ZADD',KEYS[1],now+tonumber(ARGV[3]),ARGV[1])
return 1";

/// Replaces a hold by the replica's new totals. Returns 0 if the hold has expired: it is booked at
/// its most already. A hold that is missing because the store has lost its counts is none of those.
const SETTLE: &str = "\
local h=redis.call('HGET',KEYS[2],ARGV[1])
if not h and redis.call('HGET',KEYS[2],'!t')==ARGV[3] then return 0 end
if h then
 redis.call('HDEL',KEYS[2],ARGV[1]) redis.call('ZREM',KEYS[1],ARGV[1])
 local a=nil
 for part in string.gmatch(h,'%S+') do
  if not a then a=part else redis.call('HINCRBY',part,'held','-'..a) end
 end
end
for i=3,#KEYS do
 local v=tonumber(redis.call('HGET',KEYS[i],'s:'..ARGV[2]) or '0')
 if v<tonumber(ARGV[i+1]) then redis.call('HSET',KEYS[i],'s:'..ARGV[2],ARGV[i+1]) end
end
return 1";

const PAUSE: &str = "\
if redis.call('PTTL',KEYS[1])<tonumber(ARGV[1]) then redis.call('SET',KEYS[1],'1','PX',ARGV[1]) end
redis.call('PUBLISH',ARGV[2],ARGV[3])
return 1";

fn eval(script: &str, keys: &[String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len()).arg(keys);
    command
}

/// Whole milliseconds, at least one.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 12).clamp(1, u64::MAX >> 12)
}

pub(super) fn beat(keys: &Keys, replica: &str, live_for: Duration) -> Cmd {
    let mut command = eval(BEAT, &[keys.replicas()]);
    command.arg(replica).arg(millis(live_for));
    command
}

/// The reply of [`claim`].
#[derive(Debug)]
pub(super) enum ClaimReply {
    Stored(Vec<u8>),
    Lead,
    Wait(Duration),
}

impl FromRedisValue for ClaimReply {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (state, data): (String, Vec<u8>) = redis::from_redis_value(value)?;
        Ok(match state.as_str() {
            "stored" => Self::Stored(data),
            "lead" => Self::Lead,
            _ => {
                let left = String::from_utf8_lossy(&data).parse::<i64>().unwrap_or_default();
                Self::Wait(Duration::from_millis(u64::try_from(left).unwrap_or_default()))
            }
        })
    }
}

pub(super) fn claim(keys: &Keys, key: &str, token: &str, lease: Duration) -> Cmd {
    let mut command = eval(CLAIM, &[keys.answer(key), keys.lease(key)]);
    command.arg(token).arg(millis(lease));
    command
}

pub(super) fn put(keys: &Keys, key: &str, token: &str, frame: &[u8], ttl: Duration) -> Cmd {
    let mut command = eval(PUT, &[keys.answer(key), keys.lease(key)]);
    command.arg(token).arg(frame).arg(millis(ttl)).arg(keys.done(key)).arg(key);
    command
}

pub(super) fn renew(keys: &Keys, key: &str, token: &str, lease: Duration) -> Cmd {
    let mut command = eval(RENEW, &[keys.lease(key)]);
    command.arg(token).arg(millis(lease));
    command
}

pub(super) fn release(keys: &Keys, key: &str, token: &str) -> Cmd {
    let mut command = eval(RELEASE, &[keys.lease(key)]);
    command.arg(token).arg(keys.done(key)).arg(key);
    command
}

pub(super) fn remove(keys: &Keys, key: &str, frame: &[u8]) -> Cmd {
    let mut command = eval(REMOVE, &[keys.answer(key)]);
    command.arg(frame);
    command
}

/// The arguments of [`grant`].
#[derive(Debug)]
pub(super) struct GrantArguments<'a> {
    pub(super) name: &'a str,
    pub(super) limit: u64,
    pub(super) slot: Duration,
    pub(super) slots: u64,
    pub(super) replica: &'a str,
    pub(super) want: u64,
    pub(super) least: u64,
    pub(super) store_run: &'a str,
    /// Units that this replica gives back, by slot.
    pub(super) back: &'a [(u64, u64)],
    /// The units that this replica has taken, by slot.
    pub(super) own: &'a [(u64, u64)],
}

pub(super) fn grant(keys: &Keys, arguments: &GrantArguments<'_>) -> Cmd {
    let GrantArguments { name, limit, slot, slots, replica, want, least, store_run, back, own } =
        arguments;
    let mut command = eval(GRANT, &[keys.quota(name)]);
    command.arg(limit).arg(millis(*slot)).arg(slots).arg(replica).arg(want).arg(least);
    command.arg(store_run).arg(GRACE_MS).arg(back.len());
    for (slot, units) in back.iter().chain(*own) {
        command.arg(slot).arg(units);
    }
    command
}

/// The keys of the holds and accounts of a scope.
fn budget_keys(keys: &Keys, scope: &str, accounts: &[&str]) -> Vec<String> {
    let mut all = vec![keys.hold_ends(scope), keys.holds(scope)];
    all.extend(accounts.iter().map(|account| keys.account(scope, account)));
    all
}

/// The arguments of [`hold`].
#[derive(Debug)]
pub(super) struct HoldArguments<'a> {
    pub(super) scope: &'a str,
    /// The name, the cap and the replica's own total of each account.
    pub(super) accounts: &'a [(&'a str, Option<u64>, u64)],
    /// Empty to set nothing aside.
    pub(super) id: &'a str,
    pub(super) amount: u64,
    pub(super) lifetime: Duration,
    pub(super) replica: &'a str,
    pub(super) store_run: &'a str,
}

pub(super) fn hold(keys: &Keys, arguments: &HoldArguments<'_>) -> Cmd {
    let HoldArguments { scope, accounts, id, amount, lifetime, replica, store_run } = arguments;
    let names: Vec<&str> = accounts.iter().map(|(name, ..)| *name).collect();
    let mut command = eval(HOLD, &budget_keys(keys, scope, &names));
    command.arg(id).arg(amount).arg(millis(*lifetime)).arg(replica).arg(store_run).arg(GRACE_MS);
    for (_, cap, own) in *accounts {
        let cap = cap.and_then(|cap| i64::try_from(cap).ok()).unwrap_or(-1);
        command.arg(cap).arg(own);
    }
    command
}

pub(super) fn hold_again(
    keys: &Keys,
    (scope, accounts): (&str, &[&str]),
    (id, amount): (&str, u64),
    lifetime: Duration,
) -> Cmd {
    let mut command = eval(HOLD_AGAIN, &budget_keys(keys, scope, accounts));
    command.arg(id).arg(amount).arg(millis(lifetime));
    command
}

pub(super) fn settle(
    keys: &Keys,
    scope: &str,
    accounts: &[(&str, u64)],
    (id, replica, whole_since): (&str, &str, u64),
) -> Cmd {
    let names: Vec<&str> = accounts.iter().map(|(name, _)| *name).collect();
    let mut command = eval(SETTLE, &budget_keys(keys, scope, &names));
    command.arg(id).arg(replica).arg(whole_since);
    for (_, total) in accounts {
        command.arg(total);
    }
    command
}

pub(super) fn pause(keys: &Keys, name: &str, pause: Duration, message: &str) -> Cmd {
    let mut command = eval(PAUSE, &[keys.pause(name)]);
    command.arg(millis(pause)).arg(keys.pauses()).arg(message);
    command
}
