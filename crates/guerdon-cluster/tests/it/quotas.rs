//! Quotas of all replicas together, in every window.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use guerdon_cluster::Coordinator as _;
use guerdon_queue::{QuotaGrant, QuotaRequest};
use guerdon_testing::{CuttableNetwork, RedisServer};
use tokio::time::sleep;

use crate::replica::{PATIENCE, Replica, config};

const SPAN: Duration = Duration::from_secs(2);
const LIMIT: u64 = 200;

/// Spends as fast as the quota allows; the times at which units were spent.
async fn spend(replica: &Replica, until: Instant) -> Vec<(Instant, u64)> {
    let request = QuotaRequest { name: "q", limit: LIMIT, span: SPAN, amount: 3 };
    let mut spent = Vec::new();
    while Instant::now() < until {
        match replica.redis.take_quota(request).await {
            Ok(QuotaGrant::Taken(units)) => {
                spent.push((Instant::now(), units.amount));
                sleep(Duration::from_millis(1)).await;
            }
            Ok(QuotaGrant::Wait(wait)) => sleep(wait.min(Duration::from_millis(50))).await,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
    spent
}

/// The most units in any span.
fn most_in_a_span(mut spent: Vec<(Instant, u64)>) -> u64 {
    spent.sort();
    let (mut most, mut sum, mut oldest) = (0, 0, 0);
    for (at, amount) in &spent {
        sum += amount;
        while at.duration_since(spent[oldest].0) >= SPAN {
            sum -= spent[oldest].1;
            oldest += 1;
        }
        most = most.max(sum);
    }
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn four_replicas_stay_within_a_quota_and_use_it() {
    let Some(server) = RedisServer::start() else { return };
    let replicas =
        join_all((0..4).map(async |_| Replica::start(&config(&server.url())).await)).await;
    let until = Instant::now() + SPAN * 5;
    let spent = join_all(replicas.iter().map(|replica| spend(replica, until))).await.concat();
    let all: u64 = spent.iter().map(|(_, amount)| amount).sum();
    let most = most_in_a_span(spent);
    assert!(most <= LIMIT, "{most} in a span");
    // Five spans less the time of grace, at no less than two thirds.
    assert!(all >= LIMIT * 8 / 3, "{all} of {}", LIMIT * 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_holds_through_flushes_restarts_and_cuts() {
    let Some(mut server) = RedisServer::start() else { return };
    let network = CuttableNetwork::before(server.address()).await;
    let cuttable = format!("redis://{}", network.address());
    let urls = [server.url(), server.url(), cuttable.clone(), cuttable];
    let replicas = join_all(urls.iter().map(async |url| Replica::start(&config(url)).await)).await;
    let until = Instant::now() + SPAN * 8;
    let faults = async {
        sleep(SPAN * 2).await;
        assert_eq!(server.cli(&["FLUSHALL"]), "OK");
        sleep(SPAN).await;
        network.cut(true);
        sleep(SPAN).await;
        network.cut(false);
        sleep(SPAN).await;
        server.kill();
        sleep(SPAN / 2).await;
        server.resume();
    };
    let (spent, ()) = tokio::join!(join_all(replicas.iter().map(|one| spend(one, until))), faults);
    let by_replica: Vec<u64> =
        spent.iter().map(|one| one.iter().map(|(_, amount)| amount).sum()).collect();
    let most = most_in_a_span(spent.concat());
    assert!(most <= LIMIT, "{most} in a span; {by_replica:?}");
    assert!(by_replica.iter().all(|units| *units > 0), "{by_replica:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_were_not_used_are_free_for_the_others() {
    let Some(server) = RedisServer::start() else { return };
    let first = Replica::start(&config(&server.url())).await;
    let second = Replica::start(&config(&server.url())).await;
    let span = Duration::from_secs(60);
    // Four fifths are shared: the whole of them, estimated far too high.
    let request = QuotaRequest { name: "t", limit: 1_000, span, amount: 800 };
    let mut units = None;
    guerdon_testing::wait_until("the grace time ended", PATIENCE, async || {
        if let Ok(QuotaGrant::Taken(taken)) = first.redis.take_quota(request).await {
            units = Some(taken);
        }
        units.is_some()
    })
    .await;
    let small = QuotaRequest { amount: 700, ..request };
    let refused = second.redis.take_quota(small).await.unwrap();
    assert!(
        matches!(refused, QuotaGrant::Wait(wait) if wait > Duration::from_secs(30)),
        "{refused:?}"
    );
    first.redis.settle_quota("t", units.unwrap(), 50);
    // The next beat of the first tells it.
    sleep(Duration::from_millis(1_500)).await;
    let third = Replica::start(&config(&server.url())).await;
    let taken = third.redis.take_quota(small).await.unwrap();
    assert!(matches!(taken, QuotaGrant::Taken(_)), "{taken:?}");
}
