//! Several servers: the order by group, retries on another server, and what is not sent twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use guerdon_testing::{ServerReply, StandInServer, numbered_batch, wait_until};
use guerdon_types::{AdvantagesRequest, GroupId, Problem, ProblemCode, Rollout, StreamLine};
use parking_lot::Mutex;
use proptest::prelude::*;
use reqwest::Url;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::{Probe, RoutingKey, Servers};
use crate::{Client, ClientBuilder, Error};

const SHORT: Duration = Duration::from_millis(1);
/// A backoff that no test waits for.
const LONG: Duration = Duration::from_secs(100);

fn builder(urls: &[&str]) -> ClientBuilder {
    let (first, others) = urls.split_first().unwrap();
    others.iter().fold(Client::builder(*first), |builder, url| builder.replica(url))
}

fn fast(urls: &[&str]) -> ClientBuilder {
    builder(urls).backoff(SHORT, SHORT * 20).backoff_floor(SHORT)
}

fn servers(names: &[String]) -> Servers {
    let url = |name: &String| Url::parse(&format!("http://{name}:8787")).unwrap();
    Servers::new(url(&names[0]), names[1..].iter().map(url).collect())
}

fn key(group: &str) -> RoutingKey {
    RoutingKey::of_rollout(&Rollout { group: Some(group.into()), ..Rollout::default() })
}

/// The names of the servers in the order of a group.
fn order(names: &[String], group: &str) -> Vec<String> {
    servers(names).order(&key(group)).into_iter().map(|place| names[place].clone()).collect()
}

/// A group whose first server is `client`'s number `place`.
fn group_of(client: &Client, place: usize) -> String {
    (0..)
        .map(|n| format!("g{n}"))
        .find(|group| client.servers.order(&key(group))[0] == place)
        .unwrap()
}

/// The URL of a server that refuses connections. On Linux no other test binds its address, so that
/// none takes the port.
async fn dead() -> String {
    let address = if cfg!(target_os = "linux") { "127.0.0.3:0" } else { "127.0.0.1:0" };
    format!("http://{}", TcpListener::bind(address).await.unwrap().local_addr().unwrap())
}

fn keys(server: &StandInServer) -> Vec<String> {
    let key = |headers: &reqwest::header::HeaderMap| {
        headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned())
    };
    server.received().iter().filter_map(|one| key(&one.headers)).collect()
}

proptest! {
    #[test]
    fn order_is_stable_when_a_server_leaves_or_the_list_is_reordered(
        names in prop::collection::hash_set("[a-z]{1,6}", 2..8),
        group in ".{0,12}",
        left in any::<prop::sample::Index>(),
        seed in any::<prop::sample::Selector>(),
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let whole = order(&names, &group);
        prop_assert_eq!(whole.iter().collect::<HashSet<_>>(), names.iter().collect::<HashSet<_>>());
        let gone = names[left.index(names.len())].clone();
        let rest: Vec<String> = names.iter().filter(|name| **name != gone).cloned().collect();
        let expected: Vec<String> = whole.iter().filter(|name| **name != gone).cloned().collect();
        prop_assert_eq!(order(&rest, &group), expected);
        let mut shuffled = names.clone();
        shuffled.sort_by_key(|name| name == seed.select(&names));
        prop_assert_eq!(order(&shuffled, &group), whole);
    }
}

#[test]
fn order_is_the_same_in_every_version_and_keys_are_spread() {
    let names = ["a", "b", "c", "d"].map(str::to_owned);
    // Another value would send every group to another server than a client of another version.
    assert_eq!(order(&names, "prompt-3"), ["b", "a", "c", "d"]);
    let mut count: HashMap<String, usize> = HashMap::new();
    for group in 0..4000 {
        *count.entry(order(&names, &group.to_string())[0].clone()).or_default() += 1;
    }
    assert!(count.len() == 4 && count.values().all(|n| (850..1150).contains(n)), "{count:?}");
}

