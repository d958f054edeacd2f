//! Writes batches, and removes rollouts.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error as DatabaseError, Transaction};

use super::columns::{Names, RolloutColumns, TurnColumns, id, names, text};
use super::read::{condition, parameters};
use super::{Connection, LOCK, wait};
use crate::prepare::PreparedRollout;
use crate::store::retention::{STEP, remove};
use crate::sums::Sums;
use crate::{Error, RolloutFilter, schema};

const ROLLOUTS: &str = "INSERT INTO rollouts (recorded_ms, request_id, rollout, group_name, attempt, \
    sample, run, step, split, profile, versions, digest, reward, advantage, error, cost, \
    judge_calls, scoring_ms, dialogue_hash, dialogue, result) \
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], \
    $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], \
    $12::bigint[], $13::float8[], $14::float8[], $15::bigint[], $16::float8[], $17::bigint[], \
    $18::float8[], $19::bytea[], $20::bytea[], $21::bytea[]) RETURNING id";

const TURNS: &str = "INSERT INTO turns (rollout, turn, reward, enhancement, length) \
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::float8[], $4::float8[], $5::bigint[])";

const PARTS: &str = "INSERT INTO parts (rollout, turn, source, kind, value, term, uncertainty, veto, \
    why, reason) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], \
    $5::float8[], $6::float8[], $7::float8[], $8::bigint[], $9::bigint[], $10::bigint[])";

const COMPONENTS: &str = "INSERT INTO components (rollout, turn, source, name, shadow, value) \
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], \
    $6::float8[]) ON CONFLICT DO NOTHING";

const REWARD_SUMS: &str = "INSERT INTO step_rewards AS s (run, step, split, profile, digest, \
    rollouts, missing, total, squares, cost, last_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
    ON CONFLICT (run, step, split, profile, digest) DO UPDATE SET \
    rollouts = s.rollouts + excluded.rollouts, missing = s.missing + excluded.missing, \
    total = s.total + excluded.total, squares = s.squares + excluded.squares, \
    cost = s.cost + excluded.cost, last_ms = greatest(s.last_ms, excluded.last_ms)";

const SOURCE_SUMS: &str = "INSERT INTO step_sources AS s (run, step, split, profile, digest, \
    source, turns, valued, abstained, vetoed, total, squares, last_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
    ON CONFLICT (run, step, split, profile, digest, source) DO UPDATE SET \
    turns = s.turns + excluded.turns, valued = s.valued + excluded.valued, \
    abstained = s.abstained + excluded.abstained, vetoed = s.vetoed + excluded.vetoed, \
    total = s.total + excluded.total, squares = s.squares + excluded.squares, \
    last_ms = greatest(s.last_ms, excluded.last_ms)";

const VERSIONS: &str = "INSERT INTO versions (hash, profile, digest, generation, json) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";

/// The bytes of some rollouts with their rows and indexes: texts, and the size of a row without them.
const SIZE: &str = "(SELECT coalesce(sum(500 + octet_length(result) \
    + coalesce(octet_length(dialogue), 0) + octet_length(rollout) + octet_length(request_id) \
    + coalesce(octet_length(group_name), 0)), 0) FROM rollouts WHERE id {some}) \
    + (SELECT 100 * count(*) FROM turns WHERE rollout {some}) \
    + (SELECT 180 * count(*) FROM parts WHERE rollout {some}) \
    + (SELECT 140 * count(*) FROM components WHERE rollout {some})";

/// Adds the bytes of some rollouts to those of the ledger, or takes them away.
fn count_bytes(sign: char, some: &str) -> String {
    let size = SIZE.replace("{some}", some);
    format!(
        "UPDATE ledger_meta SET value = (value::bigint {sign} ({size}))::text WHERE name = 'bytes'"
    )
}

/// Removes names and versions, which may be texts of clients, with the last rollout.
const FORGET: &str = "DELETE FROM versions WHERE NOT EXISTS (SELECT 1 FROM rollouts); \
    DELETE FROM strings WHERE NOT EXISTS (SELECT 1 FROM rollouts)";

