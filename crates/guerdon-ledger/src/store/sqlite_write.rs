//! Writes rows to `SQLite`.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::sqlite::{MAX_NAMES, SqliteStore};
use crate::Error;
use crate::flat::TurnRow;
use crate::prepare::{PreparedRollout, PreparedVersions};
use crate::sums::{SumKey, Sums};

const ROLLOUT: &str = "INSERT INTO rollouts (recorded_ms, request_id, rollout, group_name, attempt, \
    sample, run, step, split, profile, versions, digest, reward, advantage, error, cost, \
    judge_calls, scoring_ms, dialogue_hash, dialogue, result) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
    ?20, ?21)";

const TURN: &str = "INSERT INTO turns (rollout, turn, reward, enhancement, length) \
    VALUES (?1, ?2, ?3, ?4, ?5)";

const PART: &str = "INSERT INTO parts (rollout, turn, source, kind, value, term, uncertainty, veto, \
    why, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

const COMPONENT: &str = "INSERT INTO components (rollout, turn, source, name, shadow, value) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";

const REWARD_SUMS: &str = "INSERT INTO step_rewards (run, step, split, profile, digest, rollouts, \
    missing, total, squares, cost, last_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
    ON CONFLICT (run, step, split, profile, digest) DO UPDATE SET \
    rollouts = rollouts + excluded.rollouts, missing = missing + excluded.missing, \
    total = total + excluded.total, squares = squares + excluded.squares, \
    cost = cost + excluded.cost, last_ms = max(last_ms, excluded.last_ms)";

const SOURCE_SUMS: &str = "INSERT INTO step_sources (run, step, split, profile, digest, source, \
    turns, valued, abstained, vetoed, total, squares, last_ms) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
    ON CONFLICT (run, step, split, profile, digest, source) DO UPDATE SET \
    turns = turns + excluded.turns, valued = valued + excluded.valued, \
    abstained = abstained + excluded.abstained, vetoed = vetoed + excluded.vetoed, \
    total = total + excluded.total, squares = squares + excluded.squares, \
    last_ms = max(last_ms, excluded.last_ms)";

const VERSIONS: &str =
    "INSERT INTO versions (hash, profile, digest, generation, json) VALUES (?1, ?2, ?3, ?4, ?5)";

/// The transaction of one batch.
struct Writing<'a> {
    transaction: &'a Transaction<'a>,
    names: &'a mut HashMap<String, i64>,
    versions: &'a mut HashMap<String, i64>,
    sums: Sums,
}

impl SqliteStore {
    /// Writes `rollouts` in one transaction.
    pub(super) fn write(&mut self, rollouts: &[PreparedRollout]) -> Result<(), Error> {
        if self.names.len() > MAX_NAMES {
            self.names.clear();
        }
        if self.versions.len() > MAX_NAMES {
            self.versions.clear();
        }
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut writing = Writing {
            transaction: &transaction,
            names: &mut self.names,
            versions: &mut self.versions,
            sums: Sums::default(),
        };
        for rollout in rollouts {
            writing.rollout(rollout)?;
        }
        writing.sums()?;
        transaction.commit()?;
        Ok(())
    }
}

