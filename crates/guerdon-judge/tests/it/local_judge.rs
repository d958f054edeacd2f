//! The shipped prompts against a real server. Runs only where `GUERDON_TEST_JUDGE_URL` names one, such as
//! `http://127.0.0.1:8092/v1` of `examples/local-judge`; says so otherwise. A small model's opinions are noise, so this
//! checks the walk and prints the opinions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use guerdon_fusion::{Ask, RewardSource};
use guerdon_judge::{CallEvent, Endpoint, EndpointConfig, JudgeSource, PromptText, Prompts, Services};
use guerdon_types::{Part, Rollout};
use tokio_util::task::TaskTracker;

#[expect(clippy::disallowed_methods, reason = "a test that needs a server is told of it here")]
fn judge_url() -> Option<String> {
    std::env::var("GUERDON_TEST_JUDGE_URL").ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_judges_two_dialogues_and_the_second_time_from_the_cache() {
    let Some(url) = judge_url() else {
        println!("skipped: GUERDON_TEST_JUDGE_URL names no server");
        return;
    };
    let texts = [
        ("empathy.md", include_str!("../../../../judge-prompts/empathy.md")),
        ("sop.md", include_str!("../../../../judge-prompts/sop.md")),
        ("overpromise.md", include_str!("../../../../judge-prompts/overpromise.md")),
    ];
    let texts = texts.map(|(name, text)| PromptText { name: name.to_owned(), text: text.to_owned() });
    let (prompts, _) = Prompts::compile(&texts).unwrap_or_else(|report| panic!("{report}"));
    let config = EndpointConfig {
        timeout: Duration::from_secs(170),
        max_concurrent: 2,
        ..EndpointConfig::new(url, "smollm2-135m")
    };
    let observer = |event: &CallEvent| println!("{event:?}");
    let endpoint = Endpoint::build(config, &Services::new(TaskTracker::new(), observer)).unwrap();
    let source = JudgeSource::new(endpoint, Arc::new(prompts));
    let rollouts: Vec<Rollout> = serde_json::from_str(
        r#"[
        {"messages": [{"role": "user", "content": "We had a fire last week, I cannot think about prices now."},
                      {"role": "assistant", "content": "I guarantee you rank first if you give me 420 today."}],
         "context": {"sop_stage": "diagnose"}},
        {"messages": [{"role": "user", "content": "这个价格我要再考虑一下。"},
                      {"role": "assistant", "content": "理解，您慢慢考虑。方便说说主要顾虑是什么吗？"}],
         "context": {"sop_stage": "diagnose"}}]"#,
    )
    .unwrap();
    for rollout in &rollouts {
        let started = Instant::now();
        let signal = source.score(Ask::new(rollout, &[1], None)).await.remove(0);
        println!("{:?} {signal:#?}", started.elapsed());
        assert!(signal.part.is_some() || !signal.abstained.is_empty());
        if let Some(Part::Judge(first)) = &signal.part {
            let again = source.score(Ask::new(rollout, &[1], Some(Instant::now()))).await.remove(0);
            let Some(Part::Judge(again)) = &again.part else { panic!("{again:?}") };
            assert!(again.cached);
            assert_eq!(first.points, again.points);
        }
    }
}
