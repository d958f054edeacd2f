//! Budgets of all replicas together.

use std::time::Duration;

use futures_util::future::join_all;
use guerdon_cluster::Coordinator as _;
use guerdon_queue::{BudgetAccount, BudgetHold, HoldGrant, HoldRequest};
use guerdon_testing::{RedisServer, wait_until};

use crate::replica::{PATIENCE, Replica, config};

const LIFE: Duration = Duration::from_secs(60);

fn accounts(cap: u64) -> Vec<BudgetAccount> {
    let account = |name: &str, cap| BudgetAccount { name: name.to_owned(), cap };
    vec![account("day", Some(cap)), account("run", None)]
}

/// Holds when the grace time has passed and other holds leave room; `None` if it is refused.
async fn hold(
    replica: &Replica,
    cap: u64,
    amount: u64,
    expires_after: Duration,
) -> Option<BudgetHold> {
    let accounts = accounts(cap);
    let request = HoldRequest { scope: "m", accounts: &accounts, amount, expires_after };
    loop {
        match replica.redis.hold(request).await {
            Ok(HoldGrant::Held(hold)) => return Some(hold),
            Ok(HoldGrant::Refused { .. }) => return None,
            Ok(HoldGrant::Wait(wait)) => tokio::time::sleep(wait).await,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_spend_a_cap_together_and_never_more() {
    let Some(server) = RedisServer::start() else { return };
    let replicas =
        join_all((0..4).map(async |_| Replica::start(&config(&server.url())).await)).await;
    let spend = replicas.iter().map(async |replica| {
        let mut spent = 0;
        while let Some(hold) = hold(replica, 1_000, 100, LIFE).await {
            tokio::time::sleep(Duration::from_millis(2)).await;
            replica.redis.settle_hold(hold, 30).await;
            spent += 30;
        }
        spent
    });
    let spent: u64 = join_all(spend).await.iter().sum();
    assert!(spent <= 1_000 && spent > 900 - 30, "{spent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hold_of_a_dead_replica_counts_as_spent() {
    let Some(server) = RedisServer::start() else { return };
    let first = Replica::start(&config(&server.url())).await;
    let second = Replica::start(&config(&server.url())).await;
    let kept = hold(&first, 1_000, 900, Duration::from_secs(1)).await.unwrap();
    drop(first);
    assert!(hold(&second, 1_000, 100, LIFE).await.is_some(), "beside the hold");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(hold(&second, 1_000, 101, LIFE).await.is_none(), "spent at its most: {kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_and_holds_survive_a_flush() {
    let Some(server) = RedisServer::start() else { return };
    let first = Replica::start(&config(&server.url())).await;
    let second = Replica::start(&config(&server.url())).await;
    let paid = hold(&first, 1_000, 400, LIFE).await.unwrap();
    first.redis.settle_hold(paid, 400).await;
    let held = hold(&first, 1_000, 400, LIFE).await.unwrap();
    // A beat has told the first replica since when the counts are whole.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.cli(&["FLUSHALL"]), "OK");
    let accounts = accounts(1_000);
    let over = HoldRequest { scope: "m", accounts: &accounts, amount: 201, expires_after: LIFE };
    for _ in 0..30 {
        let grant = second.redis.hold(over).await;
        assert!(!matches!(grant, Ok(HoldGrant::Held(_))), "800 of 1,000 are spent or held");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(hold(&second, 1_000, 200, LIFE).await.is_some());
    first.redis.settle_hold(held, 100).await;
    assert!(hold(&second, 1_000, 300, LIFE).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn costs_of_an_outage_are_booked_afterwards() {
    let Some(mut server) = RedisServer::start() else { return };
    let replica = Replica::start(&config(&server.url())).await;
    let held = hold(&replica, 1_000, 600, LIFE).await.unwrap();
    server.kill();
    replica.redis.settle_hold(held, 500).await;
    let accounts = accounts(1_000);
    let request = HoldRequest { scope: "m", accounts: &accounts, amount: 1, expires_after: LIFE };
    replica.is(false).await;
    assert!(replica.redis.hold(request).await.is_err(), "nothing is granted without the store");
    server.resume();
    replica.is(true).await;
    wait_until("the cost is booked", PATIENCE, async || {
        server.cli(&["--raw", "EVAL", SPENT, "0"]) == "500"
    })
    .await;
    assert!(hold(&replica, 1_000, 501, LIFE).await.is_none());
}

/// The largest settled total in any account.
const SPENT: &str = "local most=0 for _,k in ipairs(redis.call('KEYS','g1:test:*:b:*')) do \
    local all=redis.call('HGETALL',k) for i=1,#all,2 do \
    if string.sub(all[i],1,2)=='s:' then most=math.max(most,tonumber(all[i+1])) end end end return most";
