//! A ledger gives back what was recorded, within its bounds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod postgres;
mod removal;
mod round_trip;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use guerdon_ledger::{Labels, LedgerReader, RolloutRecord, SqliteStore, Texts};
use guerdon_types::{
    AbstainWhy, Abstention, Finite, FusionConfig, Message, Problem, ProblemCode, Role, Rollout,
    RolloutResult, RuleHit, RulesPart, SourceId, TurnResult, Usage, Versions,
};
use proptest::prelude::*;

fn finite(value: f64) -> Finite {
    Finite::new(value).unwrap()
}

fn hit(rule: &str, points: f64) -> RuleHit {
    let (pack, rule, spans) = ("tone".to_owned(), rule.to_owned(), vec![[0, 2]]);
    RuleHit { pack, rule, points: finite(points), spans, detail: Some("480".into()), veto: false }
}

fn turn(index: usize, points: Option<f64>) -> TurnResult {
    let hits = points.map(|points| vec![hit("greeting", points)]);
    let part = |hits: Vec<RuleHit>| RulesPart {
        points: finite(points.unwrap_or_default()),
        hits,
        ..RulesPart::default()
    };
    let abstained = match points {
        Some(_) => Vec::new(),
        None => vec![Abstention::new(SourceId::from("rules"), AbstainWhy::Deadline, "late: 480")],
    };
    TurnResult {
        index,
        reward: points.map(finite),
        enhancement: points.map(finite),
        rm: None,
        judge: None,
        rules: hits.map(part),
        other: BTreeMap::new(),
        parts: BTreeMap::new(),
        verdict: None,
        abstained,
        beside: None,
    }
}

/// A record of a rollout with one turn; without points the turn's source abstained.
fn record(id: &str, labels: &Labels, group: Option<&str>, points: Option<f64>) -> RolloutRecord {
    let messages =
        vec![Message::new(Role::User, "Hello."), Message::new(Role::Assistant, "Grüße, 480.")];
    let rollout = Rollout { group: group.map(Into::into), messages, ..Rollout::default() };
    let error = points.is_none().then(|| Problem::new(ProblemCode::Unscored, "late: 480 is gone"));
    let result = RolloutResult {
        id: id.into(),
        reward: points.map(finite),
        advantage: None,
        turns: vec![turn(1, points)],
        error,
    };
    let mut versions = Versions::new("hotel".into(), FusionConfig::default(), 3);
    versions.digest = Some("sha256:1".into());
    RolloutRecord {
        recorded_ms: 1_000,
        request_id: "request".into(),
        labels: Arc::new(labels.clone()),
        attempt: None,
        sample: None,
        versions: Arc::new(versions),
        rollout: rollout.into(),
        result,
        usage: Usage::default(),
        scoring_ms: Some(0.5),
    }
}

struct Ledger {
    _folder: tempfile::TempDir,
    store: SqliteStore,
    reader: LedgerReader,
}

impl Ledger {
    fn new(texts: Texts) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/ledger.sqlite");
        let store = SqliteStore::open(&path, texts).unwrap();
        let reader = LedgerReader::open(&path).unwrap();
        Self { _folder: folder, store, reader }
    }

    fn number(&self, sql: &str) -> Option<f64> {
        self.reader.connection().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

fn any_record() -> impl Strategy<Value = RolloutRecord> {
    let name = || prop::option::of("[a-c'é]{1,2}");
    let labels = (name(), prop::option::of(0..4_u64), name());
    // Sixty-fourths, whose decimal texts are short: serde_json reads long ones to the last digit or
    // one unit off.
    let points = prop::option::of((-256..256).prop_map(|points| f64::from(points) / 64.0));
    ("[a-d]", labels, name(), points, 0..5_i64).prop_map(
        |(id, (run, step, split), group, points, time)| {
            let labels = Labels { run, step, split };
            let record = record(&id, &labels, group.as_deref(), points);
            RolloutRecord { recorded_ms: time, ..record }
        },
    )
}
