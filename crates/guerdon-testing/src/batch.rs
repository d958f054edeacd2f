//! Score requests with known rewards, and the replies to them.

use guerdon_types::{
    Finite, FusionConfig, GroupId, Message, Problem, ProblemCode, Role, Rollout, RolloutId,
    RolloutResult, ScoreRequest, ScoreResponse, StreamSummary, StreamedResult, Usage, Versions,
};

/// A request whose rewards will be 0, 1, 2 and so on, with one rollout for each entry of `groups`.
/// The entry is the rollout's group; an empty one means no group.
#[must_use]
pub fn numbered_batch(groups: &[&str]) -> ScoreRequest {
    let rollouts = groups.iter().enumerate().map(|(index, group)| Rollout {
        group: (!group.is_empty()).then(|| GroupId::from(*group)),
        messages: vec![Message::new(Role::Assistant, index.to_string())],
        ..Rollout::default()
    });
    ScoreRequest { rollouts: rollouts.collect(), ..ScoreRequest::default() }
}

/// The reply to `request` from a server in `generation` with the reward model `rm`. A rollout's
/// reward and advantage are the number that its last message spells; another text is an error.
#[must_use]
pub fn score_response(request: &ScoreRequest, generation: u64, rm: &str) -> ScoreResponse {
    let results = request.rollouts.iter().enumerate();
    let results = results.map(|(index, rollout)| rollout_result(index, rollout)).collect();
    let mut versions = Versions::new("hotel".into(), FusionConfig::default(), generation);
    versions.rm = Some(rm.into());
    let usage = Usage { judge_calls: 1, cost: 0.5, ..Usage::default() };
    ScoreResponse::new("q".into(), results, versions, usage)
}

fn rollout_result(index: usize, rollout: &Rollout) -> RolloutResult {
    let id = rollout.id.clone().unwrap_or_else(|| RolloutId::from(index.to_string()));
    let last = rollout.messages.last();
    let reward = last.and_then(|last| last.content.parse().ok()).and_then(|n| Finite::new(n).ok());
    let problem = || Problem::new(ProblemCode::Unscored, "rm abstained").pointer("/rollouts");
    let error = reward.is_none().then(problem);
    RolloutResult { id, reward, advantage: reward, turns: vec![], error }
}

/// The lines of the streamed form of `response`, each with its line end. The results come in
/// reverse order, so that a reader that ignores their indices is found out; then the summary.
#[must_use]
pub fn stream_lines(response: ScoreResponse) -> Vec<String> {
    let ScoreResponse { request_id, results, groups, versions, profiles, usage, .. } = response;
    let count = results.len();
    let summary = StreamSummary { request_id, results: count, groups, versions, profiles, usage };
    let results = results.into_iter().enumerate().rev();
    let lines = results
        .map(|(index, result)| serde_json::to_string(&StreamedResult { index, result }).unwrap());
    lines.chain([serde_json::to_string(&summary).unwrap()]).map(|line| line + "\n").collect()
}
