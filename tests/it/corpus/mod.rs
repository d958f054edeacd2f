//! Recorded requests and replies of the first edition of the wire. Every later edition must answer
//! them at least as well.
//!
//! `tests/corpus/replies/*.json` holds the recordings, `tests/corpus/servers/` the configurations
//! of the servers that answered them, `tests/corpus/configurations/` configuration files with their
//! meaning. `tests/corpus/README.md` states the rule of comparison. `GUERDON_RECORD=1` writes the
//! replies instead of comparing them.
//!
//! | file | content |
//! |---|---|
//! | `case.rs` | the form of a recording, read and written |
//! | `exchange.rs` | sends a recorded request and reads the reply in the recorded form |
//! | `compare.rs` | the rule "add, never break" |
//! | `normalise.rs` | replaces what differs from run to run before a reply is recorded |
//! | `configurations.rs` | configuration files that must keep their meaning |

mod case;
mod compare;
mod configurations;
mod exchange;
mod normalise;

use std::collections::BTreeMap;

use guerdon_tests::{JudgeReply, Server, StandInJudge};
use serde_json::{Value, json};

use crate::judge::verdict;
use case::{Becomes, Recording, RolloutError};

/// The judges and the server of the recordings of trainers' protocols.
pub(crate) async fn trainers_server() -> (Judges, Server) {
    trainers_server_with("").await
}

/// As [`trainers_server`], with `toml` after its configuration.
pub(crate) async fn trainers_server_with(toml: &str) -> (Judges, Server) {
    let judges = Judges::start().await;
    let server = judges.server_with(&Recording::read("trainers").server, toml).await;
    (judges, server)
}

/// The path and the body of each `POST` of a recording that got a 200.
pub(crate) fn recorded_posts(name: &str) -> Vec<(String, Value)> {
    let cases = Recording::read(name).cases.into_iter();
    let posts = cases.filter(|case| case.request.method == "POST" && case.reply["status"] == 200);
    posts.filter_map(|case| Some((case.request.path, case.request.body?))).collect()
}

/// Scripted judges, in the place of `@JUDGE_…@` in a server's configuration.
pub(crate) struct Judges(Vec<(&'static str, StandInJudge)>);

impl Judges {
    async fn start() -> Self {
        // The recorded replies hold these numbers of tokens and this model.
        let completion =
            |content: &str| JudgeReply::content(content).usage(100, 10).model("stand-in");
        let refusal = JudgeReply::status(400, &json!({ "error": { "message": "no" } }));
        let late = StandInJudge::start_gated([completion(&verdict("warm"))], 0).await;
        let mut judges = vec![("@JUDGE_LATE@", late)];
        for (mark, reply) in [
            ("@JUDGE_COLD@", completion(&verdict("cold"))),
            ("@JUDGE_WARM@", completion(&verdict("warm"))),
            ("@JUDGE_MALFORMED@", completion("I would say ten out of ten.")),
            ("@JUDGE_BROKEN@", refusal),
        ] {
            judges.push((mark, StandInJudge::start([reply]).await));
        }
        Self(judges)
    }

    async fn server(&self, name: &str) -> Server {
        self.server_with(name, "").await
    }

    async fn server_with(&self, name: &str, more: &str) -> Server {
        let mut toml = format!("{}{more}", case::server_file(&format!("{name}.toml")));
        for (mark, judge) in &self.0 {
            toml = toml.replace(mark, judge.url());
        }
        let files =
            ["words.yaml", "kind.md", "operator-token"].map(|name| (name, case::server_file(name)));
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        Server::from_config(&toml, &files).await
    }
}

/// Sends a recording's requests in order; compares each reply with the recorded one, or records it.
async fn replay(name: &str) {
    let mut recording = Recording::read(name);
    let judges = Judges::start().await;
    let server = judges.server(&recording.server).await;
    let mut kept = BTreeMap::new();
    let mut differences = Vec::new();
    for case in &mut recording.cases {
        let reply = exchange::exchange(&server, case, &mut kept).await;
        if case::records() {
            if case.becomes.is_none() {
                case.reply = normalise::normalised(reply, &case.request);
            }
            continue;
        }
        let found = case.becomes.as_ref().map_or_else(
            || compare::differences(&case.reply, &reply),
            |becomes| compare_errors(becomes, &reply),
        );
        differences
            .extend(found.into_iter().map(|found| format!("{name}, `{}`: {found}", case.name)));
    }
    server.stop().await;
    if case::records() {
        recording.write(name);
    }
    assert!(differences.is_empty(), "the wire changed:\n{}", differences.join("\n"));
}

/// Compares a reply with the form of a request that succeeds while some rollouts have errors.
fn compare_errors(becomes: &Becomes, reply: &Value) -> Vec<String> {
    let Becomes { status, results: count, errors } = becomes;
    let results = reply["body"]["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    if reply["status"] != *status || results.len() != *count {
        return vec![format!("is not a {status} with {count} results: {reply}")];
    }
    let mut found = Vec::new();
    for (index, result) in results.iter().enumerate() {
        let matches = match errors.get(&index) {
            None => result["reward"].is_number(),
            Some(RolloutError { code, pointer }) => {
                let error = &result["error"];
                let place = error["pointer"].as_str().unwrap_or_default();
                let same_code = code.as_ref().is_none_or(|code| error["code"] == *code);
                result["reward"].is_null() && same_code && place.starts_with(pointer)
            }
        };
        if !matches {
            found.push(format!("result {index} has not the form of {becomes:?}: {result}"));
        }
    }
    found
}

macro_rules! recordings {
    ($($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                replay(stringify!($name)).await;
            }
        )*

        #[test]
        fn every_recording_is_replayed() {
            assert_eq!(case::names("replies", "json"), [$(stringify!($name)),*]);
        }
    };
}

recordings!(
    busy,
    judge,
    limits,
    operation,
    rate,
    refused,
    reload,
    rollout_errors,
    score,
    tokens,
    trainers,
    trainers_forms,
    trainers_options,
    trainers_refused,
    trainers_under_profile,
    trial,
);
