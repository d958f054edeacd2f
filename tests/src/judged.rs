//! A judge for servers that run as processes: a stand-in endpoint on threads of its own, whose
//! verdict depends on the dialogue alone.

use guerdon_testing::{JudgeReply, StandInJudge};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::ProcessSetup;

/// A judge prompt with one criterion of three levels.
pub(crate) const PROMPT: &str = r#"+++
id = "kind"
about = "Kindness of the reply."
version = 1

[[criteria]]
id = "kind"
kind = "deduct"
about = "The reply is cold to the partner."
fails_empty = true
quote = false
levels = [
  { name = "warm", points = 0, anchor = "It is kind." },
  { name = "cool", points = -10, anchor = "It is neither." },
  { name = "cold", points = -20, anchor = "It is not kind." },
]
+++
# system
You judge one turn. {% for c in criteria %}{{ c.id }}: {{ c.about }} {% endfor %}
# user
{{ dialogue }}
{{ turn }}
"#;

/// Words in a dialogue, with the level that the judge then gives; without any, the level is `warm`.
const LEVELS: [(&str, &str, f64); 2] = [("frosty", "cold", -20.0), ("brisk", "cool", -10.0)];

/// A judge on threads of its own.
#[derive(Debug)]
pub struct JudgeThread {
    // Before the runtime, so that it is dropped first.
    judge: StandInJudge,
    runtime: Runtime,
}

impl JudgeThread {
    /// Starts a judge that answers by content: see [`JudgeThread::points`].
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|level| JudgeReply::content(Self::verdict(level)))
    }

    /// Starts a judge whose reply for a level is `reply`.
    #[must_use]
    pub fn start_with(reply: impl Fn(&str) -> JudgeReply + Send + Sync + 'static) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let answer = move |request: &Value| reply(level(&request["messages"].to_string()).0);
        let judge = runtime.block_on(StandInJudge::start_by_content(answer));
        Self { judge, runtime }
    }

    /// Starts a judge that answers only `open` calls, and all as `warm`, until
    /// [`StandInJudge::release`].
    #[must_use]
    pub fn start_gated(open: usize) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let warm = [JudgeReply::content(Self::verdict("warm"))];
        let judge = runtime.block_on(StandInJudge::start_gated(warm, open));
        Self { judge, runtime }
    }

    /// The points of the judge for a turn, from the text of the dialogue up to it.
    #[must_use]
    pub fn points(dialogue: &str) -> f64 {
        level(dialogue).1
    }

    /// An answer that puts the one criterion at `level`.
    #[must_use]
    pub fn verdict(level: &str) -> String {
        json!({ "findings": [{ "id": "kind", "level": level, "evidence": null }] }).to_string()
    }

    /// The endpoint.
    #[must_use]
    pub const fn endpoint(&self) -> &StandInJudge {
        &self.judge
    }

    /// Waits until `calls` calls have arrived.
    pub fn wait_for_calls(&self, calls: usize) {
        self.runtime.block_on(self.judge.wait_for_calls(calls));
    }

    /// Adds this judge to the profile of a server; `keys` are further keys of the judge.
    #[must_use]
    pub fn added_to(&self, setup: ProcessSetup, keys: &str) -> ProcessSetup {
        let url = self.judge.url();
        setup
            .profile("judge = \"stand-in\"\nprompts = [\"prompts\"]")
            .file("prompts/kind.md", PROMPT)
            .tables(&format!(
                "[judges.stand-in]\nurl = \"{url}\"\nmodel = \"stand-in\"\nretries = 0\n{keys}\n"
            ))
    }

    /// The questions that were asked more than once.
    #[must_use]
    pub fn repeated_questions(&self) -> Vec<Value> {
        let mut asked: Vec<String> =
            self.judge.requests().iter().map(|request| request["messages"].to_string()).collect();
        asked.sort_unstable();
        let twice = asked.windows(2).filter(|pair| pair[0] == pair[1]);
        twice.map(|pair| Value::String(pair[0].clone())).collect()
    }
}

fn level(text: &str) -> (&'static str, f64) {
    let found = LEVELS.iter().find(|(word, _, _)| text.contains(word));
    found.map_or(("warm", 0.0), |(_, level, points)| (level, *points))
}