#[test]
fn rollout_without_a_group_has_the_key_of_its_id_or_its_messages() {
    let batch = numbered_batch(&["", "", ""]).rollouts;
    let with_id = |id: &str| Rollout { id: Some(id.into()), ..batch[0].clone() };
    let key = RoutingKey::of_rollout;
    assert_eq!(key(&with_id("x")), key(&Rollout { id: Some("x".into()), ..batch[1].clone() }));
    assert_ne!(key(&with_id("x")), key(&with_id("y")));
    assert_ne!(key(&batch[0]), key(&batch[1]));
    assert_eq!(key(&batch[0]), key(&batch[0].clone()));
}

#[tokio::test]
async fn samples_of_a_group_meet_on_one_server_whatever_else_fails() {
    let dead = dead().await;
    let busy = || ServerReply::problem(&Problem::new(ProblemCode::Overloaded, "busy"));
    let busy = StandInServer::start((0..500).map(|_| busy())).await;
    let slow = ServerReply::Late { after: Duration::from_millis(150), rm: "sha256:a" };
    let slow = StandInServer::start(vec![slow; 500]).await;
    let quick = StandInServer::start([]).await;
    let client = fast(&[&dead, busy.url(), slow.url(), quick.url()]).chunk(4).build().unwrap();
    let groups: Vec<String> = (0..24).map(|n| format!("g{n}")).collect();
    let names: Vec<&str> = groups.iter().flat_map(|name| [name.as_str(); 3]).collect();
    let mut request = numbered_batch(&names);
    for advantages in [None, Some(AdvantagesRequest::new("grpo"))] {
        request.advantages = advantages;
        let scored = client.score(&request).await.unwrap();
        let expected: Vec<_> = (0..72).map(|n| Some(f64::from(n))).collect();
        assert_eq!(scored.rewards(), expected);
    }
    let of_group = |server: &StandInServer| -> HashSet<GroupId> {
        let parts = server.score_requests();
        parts.into_iter().flat_map(|part| part.rollouts).filter_map(|one| one.group).collect()
    };
    let (slow_groups, quick_groups) = (of_group(&slow), of_group(&quick));
    for group in &groups {
        let order = client.servers.order(&key(group));
        let group = GroupId::from(group.as_str());
        // A group whose first server is up never goes to another one.
        match order[0] {
            2 => assert!(slow_groups.contains(&group) && !quick_groups.contains(&group)),
            3 => assert!(quick_groups.contains(&group) && !slow_groups.contains(&group)),
            _ => assert!(slow_groups.contains(&group) || quick_groups.contains(&group)),
        }
    }
    // A slow server is waited for: each request was answered by one server, once.
    let (slow_keys, quick_keys) = (keys(&slow), keys(&quick));
    let all: HashSet<&String> = slow_keys.iter().chain(&quick_keys).collect();
    assert_eq!(all.len(), slow_keys.len() + quick_keys.len());
    assert!(keys(&busy).iter().all(|key| all.contains(key)), "moved with the same key");
}

