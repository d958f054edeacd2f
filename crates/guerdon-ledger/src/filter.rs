//! Selection of rollouts.

/// A selection of rollouts. A field that is `None` selects all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RolloutFilter {
    /// The run.
    pub run: Option<String>,
    /// The first step.
    pub first_step: Option<u64>,
    /// The last step.
    pub last_step: Option<u64>,
    /// The split.
    pub split: Option<String>,
    /// The group.
    pub group: Option<String>,
    /// The caller's id of the rollout.
    pub rollout: Option<String>,
    /// The profile.
    pub profile: Option<String>,
    /// The digest of the configuration.
    pub digest: Option<String>,
    /// Set for rollouts with (`false`) or without (`true`) a reward only.
    pub failed: Option<bool>,
    /// The first time of recording, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// The time of recording that is not selected any more, likewise.
    pub until_ms: Option<i64>,
    /// Rollouts with a greater id in the ledger; with [`Self::newest_first`] a smaller one.
    pub after: Option<i64>,
    /// Set to order by descending id.
    pub newest_first: bool,
}

/// A value of a query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Integer(i64),
    Text(String),
}

impl RolloutFilter {
    /// The condition on `rollouts r` with numbered parameters from `?1`, and their values.
    pub(crate) fn condition(&self) -> (String, Vec<Value>) {
        let (mut conditions, mut values) = (vec!["1 = 1".to_owned()], Vec::new());
        let mut add = |condition: &str, value: Value| {
            values.push(value);
            conditions.push(condition.replace('?', &format!("?{}", values.len())));
        };
        for (column, name) in [
            ("run", &self.run),
            ("split", &self.split),
            ("profile", &self.profile),
            ("digest", &self.digest),
        ] {
            if let Some(name) = name {
                let condition = format!("r.{column} = (SELECT id FROM strings WHERE text = ?)");
                add(&condition, Value::Text(name.clone()));
            }
        }
        for (condition, text) in
            [("r.group_name = ?", &self.group), ("r.rollout = ?", &self.rollout)]
        {
            if let Some(text) = text {
                add(condition, Value::Text(text.clone()));
            }
        }
        let step = |step: Option<u64>| step.map(|step| i64::try_from(step).unwrap_or(i64::MAX));
        let after = if self.newest_first { "r.id < ?" } else { "r.id > ?" };
        for (condition, number) in [
            ("r.step >= ?", step(self.first_step)),
            ("r.step <= ?", step(self.last_step)),
            ("r.recorded_ms >= ?", self.since_ms),
            ("r.recorded_ms < ?", self.until_ms),
            (after, self.after),
        ] {
            if let Some(number) = number {
                add(condition, Value::Integer(number));
            }
        }
        match self.failed {
            Some(true) => conditions.push("r.reward IS NULL".to_owned()),
            Some(false) => conditions.push("r.reward IS NOT NULL".to_owned()),
            None => {}
        }
        (conditions.join(" AND "), values)
    }
}
