//! Units of configuration keys, by the end of the key's path.

/// The longest end of a path decides.
const UNITS: &[(&str, &str)] = &[
    ("alarm_below", "share of probes"),
    ("audit.keep", "files"),
    ("audit.max_bytes", "bytes"),
    ("block_size", "tokens"),
    ("bound", "points"),
    ("cache.max_entries", "answers"),
    ("cached_per_million", "currency per million tokens"),
    ("calibration.mean", "raw score"),
    ("calibration.std", "raw score"),
    ("canaries", "share of judged turns"),
    ("cluster.floor", "share of each quota"),
    ("completion_per_million", "currency per million tokens"),
    ("floor", "reward"),
    ("fusion.beta", "reward"),
    ("fusion.delta", "score"),
    ("hedge", "share of attempts"),
    ("hero.alpha", "reward"),
    ("hero.beta", "reward"),
    ("hero.max_weight", "factor"),
    ("hero.min_weight", "factor"),
    ("hero.pass", "points"),
    ("hero.spread", "score"),
    ("hero.steepness", "per unit of score"),
    ("instances", "sessions"),
    ("judging.dropout", "share of criteria"),
    ("judging.weight", "turns of the queue"),
    ("ledger.max_bytes", "bytes"),
    ("ledger.queue_bytes", "bytes"),
    ("limits.max_messages", "messages"),
    ("limits.max_rollouts", "rollouts"),
    ("max_batch", "sequences"),
    ("max_bodies_bytes", "bytes"),
    ("max_body_bytes", "bytes"),
    ("max_concurrent", "attempts"),
    ("max_concurrent_requests", "requests"),
    ("max_connections", "connections"),
    ("max_deadline_ms", "milliseconds"),
    ("max_message_bytes", "bytes"),
    ("max_queued", "questions"),
    ("max_tokens", "tokens"),
    ("min_rate", "bytes per second"),
    ("models.NAME.cache", "scores"),
    ("models.NAME.queue", "turns"),
    ("per_day", "currency"),
    ("per_run", "currency"),
    ("prompt_per_million", "currency per million tokens"),
    ("reload.share", "share of requests"),
    ("replicas_max", "servers"),
    ("requests_per_minute", "requests per minute"),
    ("requests_per_second", "requests per second"),
    ("retries", "attempts"),
    ("rubrics.max_bytes", "bytes"),
    ("rubrics.max_criteria", "criteria"),
    ("rubrics.points", "points"),
    ("scale", "points per unit of the source's value"),
    ("sources.NAME.batch", "turns"),
    ("sources.NAME.beta", "points"),
    ("sources.NAME.k", "standard deviations"),
    ("sources.NAME.max_queued", "turns"),
    ("sources.NAME.max_reply_bytes", "bytes"),
    ("sources.NAME.max_request_bytes", "bytes"),
    ("sources.NAME.output", "index"),
    ("sources.NAME.share", "share of the groups"),
    ("sources.NAME.weight", "factor"),
    ("threads", "threads"),
    ("token_budget", "tokens"),
    ("tokens_per_minute", "tokens per minute"),
    ("weights.judge", "reward per `bound` points"),
    ("weights.other", "reward per `bound` points"),
    ("weights.rm", "reward per unit of score"),
    ("weights.rules", "reward per `bound` points"),
];

/// The unit of the key at `path`, if it has one.
pub(super) fn unit(path: &str) -> Option<&'static str> {
    let ends = |end: &str| {
        path.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    UNITS
        .iter()
        .filter(|(end, _)| ends(end))
        .max_by_key(|(end, _)| end.len())
        .map(|(_, unit)| *unit)
}

/// Ends of paths that no key has.
#[cfg(test)]
pub(super) fn unused(paths: &std::collections::BTreeSet<String>) -> Vec<&'static str> {
    let is_used =
        |end: &str| paths.iter().any(|path| path == end || path.ends_with(&format!(".{end}")));
    UNITS.iter().map(|(end, _)| *end).filter(|end| !is_used(end)).collect()
}