impl Writing<'_> {
    fn rollout(&mut self, rollout: &PreparedRollout) -> Result<(), Error> {
        let PreparedRollout { record, group, error, turns, versions, .. } = rollout;
        let labels = &record.labels;
        let (run, split) =
            (self.optional(labels.run.as_deref())?, self.optional(labels.split.as_deref())?);
        let profile = self.name(&versions.profile)?;
        let digest = self.optional(versions.digest.as_deref())?;
        let error = self.optional(error.as_deref())?;
        let version = self.version(versions)?;
        let step = labels.step.and_then(|step| i64::try_from(step).ok());
        self.transaction.prepare_cached(ROLLOUT)?.execute(params![
            record.recorded_ms,
            &*record.request_id,
            record.rollout,
            group,
            record.attempt,
            record.sample,
            run,
            step,
            split,
            profile,
            version,
            digest,
            record.reward,
            record.advantage,
            error,
            record.cost,
            record.judge_calls,
            record.scoring_ms,
            rollout.dialogue_hash,
            rollout.dialogue,
            rollout.result,
        ])?;
        let id = self.transaction.last_insert_rowid();
        let key = SumKey {
            run: run.unwrap_or(0),
            step: step.unwrap_or(-1),
            split: split.unwrap_or(0),
            profile,
            digest: digest.unwrap_or(0),
        };
        let sums = self.sums.rewards.entry(key).or_default();
        sums.add(record.reward, record.cost, record.recorded_ms);
        for turn in turns {
            self.turn(id, turn, (key, record.recorded_ms))?;
        }
        Ok(())
    }

    fn turn(
        &mut self,
        id: i64,
        row: &TurnRow,
        (key, recorded_ms): (SumKey, i64),
    ) -> Result<(), Error> {
        let turn = i64::try_from(row.turn).unwrap_or(i64::MAX);
        let length = row.length.and_then(|length| i64::try_from(length).ok());
        self.transaction.prepare_cached(TURN)?.execute(params![
            id,
            turn,
            row.reward,
            row.enhancement,
            length
        ])?;
        for (source, part) in &row.parts {
            let source = self.name(source)?;
            let kind = self.optional(part.kind.as_deref())?;
            let why = self.optional(part.why.as_deref())?;
            let reason = self.optional(part.reason.as_deref())?;
            self.transaction.prepare_cached(PART)?.execute(params![
                id,
                turn,
                source,
                kind,
                part.value,
                part.term,
                part.uncertainty,
                part.veto,
                why,
                reason
            ])?;
            self.sums.sources.entry((key, source)).or_default().add(part, recorded_ms);
            for ((component, shadow), value) in &part.components {
                let component = self.name(component)?;
                let mut insert = self.transaction.prepare_cached(COMPONENT)?;
                insert.execute(params![id, turn, source, component, shadow, value])?;
            }
        }
        Ok(())
    }

    fn sums(&self) -> Result<(), Error> {
        let mut rewards = self.transaction.prepare_cached(REWARD_SUMS)?;
        for (key, sums) in &self.sums.rewards {
            rewards.execute(params![
                key.run,
                key.step,
                key.split,
                key.profile,
                key.digest,
                sums.rollouts,
                sums.missing,
                sums.total,
                sums.squares,
                sums.cost,
                sums.last_ms
            ])?;
        }
        let mut sources = self.transaction.prepare_cached(SOURCE_SUMS)?;
        for ((key, source), sums) in &self.sums.sources {
            sources.execute(params![
                key.run,
                key.step,
                key.split,
                key.profile,
                key.digest,
                source,
                sums.turns,
                sums.valued,
                sums.abstained,
                sums.vetoed,
                sums.total,
                sums.squares,
                sums.last_ms
            ])?;
        }
        Ok(())
    }

    fn optional(&mut self, name: Option<&str>) -> Result<Option<i64>, Error> {
        name.map(|name| self.name(name)).transpose()
    }

    /// The id of a name in `strings`, which gets a row if it has none.
    fn name(&mut self, name: &str) -> Result<i64, Error> {
        if let Some(id) = self.names.get(name) {
            return Ok(*id);
        }
        let find = "SELECT id FROM strings WHERE text = ?1";
        let mut find = self.transaction.prepare_cached(find)?;
        let id = match find.query_row([name], |row| row.get(0)).optional()? {
            Some(id) => id,
            None => {
                let insert = "INSERT INTO strings (text) VALUES (?1)";
                self.transaction.prepare_cached(insert)?.insert([name])?
            }
        };
        self.names.insert(name.to_owned(), id);
        Ok(id)
    }

    fn version(&mut self, versions: &PreparedVersions) -> Result<i64, Error> {
        if let Some(id) = self.versions.get(&versions.hash) {
            return Ok(*id);
        }
        let find = "SELECT id FROM versions WHERE hash = ?1";
        let mut find = self.transaction.prepare_cached(find)?;
        let id = match find.query_row([&versions.hash], |row| row.get(0)).optional()? {
            Some(id) => id,
            None => {
                let profile = self.name(&versions.profile)?;
                let digest = self.optional(versions.digest.as_deref())?;
                let PreparedVersions { hash, json, generation, .. } = versions;
                let mut insert = self.transaction.prepare_cached(VERSIONS)?;
                insert.insert(params![hash, profile, digest, generation, json])?
            }
        };
        self.versions.insert(versions.hash.clone(), id);
        Ok(id)
    }
}
