//! Clients, and the check of what they receive.

use std::net::SocketAddr;
use std::time::Duration;

use guerdon_tests::{WireConnection, WireReply, wire_request};
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::known::{Dialogue, KnownPacks};

/// The longest wait for a reply. Longer than every timeout of the server.
const PATIENCE: Duration = Duration::from_secs(20);

/// The form of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    Streamed,
    OpenRlhf,
}

/// A request that a client must get answered.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) form: Form,
    pub(crate) dialogues: Vec<Dialogue>,
}

/// The outcome of sending a job once.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Numbers of dialogues with a reward that was checked.
    pub(crate) rewarded: Vec<u32>,
    /// The job has to be sent again: a broken connection, an overload, or no reward for a reason
    /// that the reply gives.
    pub(crate) again: Option<String>,
    /// A broken promise of the server.
    pub(crate) violations: Vec<String>,
}

impl Job {
    pub(crate) fn random(random: &mut StdRng) -> Self {
        let mut dialogues: Vec<Dialogue> =
            (0..random.random_range(1..12)).map(|_| Dialogue::random(random)).collect();
        // Two rollouts of one id would be an error.
        dialogues.sort_by_key(|dialogue| dialogue.number);
        dialogues.dedup();
        let form = match random.random_range(0..10) {
            0..6 => Form::Whole,
            6..9 => Form::Streamed,
            _ => Form::OpenRlhf,
        };
        Self { form, dialogues }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let rollouts: Vec<Value> = self.dialogues.iter().map(Dialogue::rollout).collect();
        let body = json!({ "rollouts": rollouts }).to_string();
        let json = ("content-type", "application/json");
        match self.form {
            Form::Whole => wire_request("POST", "/v1/score", &[json], body.as_bytes()),
            Form::Streamed => wire_request(
                "POST",
                "/v1/score",
                &[json, ("accept", "application/x-ndjson")],
                body.as_bytes(),
            ),
            Form::OpenRlhf => {
                let queries: Vec<String> = self.dialogues.iter().map(Dialogue::query).collect();
                let body = json!({ "query": queries }).to_string();
                wire_request("POST", "/get_reward", &[json], body.as_bytes())
            }
        }
    }

    /// Sends the job and checks the reply.
    pub(crate) fn send(&self, address: SocketAddr, packs: &KnownPacks) -> Outcome {
        let mut outcome = Outcome::default();
        let mut connection = match WireConnection::open(address) {
            Ok(connection) => connection,
            Err(error) => {
                outcome.again = Some(format!("connect: {error}"));
                return outcome;
            }
        };
        drop(connection.limit(PATIENCE));
        let sent = connection.send(&self.bytes());
        match connection.reply() {
            Ok(reply) => self.check(&reply, packs, &mut outcome),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                outcome.violations.push(format!("no answer within {PATIENCE:?}"));
            }
            Err(error) => {
                let error = sent.err().unwrap_or(error);
                outcome.again = Some(format!("connection: {error}"));
            }
        }
        outcome
    }

    fn check(&self, reply: &WireReply, packs: &KnownPacks, outcome: &mut Outcome) {
        match (reply.status, self.form) {
            (200, Form::Whole) => {
                let body = reply.json();
                let results = body["results"].as_array().cloned().unwrap_or_default();
                self.check_results(&results, &body["versions"], packs, outcome);
            }
            (200, Form::Streamed) => {
                let lines: Vec<Value> = reply
                    .text()
                    .lines()
                    .map(|line| serde_json::from_str(line).unwrap_or_default())
                    .collect();
                let Some((summary, lines)) = lines.split_last() else {
                    outcome.violations.push("an empty stream".into());
                    return;
                };
                let mut lines = lines.to_vec();
                lines.sort_by_key(|line| line["index"].as_u64());
                if summary["results"] != lines.len() {
                    outcome
                        .violations
                        .push(format!("{} lines and the summary {summary}", lines.len()));
                }
                self.check_results(&lines, &summary["versions"], packs, outcome);
            }
            // The reply names no versions: the reward must be that of one of the known packs.
            (200, Form::OpenRlhf) => {
                let rewards = reply.json()["rewards"].as_array().cloned().unwrap_or_default();
                if rewards.len() != self.dialogues.len() {
                    outcome.violations.push(format!(
                        "{} rewards for {} queries",
                        rewards.len(),
                        self.dialogues.len()
                    ));
                }
                for (dialogue, reward) in self.dialogues.iter().zip(&rewards) {
                    if packs.is_reward_of_some(dialogue, reward) {
                        outcome.rewarded.push(dialogue.number);
                    } else {
                        outcome.violations.push(format!("{dialogue:?} has the reward {reward}"));
                    }
                }
            }
            (503 | 429, _) => {
                // An item without a reward is not an overload: the reply names no time.
                if reply.code() != "unscored" && reply.header("retry-after").is_none() {
                    outcome.violations.push(format!("no Retry-After: {reply:?}"));
                }
                outcome.again = Some(format!("{} {}", reply.status, reply.code()));
            }
            // The server closes a connection that is too slow, and an incomplete body is its sender's.
            (408, _) => outcome.again = Some("408".into()),
            _ => outcome.violations.push(format!("{reply:?}")),
        }
    }

    fn check_results(
        &self,
        results: &[Value],
        versions: &Value,
        packs: &KnownPacks,
        outcome: &mut Outcome,
    ) {
        if results.len() != self.dialogues.len() {
            outcome.violations.push(format!(
                "{} results for {} rollouts",
                results.len(),
                self.dialogues.len()
            ));
        }
        outcome.violations.extend(packs.check_identity(versions).err());
        for (dialogue, result) in self.dialogues.iter().zip(results) {
            let expected = packs.reward(dialogue, versions);
            let own = dialogue.number.to_string();
            let is_own = result["id"].as_str() == Some(own.as_str());
            match result["reward"].as_f64() {
                Some(reward)
                    if is_own
                        && expected.is_some_and(|expected| (reward - expected).abs() < 1e-9) =>
                {
                    outcome.rewarded.push(dialogue.number);
                }
                // No reward, with the reason: the judge could not be asked.
                None if is_own
                    && result["reward"].is_null()
                    && result["error"]["code"] == "unscored" =>
                {
                    outcome.again = Some("unscored".into());
                }
                _ => outcome.violations.push(format!(
                    "expected {expected:?} for {dialogue:?}, by {versions}: {result}"
                )),
            }
        }
    }
}
