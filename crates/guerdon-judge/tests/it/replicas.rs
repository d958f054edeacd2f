//! Two judges of two replicas, which share over Redis.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use guerdon_cluster::{ClusterConfig, CoordinationState, Coordinator as _, Redis};
use guerdon_judge::EndpointConfig;
use guerdon_testing::{JudgeReply, RedisServer, StandInJudge, wait_until};
use guerdon_types::{AbstainReason, AbstainWhy, Finite, Word};
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::house::{House, TURN, abstained, part, verdict_reply};

const PATIENCE: Duration = Duration::from_secs(30);

struct Replica {
    house: House,
    redis: Arc<Redis>,
    _stop: DropGuard,
}

async fn replica(server: &RedisServer, config: &EndpointConfig) -> Replica {
    let cluster = ClusterConfig {
        url: Some(server.url()),
        lease: Duration::from_secs(2),
        timeout: Duration::from_millis(500),
        replicas_max: std::num::NonZeroU32::MIN.saturating_add(1),
        ..ClusterConfig::default()
    };
    let tasks = TaskTracker::new();
    let redis = Redis::new(&cluster, None, tasks.clone()).unwrap().unwrap();
    let stop = CancellationToken::new();
    tasks.spawn(Arc::clone(&redis).run(stop.clone()));
    wait_until("it is connected", PATIENCE, async || redis.state() == CoordinationState::Up).await;
    let coordinator = Arc::clone(&redis);
    let house = House::coordinated(config.clone(), &["manners"], coordinator);
    Replica { house, redis, _stop: stop.drop_guard() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_of_two_replicas_is_asked_once_and_answered_alike() {
    let Some(server) = RedisServer::start() else { return };
    let delay = Duration::from_millis(50);
    let stand_in = StandInJudge::start([verdict_reply("yes", None).delay(delay)]).await;
    let config = EndpointConfig::new(stand_in.url(), "m");
    let (first, second) = (replica(&server, &config).await, replica(&server, &config).await);
    let turns: Vec<String> = (0..40).map(|number| format!("{number} {TURN}")).collect();
    let asked = turns.iter().flat_map(|turn| [first.house.judge(turn), second.house.judge(turn)]);
    let signals = join_all(asked).await;
    assert_eq!(stand_in.calls(), 40);
    assert!(signals.iter().all(|signal| part(signal).points == Finite::from(-10)));
    let sum = |number: fn(&guerdon_types::Usage) -> u64| {
        signals.iter().map(|signal| number(&signal.usage)).sum::<u64>()
    };
    assert_eq!((sum(|usage| usage.judge_calls), sum(|usage| usage.judge_cache_hits)), (40, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_a_replica_answers_from_its_own_calls() {
    let Some(mut server) = RedisServer::start() else { return };
    let stand_in = StandInJudge::start([verdict_reply("yes", None)]).await;
    let one = replica(&server, &EndpointConfig::new(stand_in.url(), "m")).await;
    server.kill();
    assert!(!part(&one.house.judge(TURN).await).cached);
    assert!(part(&one.house.judge(TURN).await).cached, "in its memory");
    server.resume();
    let other = replica(&server, &EndpointConfig::new(stand_in.url(), "m")).await;
    wait_until("the first is connected again", PATIENCE, async || {
        one.redis.state() == CoordinationState::Up
    })
    .await;
    assert!(part(&other.house.judge(TURN).await).cached, "stored after the outage");
    assert_eq!(stand_in.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_holds_for_both_and_no_call_is_made_without_the_books() {
    let Some(mut server) = RedisServer::start() else { return };
    let stand_in = StandInJudge::start([verdict_reply("yes", None)]).await;
    let mut config = EndpointConfig::new(stand_in.url(), "m");
    config.prices.prompt_per_million = Finite::from(10_000);
    // A call costs 1 for its 100 prompt tokens; at most as many tokens as it has bytes.
    config.budget.per_run = Some(Finite::from(30));
    let (first, second) = (replica(&server, &config).await, replica(&server, &config).await);
    let mut spent = 0;
    'spend: loop {
        for one in [&first, &second] {
            let signal = one.house.judge(&format!("{spent} {TURN}")).await;
            if let Some(missing) = signal.abstained.first() {
                assert_eq!(missing.reason, Some(Word::Known(AbstainReason::Budget)), "{missing:?}");
                break 'spend;
            }
            spent += 1;
        }
    }
    assert!((1..=30).contains(&spent), "{spent}");
    server.kill();
    abstained(&first.house.judge("Another turn.").await, AbstainWhy::Coordination);
    assert_eq!(stand_in.calls(), spent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_one_replica_is_one_of_all() {
    let Some(server) = RedisServer::start() else { return };
    let busy = JudgeReply::status(429, &json!({"error": {"message": "slow down"}}))
        .header("retry-after", "2");
    let stand_in = StandInJudge::start([busy, verdict_reply("yes", None)]).await;
    let config = EndpointConfig::new(stand_in.url(), "m");
    let (first, second) = (replica(&server, &config).await, replica(&server, &config).await);
    let started = std::time::Instant::now();
    let (one, other) = tokio::join!(first.house.judge("one"), async {
        stand_in.wait_for_calls(1).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        second.house.judge("other").await
    });
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(one.part.is_some() && other.part.is_some());
    assert_eq!(stand_in.calls(), 3, "the second did not ask during the pause");
}