#[tokio::test]
async fn refused_work_moves_to_the_next_server_at_once() {
    let dead = dead().await;
    let limited = StandInServer::start(vec![ServerReply::rate_limited("86400"); 9]).await;
    let not_ready = Problem::new(ProblemCode::NotReady, "loading");
    let loading = StandInServer::start(vec![ServerReply::problem(&not_ready); 9]).await;
    for url in [&dead, limited.url(), loading.url()] {
        let other = StandInServer::start([]).await;
        let client = builder(&[url, other.url()]).backoff(LONG, LONG).build().unwrap();
        let group = group_of(&client, 0);
        let begun = Instant::now();
        for _ in 0..3 {
            let scored = client.score(&numbered_batch(&[&group, &group])).await.unwrap();
            assert_eq!(scored.rewards(), [Some(0.0), Some(1.0)]);
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{url}");
        assert_eq!(other.received().len(), 3, "{url}");
    }
    // A server in its pause is not asked.
    assert_eq!((limited.received().len(), loading.received().len()), (1, 1));
}

#[tokio::test]
async fn work_that_may_have_begun_is_asked_for_once_more_on_its_server() {
    let failures = [
        ServerReply::BrokenChunks(vec![]),
        ServerReply::BrokenChunks(vec!["{\"request_id\":".to_owned()]),
        ServerReply::body(502, "bad gateway"),
        ServerReply::body(504, "gateway timeout"),
        ServerReply::body(503, "<html>no upstream</html>"),
    ];
    for failure in failures {
        for (times, elsewhere) in [(1, 0), (2, 1)] {
            let home = StandInServer::start(vec![failure.clone(); times]).await;
            let other = StandInServer::start([]).await;
            let client = fast(&[home.url(), other.url()]).build().unwrap();
            let group = group_of(&client, 0);
            client.score(&numbered_batch(&[&group])).await.unwrap();
            assert_eq!(home.received().len(), 2, "{failure:?}");
            assert_eq!(other.received().len(), elsewhere, "{failure:?}");
            let keys: HashSet<String> = keys(&home).into_iter().chain(keys(&other)).collect();
            assert_eq!(keys.len(), 1);
        }
    }
}

#[tokio::test]
async fn fault_that_a_request_may_cause_stays_on_its_server() {
    let home = StandInServer::start(vec![ServerReply::body(500, "oops"); 6]).await;
    let other = StandInServer::start([]).await;
    let client = fast(&[home.url(), other.url()]).build().unwrap();
    let group = group_of(&client, 0);
    client.score(&numbered_batch(&[&group])).await.unwrap_err();
    assert_eq!((home.received().len(), other.received().len()), (6, 0));
}

#[tokio::test]
async fn number_of_retries_holds_over_all_servers() {
    let servers = [StandInServer::start([]).await, StandInServer::start([]).await];
    let urls: Vec<String> = servers.iter().map(|server| server.url().to_owned()).collect();
    drop(servers);
    for retries in [0, 1, 5] {
        let tried = Arc::new(Mutex::new(1));
        let count = Arc::clone(&tried);
        let client = fast(&[&urls[0], &urls[1]])
            .retries(retries)
            .on_retry(move |_, _, _| *count.lock() += 1)
            .build()
            .unwrap();
        let error = client.score(&numbered_batch(&["g"])).await.unwrap_err();
        assert!(matches!(error, Error::Transport { tries, .. } if tries == retries + 1), "{error}");
        assert_eq!(*tried.lock(), retries + 1);
    }
}

/// A server that accepts connections and never answers, as after a network cut.
async fn silent() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "the test aborts it")]
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    (url, held)
}

const FAST_PROBE: Probe =
    Probe { every: Duration::from_millis(30), patience: Duration::from_millis(500), misses: 2 };

#[tokio::test]
async fn silent_server_is_left_and_a_slow_one_is_waited_for() {
    let (url, held) = silent().await;
    let slow = ServerReply::Late { after: Duration::from_millis(400), rm: "sha256:a" };
    let other = StandInServer::start([slow]).await;
    let mut client = fast(&[&url, other.url()]).build().unwrap();
    client.probe = FAST_PROBE;
    let group = group_of(&client, 0);
    let scored = client.score(&numbered_batch(&[&group])).await.unwrap();
    assert_eq!(scored.rewards(), [Some(0.0)]);
    assert_eq!(keys(&other).len(), 1, "sent once to the slow server");
    assert!(other.received().iter().any(|one| one.path == "/readyz"), "and watched meanwhile");
    held.abort();
}

#[tokio::test]
async fn single_server_is_not_probed() {
    let slow = ServerReply::Late { after: Duration::from_millis(200), rm: "sha256:a" };
    let server = StandInServer::start([slow]).await;
    let mut client = Client::new(server.url()).unwrap();
    client.probe = FAST_PROBE;
    client.score(&numbered_batch(&["g"])).await.unwrap();
    assert_eq!(server.received().len(), 1);
}

async fn stream(client: &Client, group: &str) -> Result<usize, Error> {
    let mut results = 0;
    let mut lines = client.stream(&numbered_batch(&[group; 4])).await?;
    while let Some(line) = lines.next().await {
        results += usize::from(matches!(line?, StreamLine::Result(_)));
    }
    Ok(results)
}

