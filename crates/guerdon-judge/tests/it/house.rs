//! A judge as its users build it, whose events are recorded.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use guerdon_cluster::{Alone, Coordinator};
use guerdon_fusion::{Ask, RewardSource};
use guerdon_judge::{
    CallEvent, Endpoint, EndpointConfig, JudgeSource, Prompts, Services, SourceText,
};
use guerdon_testing::{JudgeReply, StandInJudge};
use guerdon_types::{AbstainWhy, JudgePart, Message, Part, Role, Rollout, Signal};
use serde_json::json;
use tokio_util::task::TaskTracker;

pub(crate) const RUBRIC: &str = r##"+++
id = "manners"
about = "Manners."
version = 1

[[criteria]]
id = "ignores"
kind = "deduct"
about = "It passes over what was asked."
fails_empty = true
levels = [{ name = "no", points = 0, anchor = "no" }, { name = "yes", points = -20, anchor = "yes" }]

[[criteria]]
id = "rude"
kind = "deduct"
about = "It is rude."
levels = [{ name = "no", points = 0, anchor = "no" }, { name = "yes", points = -10, anchor = "yes" }]
+++
# system
You judge manners.
# user
{{ dialogue }}
{{ turn }}
"##;

/// The text of a verdict on [`RUBRIC`].
pub(crate) fn verdict(level: &str, evidence: Option<&str>) -> String {
    json!({"findings": {"ignores": {"level": "no", "evidence": null}, "rude": {"level": level, "evidence": evidence}}})
        .to_string()
}

/// A reply with a verdict on [`RUBRIC`].
pub(crate) fn verdict_reply(level: &str, evidence: Option<&str>) -> JudgeReply {
    JudgeReply::content(verdict(level, evidence))
}

pub(crate) const TURN: &str = "Take it or leave it.";

/// A judge with one rubric, or the same rubric under several names, and its recorded events.
pub(crate) struct House {
    pub(crate) source: Arc<JudgeSource>,
    pub(crate) tasks: TaskTracker,
    pub(crate) events: Arc<Mutex<Vec<CallEvent>>>,
}

impl House {
    pub(crate) fn of(stand_in: &StandInJudge) -> Self {
        Self::configured(EndpointConfig::new(stand_in.url(), "m"), &["manners"])
    }

    pub(crate) fn configured(config: EndpointConfig, prompts: &[&str]) -> Self {
        Self::coordinated(config, prompts, Arc::new(Alone))
    }

    /// A judge that shares through `coordinator`.
    pub(crate) fn coordinated(
        config: EndpointConfig,
        prompts: &[&str],
        coordinator: Arc<dyn Coordinator>,
    ) -> Self {
        let text = |id: &&str| SourceText {
            name: format!("{id}.md"),
            text: RUBRIC.replace("id = \"manners\"", &format!("id = \"{id}\"")),
        };
        let texts: Vec<SourceText> = prompts.iter().map(text).collect();
        let (prompts, _) = Prompts::compile(&texts).unwrap_or_else(|report| panic!("{report}"));
        let tasks = TaskTracker::new();
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let config = EndpointConfig { backoff: Duration::ZERO, ..config };
        let observer = move |event: &CallEvent| heard.lock().unwrap().push(event.clone());
        let services = Services::new(tasks.clone(), observer).with_coordinator(coordinator);
        let endpoint = Endpoint::build(config, &services).unwrap();
        Self { source: Arc::new(JudgeSource::new(endpoint, Arc::new(prompts))), tasks, events }
    }

    pub(crate) async fn judge(&self, turn: &str) -> Signal {
        self.judge_by(turn, None).await
    }

    pub(crate) async fn judge_by(&self, turn: &str, deadline: Option<Instant>) -> Signal {
        let messages =
            vec![Message::new(Role::User, "480 is our best."), Message::new(Role::Assistant, turn)];
        let rollout = Rollout { messages, ..Rollout::default() };
        let mut signals = self.source.score(Ask::new(&rollout, &[1], deadline)).await;
        assert_eq!(signals.len(), 1);
        signals.remove(0)
    }

    pub(crate) fn outcomes(&self) -> Vec<&'static str> {
        let outcomes: Vec<_> =
            self.events.lock().unwrap().iter().map(|event| event.outcome.as_str()).collect();
        outcomes
    }
}

#[track_caller]
pub(crate) fn part(signal: &Signal) -> &JudgePart {
    match &signal.part {
        Some(Part::Judge(part)) => part,
        other => panic!("{other:?} {:?}", signal.abstained),
    }
}

#[track_caller]
pub(crate) fn abstained(signal: &Signal, why: AbstainWhy) {
    assert_eq!(signal.part, None);
    assert_eq!(signal.abstained.len(), 1, "{:?}", signal.abstained);
    assert_eq!(signal.abstained[0].why, why, "{:?}", signal.abstained);
    assert!(signal.abstained[0].detail.contains("manners"), "{:?}", signal.abstained);
}

/// Lets every task run until it waits, so that concurrent callers have all asked.
pub(crate) async fn let_all_tasks_ask() {
    for _ in 0..5000 {
        tokio::task::yield_now().await;
    }
}