impl Connection {
    /// Writes `batch` in one transaction.
    pub(super) fn append(&mut self, batch: Vec<PreparedRollout>) -> Result<(), Error> {
        let Self { client, runtime } = self;
        wait(runtime, async {
            let transaction = client.transaction().await?;
            transaction
                .batch_execute(&format!("SELECT pg_advisory_xact_lock_shared({LOCK})"))
                .await?;
            let names = name_ids(&transaction, names(&batch)).await?;
            let versions = version_ids(&transaction, &batch, &names).await?;
            let (rollouts, turns) = RolloutColumns::of(batch, &names, &versions);
            let ids = insert(&transaction, &rollouts).await?;
            insert_turns(&transaction, &TurnColumns::of(&ids, &turns, &names)).await?;
            add_sums(&transaction, &rollouts.sums(&turns, &names)).await?;
            transaction.execute(&count_bytes('+', "= ANY($1::bigint[])"), &[&ids]).await?;
            transaction.commit().await
        })
    }

    /// Removes at most 1,000 rollouts of a selection.
    pub(super) fn remove_step(&mut self, filter: &RolloutFilter) -> Result<usize, Error> {
        let (condition, values) = condition(filter);
        let select = schema::numbered(&format!(
            "INSERT INTO doomed SELECT r.id FROM rollouts r WHERE {condition} ORDER BY r.id \
             LIMIT {STEP}"
        ));
        let Self { client, runtime } = self;
        let removed = wait(runtime, async {
            let transaction = client.transaction().await?;
            let doomed = format!(
                "SELECT pg_advisory_xact_lock({LOCK}); \
                 CREATE TEMP TABLE IF NOT EXISTS doomed (id BIGINT PRIMARY KEY)"
            );
            transaction.batch_execute(&doomed).await?;
            let removed = transaction.execute(&select, &parameters(&values)).await?;
            if removed > 0 {
                let bytes = count_bytes('-', "IN (SELECT id FROM doomed)");
                transaction.execute(&bytes, &[]).await?;
                transaction.batch_execute(&remove("(reward IS NULL)::int")).await?;
                transaction.batch_execute(FORGET).await?;
            }
            transaction.commit().await?;
            Ok::<_, DatabaseError>(removed)
        })?;
        Ok(usize::try_from(removed).unwrap_or(usize::MAX))
    }

    /// The bytes of all rows.
    pub(super) fn bytes(&self) -> Result<u64, Error> {
        let sql = "SELECT value::bigint FROM ledger_meta WHERE name = 'bytes'";
        let row = wait(&self.runtime, self.client.query_opt(sql, &[]))?;
        let bytes: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
        Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default())
    }
}

/// The ids of names, which get rows if they have none. In one order, so that servers that write the
/// same names do not block each other.
async fn name_ids(
    transaction: &Transaction<'_>,
    names: BTreeSet<String>,
) -> Result<Names, DatabaseError> {
    let names: Vec<String> = names.into_iter().collect();
    let find = "SELECT text, id FROM strings WHERE text = ANY($1::text[])";
    let mut ids = read_ids(transaction, find, &names).await?;
    let missing: Vec<&String> = names.iter().filter(|name| !ids.contains_key(*name)).collect();
    if !missing.is_empty() {
        let add = "INSERT INTO strings (text) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING";
        transaction.execute(add, &[&missing]).await?;
        ids = read_ids(transaction, find, &names).await?;
    }
    Ok(ids)
}

