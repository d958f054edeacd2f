//! The context values that a rubric shows. Others neither reach the judge nor make a second question
//! of one.

use std::sync::Arc;

use futures_util::future::join_all;
use guerdon_fusion::{Ask, RewardSource as _};
use guerdon_judge::{Endpoint, JudgeSource, Prompts, Services, SourceText, Transport};
use guerdon_types::{Message, Role, Rollout};
use serde_json::json;
use tokio_util::task::TaskTracker;

use crate::house::{RUBRIC, part};
use crate::paused::{ScriptedTransport, answer, config};

/// Judges 64 copies of a turn whose contexts differ in a trace id. Returns the number of calls, and
/// whether one of them held a trace id.
async fn calls(head: &str, body: &str) -> (usize, bool) {
    let rubric = RUBRIC.replace("version = 1\n", &format!("version = 1\n{head}"));
    let text = rubric.replace("{{ turn }}", &format!("{{{{ turn }}}}{body}"));
    assert_ne!(text, RUBRIC);
    let texts = [SourceText { name: "manners.md".to_owned(), text }];
    let (prompts, _) = Prompts::compile(&texts).unwrap_or_else(|report| panic!("{report}"));
    let seen = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let saw = Arc::clone(&seen);
    let stand_in = ScriptedTransport::to(move |_, text| {
        saw.fetch_or(text.contains("trace-"), std::sync::atomic::Ordering::Relaxed);
        answer(10)
    });
    let transport = Arc::clone(&stand_in);
    let services = Services::new(TaskTracker::new(), |_| {})
        .with_transport(move |_| Arc::clone(&transport) as Arc<dyn Transport>);
    let source = JudgeSource::new(Endpoint::build(config(), &services).unwrap(), Arc::new(prompts));
    let judged = (0..64).map(async |number| {
        let context = json!({ "stage": "quote", "id": format!("trace-{number}") });
        let rollout = Rollout {
            messages: vec![Message::new(Role::User, "480?"), Message::new(Role::Assistant, "420.")],
            context: serde_json::from_value(context).unwrap(),
            ..Rollout::default()
        };
        part(&source.score(Ask::new(&rollout, &[1], None)).await.remove(0));
    });
    join_all(judged).await;
    (stand_in.calls(), seen.load(std::sync::atomic::Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn a_trace_id_that_is_not_shown_costs_nothing() {
    assert_eq!(calls("", "{{ context.stage }}").await, (1, false), "named in the body");
    let named = "facts = [\"stage\"]\n";
    assert_eq!(calls(named, "{{ context }}").await, (1, false), "named in the front matter");
    assert_eq!(calls("", "{{ context }}").await, (64, true), "a body that shows everything");
}
