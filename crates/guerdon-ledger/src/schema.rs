//! The tables of a ledger, for every database.
//!
//! | table | one row for |
//! |---|---|
//! | `strings` | a text that many rows repeat: runs, profiles, digests, sources, reasons, rules |
//! | `versions` | an object `versions` of a reply, with its profile, digest and generation |
//! | `rollouts` | a scored rollout, or one that could not be scored |
//! | `turns` | a scored turn of a rollout |
//! | `parts` | a source's answer on a turn, or its abstention, or both |
//! | `components` | a number that a source's value is made of: a rule, a criterion, an objective |
//! | `step_rewards` | sums over the rollouts of a run, step, split, profile and digest |
//! | `step_sources` | sums over the parts of a source, by the same keys |
//!
//! A missing number is `NULL`, never 0. Names are ids of `strings`, but for `request_id`, `rollout`
//! and `group_name`, which rarely repeat. `rollouts.id` grows with the time of recording and is not
//! given twice. A key of the sums has 0 where a rollout has no run, split or digest, and -1 where it
//! has no step. Ids of `strings` start at 1.

/// The version of the tables.
pub const VERSION: i64 = 1;

/// `SQLite`'s `application_id` of a ledger: `grdL`.
pub(crate) const APPLICATION: i64 = 0x6772_644c;

/// The tables, with placeholders for the words in which databases differ.
const TABLES: &str = "
CREATE TABLE ledger_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE strings (id {id}, text TEXT NOT NULL UNIQUE);
CREATE TABLE versions (
    id {id},
    hash TEXT NOT NULL UNIQUE,
    profile {int} NOT NULL,
    digest {int},
    generation {int} NOT NULL,
    json TEXT NOT NULL
);
CREATE TABLE rollouts (
    id {id},
    recorded_ms {int} NOT NULL,
    request_id TEXT NOT NULL,
    rollout TEXT NOT NULL,
    group_name TEXT,
    attempt {int},
    sample {int},
    run {int},
    step {int},
    split {int},
    profile {int} NOT NULL,
    versions {int} NOT NULL,
    digest {int},
    reward {real},
    advantage {real},
    error {int},
    cost {real} NOT NULL,
    judge_calls {int} NOT NULL,
    scoring_ms {real},
    dialogue_hash {blob},
    dialogue {blob},
    result {blob} NOT NULL
);
CREATE TABLE turns (
    rollout {int} NOT NULL,
    turn {int} NOT NULL,
    reward {real},
    enhancement {real},
    length {int},
    PRIMARY KEY (rollout, turn)
) {without_rowid};
CREATE TABLE parts (
    rollout {int} NOT NULL,
    turn {int} NOT NULL,
    source {int} NOT NULL,
    kind {int},
    value {real},
    term {real},
    uncertainty {real},
    veto {int} NOT NULL,
    why {int},
    reason {int},
    PRIMARY KEY (rollout, turn, source)
) {without_rowid};
CREATE TABLE components (
    rollout {int} NOT NULL,
    turn {int} NOT NULL,
    source {int} NOT NULL,
    name {int} NOT NULL,
    shadow {int} NOT NULL,
    value {real} NOT NULL,
    PRIMARY KEY (rollout, turn, source, name, shadow)
) {without_rowid};
CREATE TABLE step_rewards (
    run {int} NOT NULL,
    step {int} NOT NULL,
    split {int} NOT NULL,
    profile {int} NOT NULL,
    digest {int} NOT NULL,
    rollouts {int} NOT NULL,
    missing {int} NOT NULL,
    total {real} NOT NULL,
    squares {real} NOT NULL,
    cost {real} NOT NULL,
    last_ms {int} NOT NULL,
    PRIMARY KEY (run, step, split, profile, digest)
) {without_rowid};
CREATE TABLE step_sources (
    run {int} NOT NULL,
    step {int} NOT NULL,
    split {int} NOT NULL,
    profile {int} NOT NULL,
    digest {int} NOT NULL,
    source {int} NOT NULL,
    turns {int} NOT NULL,
    valued {int} NOT NULL,
    abstained {int} NOT NULL,
    vetoed {int} NOT NULL,
    total {real} NOT NULL,
    squares {real} NOT NULL,
    last_ms {int} NOT NULL,
    PRIMARY KEY (run, step, split, profile, digest, source)
) {without_rowid};
CREATE INDEX rollouts_by_run ON rollouts (run, step, reward);
CREATE INDEX rollouts_by_group ON rollouts (group_name, run) WHERE group_name IS NOT NULL;
CREATE INDEX rollouts_by_name ON rollouts (rollout);
CREATE INDEX rollouts_by_digest ON rollouts (digest, id);
CREATE INDEX rollouts_by_profile ON rollouts (profile, recorded_ms);
CREATE INDEX rollouts_by_time ON rollouts (recorded_ms);
CREATE INDEX parts_silent ON parts (source, why, rollout) WHERE why IS NOT NULL;
CREATE INDEX components_by_name ON components (name, rollout);
";

/// The tables in the words of `SQLite`.
pub(crate) fn sqlite() -> String {
    TABLES
        .replace("{id}", "INTEGER PRIMARY KEY AUTOINCREMENT")
        .replace("{int}", "INTEGER")
        .replace("{real}", "REAL")
        .replace("{blob}", "BLOB")
        .replace("{without_rowid}", "WITHOUT ROWID")
}
