//! Never pay twice: not after a restart, not after kill -9, not in a replay.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use guerdon_judge::{CacheMode, CassetteConfig, CassetteMode, EndpointConfig};
use guerdon_testing::{JudgeReply, StandInJudge};
use guerdon_types::{AbstainWhy, Finite};
use serde_json::json;

use crate::house::{House, TURN, abstained, let_all_tasks_ask, part, verdict_reply};

fn kept_in(folder: &Path, url: &str, mode: CacheMode) -> EndpointConfig {
    let mut config = EndpointConfig::new(url, "m");
    config.cache.path = Some(folder.join("judge.log"));
    config.cache.mode = mode;
    config
}

fn house(folder: &Path, stand_in: &StandInJudge, mode: CacheMode) -> House {
    House::configured(kept_in(folder, stand_in.url(), mode), &["manners"])
}

#[tokio::test]
async fn a_restart_buys_nothing_again() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandInJudge::start([verdict_reply("yes", None)]).await;
    let first = house(folder.path(), &stand_in, CacheMode::On);
    assert!(!part(&first.judge(TURN).await).cached);
    drop(first);
    let second = house(folder.path(), &stand_in, CacheMode::On);
    let signal = second.judge(TURN).await;
    assert!(part(&signal).cached);
    assert_eq!(part(&signal).points, Finite::from(-10));
    assert_eq!((signal.usage.judge_calls, signal.usage.judge_cache_hits), (0, 1));
    assert_eq!(second.outcomes(), ["cached"]);
    assert_eq!(stand_in.calls(), 1);
}

#[tokio::test]
async fn a_reload_that_changes_the_endpoint_keeps_its_answers() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandInJudge::start([verdict_reply("yes", None)]).await;
    let old = house(folder.path(), &stand_in, CacheMode::On);
    old.judge(TURN).await;
    let changed =
        EndpointConfig { retries: 1, ..kept_in(folder.path(), stand_in.url(), CacheMode::On) };
    let new = House::configured(changed, &["manners"]);
    assert!(part(&new.judge(TURN).await).cached);
    assert_eq!(stand_in.calls(), 1);
    drop(old);
}

#[tokio::test]
async fn a_model_that_moves_to_another_host_keeps_its_answers() {
    let folder = tempfile::tempdir().unwrap();
    let here = StandInJudge::start([verdict_reply("yes", None)]).await;
    let there = StandInJudge::start([verdict_reply("no", None)]).await;
    house(folder.path(), &here, CacheMode::On).judge(TURN).await;
    let moved = house(folder.path(), &there, CacheMode::On);
    assert!(part(&moved.judge(TURN).await).cached);
    drop(moved);
    let other = EndpointConfig {
        identity: Some("int8".to_owned()),
        ..kept_in(folder.path(), there.url(), CacheMode::On)
    };
    let other = House::configured(other, &["manners"]);
    assert_eq!(part(&other.judge(TURN).await).points, Finite::ZERO, "declared as another judge");
    assert_eq!((here.calls(), there.calls()), (1, 1));
}

#[tokio::test]
async fn failures_are_not_written_to_disk() {
    let refusal = json!({"choices": [{"message": {"content": null, "refusal": "no"}, "finish_reason": "stop"}]});
    for (bad, why) in [
        (JudgeReply::status(200, &refusal), AbstainWhy::Refused),
        (JudgeReply::finished("{", "length"), AbstainWhy::Truncated),
        (JudgeReply::content("fine"), AbstainWhy::Malformed),
        (JudgeReply::status(404, &json!({"error": "gone"})), AbstainWhy::EndpointError),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let stand_in = StandInJudge::start([bad]).await;
        let first = house(folder.path(), &stand_in, CacheMode::On);
        abstained(&first.judge(TURN).await, why);
        let paid = stand_in.calls();
        drop(first);
        let second = house(folder.path(), &stand_in, CacheMode::On);
        abstained(&second.judge(TURN).await, why);
        assert_eq!(stand_in.calls(), 2 * paid);
    }
}

#[tokio::test]
async fn each_cache_mode_reads_and_writes_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandInJudge::start([verdict_reply("yes", None)]).await;
    let ask = async |mode, turn: &str| {
        let house = house(folder.path(), &stand_in, mode);
        (part(&house.judge(turn).await).cached, part(&house.judge(turn).await).cached)
    };
    assert_eq!(ask(CacheMode::ReadOnly, "one").await, (false, false));
    assert_eq!(ask(CacheMode::Off, "one").await, (false, false));
    assert_eq!(ask(CacheMode::On, "one").await, (false, true));
    assert_eq!(ask(CacheMode::ReadOnly, "one").await, (true, true));
    assert_eq!(ask(CacheMode::Off, "one").await, (false, false));
    assert_eq!(ask(CacheMode::Refresh, "one").await, (false, true));
    assert_eq!(ask(CacheMode::On, "one").await, (true, true));
}

#[tokio::test]
async fn concurrent_questions_share_one_call_without_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandInJudge::start_gated([verdict_reply("yes", None)], 0).await;
    let house = house(folder.path(), &stand_in, CacheMode::Off);
    let asked = join_all((0..64).map(|_| house.judge(TURN)));
    let release = async {
        stand_in.wait_for_calls(1).await;
        let_all_tasks_ask().await;
        stand_in.release(64);
    };
    tokio::join!(asked, release);
    assert_eq!(stand_in.calls(), 1);
}