#[tokio::test]
async fn stream_goes_on_at_its_server_and_elsewhere_only_with_the_same_configuration() {
    let cut = ServerReply::CutStream { lines: 2, rm: "sha256:a" };
    for (after, elsewhere) in [(vec![], 0), (vec![ServerReply::rate_limited("900")], 1)] {
        let home = StandInServer::start([vec![cut.clone()], after].concat()).await;
        let other = StandInServer::start([]).await;
        let client = fast(&[home.url(), other.url()]).build().unwrap();
        let group = group_of(&client, 0);
        assert_eq!(stream(&client, &group).await.unwrap(), 4);
        assert_eq!((home.received().len(), other.received().len()), (2, elsewhere));
        assert!(other.score_requests().iter().all(|part| part.rollouts.len() == 2));
    }
    let home = StandInServer::start([cut, ServerReply::rate_limited("900")]).await;
    let other = ServerReply::Score { generation: 1, rm: "sha256:b" };
    let other = StandInServer::start([other]).await;
    let client = fast(&[home.url(), other.url()]).build().unwrap();
    let error = stream(&client, &group_of(&client, 0)).await.unwrap_err();
    assert!(matches!(error, Error::Cut { received: 2, expected: 4, .. }), "{error}");
}

#[tokio::test]
async fn one_ready_server_is_enough_and_other_routes_move_too() {
    let dead = dead().await;
    let ready = StandInServer::start([ServerReply::body(200, "ready")]).await;
    let client = fast(&[&dead, ready.url()]).build().unwrap();
    assert!(client.ready().await.unwrap());
    let not_ready = StandInServer::start([ServerReply::body(503, "")]).await;
    assert!(!fast(&[&dead, not_ready.url()]).build().unwrap().ready().await.unwrap());
    let error = fast(&[&dead, "http://127.0.0.1:9"]).build().unwrap().ready().await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error}");

    let server =
        StandInServer::start([ServerReply::body(200, "{}"), ServerReply::body(200, "{}")]).await;
    let client = fast(&[&dead, server.url()]).build().unwrap();
    let query = [("a".to_owned(), "b".to_owned())];
    for body in ["1", "2"] {
        client.post_json("get_reward", &query, body.to_owned()).await.unwrap();
    }
    assert!(server.received().iter().all(|one| one.path == "/get_reward"));
}

#[tokio::test]
async fn server_that_comes_back_is_used_again() {
    let home = StandInServer::start([]).await;
    let other = StandInServer::start([]).await;
    let address = home.url().trim_start_matches("http://").parse().unwrap();
    let client = fast(&[home.url(), other.url()]).build().unwrap();
    let group = group_of(&client, 0);
    drop(home);
    client.score(&numbered_batch(&[&group])).await.unwrap();
    assert_eq!(other.received().len(), 1);
    let home = StandInServer::start_at(address, []).await;
    wait_until("the group is back", Duration::from_secs(10), async || {
        client.score(&numbered_batch(&[&group])).await.unwrap();
        !home.received().is_empty()
    })
    .await;
}

/// A failure of a server, after which a call goes on.
fn outage() -> impl Strategy<Value = ServerReply> {
    prop_oneof![
        Just(ServerReply::body(502, "bad gateway")),
        Just(ServerReply::body(503, "")),
        Just(ServerReply::problem(&Problem::new(ProblemCode::Overloaded, "later"))),
        Just(ServerReply::rate_limited("0")),
        Just(ServerReply::BrokenChunks(vec![])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn call_outlives_any_outages_of_several_servers(
        scripts in prop::collection::vec(prop::collection::vec(outage(), 0..8), 2..5),
        groups in prop::collection::vec("[a-e]", 1..8),
    ) {
        Runtime::new().unwrap().block_on(async {
            let mut servers = Vec::new();
            for script in scripts {
                servers.push(StandInServer::start(script).await);
            }
            let urls: Vec<&str> = servers.iter().map(StandInServer::url).collect();
            let client = fast(&urls).chunk(3).build().unwrap();
            let names: Vec<&str> = groups.iter().map(String::as_str).collect();
            let scored = client.score(&numbered_batch(&names)).await.unwrap();
            let expected: Vec<_> = (0..names.len()).map(|n| Some(n as f64)).collect();
            assert_eq!(scored.rewards(), expected);
            // Every try of a request has its key and its bytes, on any server.
            let mut bodies = HashMap::new();
            for server in &servers {
                for one in server.received().iter() {
                    let key = one.headers["idempotency-key"].clone();
                    assert_eq!(bodies.entry(key).or_insert_with(|| one.body.clone()), &one.body);
                }
            }
        });
    }
}