async fn read_ids(
    transaction: &Transaction<'_>,
    find: &str,
    texts: &[String],
) -> Result<BTreeMap<String, i64>, DatabaseError> {
    let rows = transaction.query(find, &[&texts]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// The ids of versions by their hash.
async fn version_ids(
    transaction: &Transaction<'_>,
    batch: &[PreparedRollout],
    names: &Names,
) -> Result<BTreeMap<String, i64>, DatabaseError> {
    let versions: BTreeMap<&String, _> =
        batch.iter().map(|rollout| (&rollout.versions.hash, &rollout.versions)).collect();
    let hashes: Vec<String> = versions.keys().map(|hash| (*hash).clone()).collect();
    let find = "SELECT hash, id FROM versions WHERE hash = ANY($1::text[])";
    let known = read_ids(transaction, find, &hashes).await?;
    if known.len() == hashes.len() {
        return Ok(known);
    }
    for (hash, one) in versions.into_iter().filter(|(hash, _)| !known.contains_key(*hash)) {
        let digest = one.digest.as_ref().and_then(|digest| id(names, digest));
        let generation = i64::try_from(one.generation).unwrap_or(i64::MAX);
        let (profile, json) = (id(names, &one.profile), text(&one.json));
        transaction.execute(VERSIONS, &[hash, &profile, &digest, &generation, &json]).await?;
    }
    read_ids(transaction, find, &hashes).await
}

async fn insert(
    transaction: &Transaction<'_>,
    c: &RolloutColumns,
) -> Result<Vec<i64>, DatabaseError> {
    let columns: [&(dyn ToSql + Sync); 21] = [
        &c.recorded_ms,
        &c.request_id,
        &c.rollout,
        &c.group_name,
        &c.attempt,
        &c.sample,
        &c.run,
        &c.step,
        &c.split,
        &c.profile,
        &c.versions,
        &c.digest,
        &c.reward,
        &c.advantage,
        &c.error,
        &c.cost,
        &c.judge_calls,
        &c.scoring_ms,
        &c.dialogue_hash,
        &c.dialogue,
        &c.result,
    ];
    let rows = transaction.query(ROLLOUTS, &columns).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

async fn insert_turns(
    transaction: &Transaction<'_>,
    columns: &TurnColumns,
) -> Result<(), DatabaseError> {
    let TurnColumns { turns: t, parts: p, components: c } = columns;
    let turns: [&(dyn ToSql + Sync); 5] =
        [&t.rollout, &t.turn, &t.reward, &t.enhancement, &t.length];
    transaction.execute(TURNS, &turns).await?;
    let parts: [&(dyn ToSql + Sync); 10] = [
        &p.rollout,
        &p.turn,
        &p.source,
        &p.kind,
        &p.value,
        &p.term,
        &p.uncertainty,
        &p.veto,
        &p.why,
        &p.reason,
    ];
    transaction.execute(PARTS, &parts).await?;
    let components: [&(dyn ToSql + Sync); 6] =
        [&c.rollout, &c.turn, &c.source, &c.name, &c.shadow, &c.value];
    transaction.execute(COMPONENTS, &components).await?;
    Ok(())
}

async fn add_sums(transaction: &Transaction<'_>, sums: &Sums) -> Result<(), DatabaseError> {
    let mut rewards: Vec<_> = sums.rewards.iter().collect();
    rewards.sort_unstable_by_key(|(key, _)| **key);
    for (key, own) in rewards {
        let row: [&(dyn ToSql + Sync); 11] = [
            &key.run,
            &key.step,
            &key.split,
            &key.profile,
            &key.digest,
            &own.rollouts,
            &own.missing,
            &own.total,
            &own.squares,
            &own.cost,
            &own.last_ms,
        ];
        transaction.execute(REWARD_SUMS, &row).await?;
    }
    let mut sources: Vec<_> = sums.sources.iter().collect();
    sources.sort_unstable_by_key(|(key, _)| **key);
    for ((key, source), own) in sources {
        let row: [&(dyn ToSql + Sync); 13] = [
            &key.run,
            &key.step,
            &key.split,
            &key.profile,
            &key.digest,
            source,
            &own.turns,
            &own.valued,
            &own.abstained,
            &own.vetoed,
            &own.total,
            &own.squares,
            &own.last_ms,
        ];
        transaction.execute(SOURCE_SUMS, &row).await?;
    }
    Ok(())
}