#[tokio::test]
async fn a_run_on_tape_is_replayed_without_an_endpoint_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let taped = |url: &str, mode| EndpointConfig {
        cassette: Some(CassetteConfig { path: path.clone(), mode }),
        max_concurrent: 1,
        retries: 0,
        ..EndpointConfig::new(url, "m")
    };
    let stand_in = StandInJudge::start([
        verdict_reply("yes", Some("Take it")),
        JudgeReply::status(500, &json!({"error": {"message": "oops"}})),
        verdict_reply("no", None),
    ])
    .await;
    let turns = [TURN, "another", TURN, "a third", "another"];
    let mut recorded = Vec::new();
    let house = House::configured(taped(stand_in.url(), CassetteMode::Record), &["manners"]);
    for turn in turns {
        recorded.push(house.judge(turn).await);
    }
    drop(house);
    let url = stand_in.url().to_owned();
    let paid = stand_in.calls();
    let house = House::configured(taped(&url, CassetteMode::Replay), &["manners"]);
    for (turn, wanted) in turns.iter().zip(&recorded) {
        assert_eq!(&house.judge(turn).await, wanted);
    }
    abstained(&house.judge("never recorded").await, AbstainWhy::Unreachable);
    assert_eq!(stand_in.calls(), paid);
}

/// A process that asks `QUESTIONS` until it is killed.
fn child(url: &str, folder: &Path, cap: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cache::child_that_asks_until_it_is_killed", "--ignored", "--nocapture"])
        .env(CHILD_URL, url)
        .env(CHILD_FOLDER, folder)
        .env(CHILD_CAP, cap)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// An answer may cost 1 and costs 20 of 512.
fn capped(folder: &Path, url: &str, cap: &str) -> EndpointConfig {
    let mut config = kept_in(folder, url, CacheMode::On);
    config.prices.completion_per_million = Finite::new(1e6 / 512.0).unwrap();
    config.budget.per_run = cap.parse::<i32>().ok().map(Finite::from);
    config
}

const QUESTIONS: usize = 96;
const ANSWERED: usize = 40;
const CHILD_URL: &str = "GUERDON_TEST_JUDGE_CHILD_URL";
const CHILD_CAP: &str = "GUERDON_TEST_JUDGE_CHILD_CAP";
const CHILD_FOLDER: &str = "GUERDON_TEST_JUDGE_CHILD_FOLDER";

#[expect(
    clippy::disallowed_methods,
    reason = "the parent test configures its child by environment variables"
)]
fn child_setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The process that is killed. Prints each question once it is answered.
#[tokio::test]
#[ignore = "the child of the test below"]
async fn child_that_asks_until_it_is_killed() {
    let (Some(url), Some(folder)) = (child_setting(CHILD_URL), child_setting(CHILD_FOLDER)) else {
        return;
    };
    let cap = child_setting(CHILD_CAP).unwrap_or_default();
    let house = House::configured(capped(Path::new(&folder), &url, &cap), &["manners"]);
    let mut asked: FuturesUnordered<_> = (0..QUESTIONS)
        .map(|number| {
            let (house, turn) = (&house, format!("question {number}."));
            async move {
                let signal = house.judge(&turn).await;
                signal.part.map(|_| turn)
            }
        })
        .collect();
    while let Some(answered) = asked.next().await {
        if let Some(turn) = answered {
            println!("\nanswered: {turn}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_in_the_middle_of_a_paid_batch_buys_nothing_again_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandInJudge::start_gated([verdict_reply("no", None)], 0).await;
    let mut child = child(stand_in.url(), folder.path(), "none");
    // Not all: some questions are paid for and under way when the process dies, others wait.
    stand_in.release(ANSWERED);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reading = tokio::task::spawn_blocking(move || {
        let answered = lines
            .map_while(Result::ok)
            .filter_map(|line| Some(line.strip_prefix("answered: ")?.to_owned()));
        answered.take(ANSWERED).collect::<Vec<_>>()
    });
    let answered = reading.await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answered.len(), ANSWERED);

    stand_in.release(1 << 20);
    let house = house(folder.path(), &stand_in, CacheMode::On);
    let signals = join_all(
        (0..QUESTIONS).map(async |number| house.judge(&format!("question {number}.")).await),
    )
    .await;
    assert_eq!(signals.iter().filter(|signal| part(signal).cached).count(), ANSWERED);
    // The calls of each question are counted, not all calls: a call of the dead child may still
    // arrive.
    let requests = stand_in.requests();
    for number in 0..QUESTIONS {
        let turn = format!("question {number}.");
        let line = format!("\n> {turn}\n");
        let calls = requests
            .iter()
            .filter(|body| body["messages"][1]["content"].as_str().unwrap().contains(&line))
            .count();
        let most = if answered.contains(&turn) { 1 } else { 2 };
        assert!((1..=most).contains(&calls), "{turn} was bought {calls} times");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_with_paid_calls_under_way_does_not_forget_them_in_the_books() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandInJudge::start_gated([verdict_reply("no", None)], 0).await;
    let mut child = child(stand_in.url(), folder.path(), "10");
    stand_in.wait_for_calls(10).await;
    child.kill().unwrap();
    child.wait().unwrap();

    stand_in.release(1 << 20);
    let house = House::configured(capped(folder.path(), stand_in.url(), "10"), &["manners"]);
    let signal = house.judge("one more.").await;
    abstained(&signal, AbstainWhy::RateLimited);
    assert!(signal.abstained[0].detail.contains("10.0000 spent"), "{:?}", signal.abstained);
    assert_eq!(stand_in.calls(), 10);
}
