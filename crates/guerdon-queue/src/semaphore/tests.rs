//! Semaphores, polled by hand.

use std::time::Duration;

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::{FairPermit, FairSemaphore, SemaphoreSize};

fn semaphore(units: u64, reserve: u64) -> std::sync::Arc<FairSemaphore> {
    FairSemaphore::new(SemaphoreSize { units, reserve, completion: 0, max_waiting: 100 })
}

type Waiting = std::pin::Pin<Box<dyn Future<Output = Option<FairPermit>>>>;

fn wait(semaphore: &std::sync::Arc<FairSemaphore>, flow: u64, units: u64) -> Waiting {
    let semaphore = std::sync::Arc::clone(semaphore);
    let mut waiting: Waiting = Box::pin(async move { semaphore.acquire(flow, units).await });
    assert!(waiting.as_mut().now_or_never().is_none(), "it waits");
    waiting
}

fn granted(waiting: &mut Waiting) -> Option<FairPermit> {
    waiting.as_mut().now_or_never().flatten()
}

#[test]
fn flows_take_turns() {
    let semaphore = semaphore(1, 0);
    let held = semaphore.try_acquire(1, 1).unwrap();
    let mut greedy: Vec<Waiting> = (0..3).map(|_| wait(&semaphore, 1, 1)).collect();
    let mut modest = wait(&semaphore, 2, 1);
    drop(held);
    let first = granted(&mut greedy[0]).unwrap();
    drop(first);
    assert!(granted(&mut modest).is_some(), "the second flow comes after one of the first");
}

#[test]
fn first_permit_of_a_flow_may_use_the_reserve() {
    let semaphore = semaphore(2, 1);
    let greedy = [(); 2].map(|()| semaphore.try_acquire(1, 1).unwrap());
    let mut third = wait(&semaphore, 1, 1);
    let newcomer = semaphore.try_acquire(2, 1).unwrap();
    let mut second_newcomer = wait(&semaphore, 3, 1);
    drop(newcomer);
    assert!(granted(&mut third).is_none(), "the reserve is not for the greedy flow");
    assert!(granted(&mut second_newcomer).is_some());
    drop(greedy);
    assert!(granted(&mut third).is_some());
}

#[test]
fn only_permit_of_a_flow_grows_into_the_reserve_and_to_the_total_at_most() {
    let semaphore = semaphore(6, 2);
    let mut only = semaphore.try_acquire(1, 6).unwrap();
    assert_eq!(only.grow(2).now_or_never(), Some(true));
    assert_eq!(only.units(), 8);
    assert_eq!(only.grow(1).now_or_never(), Some(false), "more than there is");
    drop(only);
    let mut one_of_two = [(); 2].map(|()| semaphore.try_acquire(1, 3).unwrap());
    assert_eq!(one_of_two[0].grow(1).now_or_never(), None, "it waits");
}

#[test]
fn cancelled_waiter_no_longer_blocks_the_others() {
    let semaphore = semaphore(2, 0);
    let held = semaphore.try_acquire(1, 1).unwrap();
    let large = wait(&semaphore, 2, 2);
    let mut small = wait(&semaphore, 3, 1);
    drop(large);
    assert!(granted(&mut small).is_some());
    drop(held);
    assert!(semaphore.try_acquire(1, 1).is_some());
}

#[test]
fn permit_granted_to_a_waiter_that_left_is_released() {
    let semaphore = semaphore(1, 0);
    let held = semaphore.try_acquire(1, 1).unwrap();
    let left = wait(&semaphore, 2, 1);
    drop(held);
    drop(left);
    assert!(semaphore.try_acquire(3, 1).is_some());
}

#[test]
fn split_units_are_released_on_their_own() {
    let semaphore = semaphore(3, 0);
    let mut all = semaphore.try_acquire(1, 3).unwrap();
    let parts = [all.split(1).unwrap(), all.split(2).unwrap()];
    assert!(all.split(1).is_none());
    drop(all);
    assert!(semaphore.try_acquire(2, 1).is_none());
    drop(parts);
    assert!(semaphore.try_acquire(2, 3).is_some());
}

#[test]
fn too_many_waiters_and_impossible_requests_are_refused() {
    let semaphore =
        FairSemaphore::new(SemaphoreSize { units: 1, reserve: 0, completion: 0, max_waiting: 1 });
    assert!(semaphore.acquire(1, 2).now_or_never().unwrap().is_none());
    let _held = semaphore.try_acquire(1, 1).unwrap();
    let _waits = wait(&semaphore, 1, 1);
    assert!(semaphore.acquire(1, 1).now_or_never().unwrap().is_none());
    let _other_flows_may_wait = wait(&semaphore, 2, 1);
}

#[test]
fn only_a_flow_beyond_its_share_is_full() {
    let semaphore = semaphore(4, 0);
    let _held = semaphore.try_acquire(1, 4).unwrap();
    assert!(semaphore.is_full_for(1) && !semaphore.is_full_for(2));
    let _one = wait(&semaphore, 2, 1);
    assert!(!semaphore.is_full_for(2), "one of a share of two");
    let _two = wait(&semaphore, 2, 1);
    assert!(semaphore.is_full_for(2) && !semaphore.is_full_for(3));
}

#[tokio::test(start_paused = true)]
async fn expected_wait_counts_the_units_ahead_at_the_measured_rate() {
    let semaphore = semaphore(2, 0);
    let both = semaphore.try_acquire(1, 2).unwrap();
    assert_eq!(semaphore.expected_wait(2, 1), Duration::ZERO);
    tokio::time::advance(Duration::from_secs(4)).await;
    drop(both);
    assert_eq!(semaphore.expected_wait(2, 1), Duration::ZERO, "units are free");
    // Two units are released every four seconds.
    let _both = semaphore.try_acquire(1, 2).unwrap();
    assert_eq!(semaphore.expected_wait(2, 1), Duration::from_secs(2));
    let _waits = wait(&semaphore, 1, 2);
    assert_eq!(semaphore.expected_wait(1, 1), Duration::from_secs(6));
    assert_eq!(semaphore.expected_wait(2, 1), Duration::from_secs(4), "one of the other flow");
}

/// Grows a permit in steps of one unit, and then releases it.
async fn grow_to(mut permit: FairPermit, units: u64, most_used: &std::cell::Cell<u64>) -> bool {
    while permit.units() < units {
        if !permit.grow(1).await {
            return false;
        }
        most_used.set(most_used.get().max(permit.semaphore.state.lock().used()));
        tokio::task::yield_now().await;
    }
    true
}

proptest! {
    /// Permits that grow step by step cannot block each other, whichever flows they belong to: all
    /// of them reach their size.
    #[test]
    fn growing_permits_do_not_wait_for_each_other(
        units in 1u64..40,
        reserve in 0u64..20,
        asked in proptest::collection::vec((0u64..4, 1u64..=10), 1..30),
    ) {
        let size = SemaphoreSize { units, reserve, completion: 10, max_waiting: 100 };
        let semaphore = FairSemaphore::new(size);
        let most_used = std::cell::Cell::new(0);
        let all = asked.iter().map(async |(flow, size)| {
            let permit = semaphore.acquire(*flow, 1).await.unwrap();
            grow_to(permit, *size, &most_used).await
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let ended = runtime.block_on(async {
            let all = futures_util::future::join_all(all);
            tokio::time::timeout(Duration::from_secs(3600), all).await
        });
        prop_assert!(ended.is_ok_and(|all| all.into_iter().all(|grown| grown)));
        prop_assert!(most_used.get() <= units + reserve + 10);
        let total = semaphore.state.lock().used();
        prop_assert_eq!(total, 0);
    }
}

/// Sixteen uploads of one caller, each of the largest size, in half the room that they need.
#[tokio::test(start_paused = true)]
async fn uploads_of_one_flow_end_although_all_of_them_do_not_fit() {
    let size = SemaphoreSize { units: 60, reserve: 20, completion: 10, max_waiting: 100 };
    let semaphore = FairSemaphore::new(size);
    let most_used = std::cell::Cell::new(0);
    let all = (0..16).map(async |_| {
        let permit = semaphore.acquire(1, 0).await.unwrap();
        grow_to(permit, 10, &most_used).await
    });
    let all = futures_util::future::join_all(all);
    let grown = tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    assert!(grown.into_iter().all(|grown| grown));
    assert!(most_used.get() <= 90, "{}", most_used.get());
}

/// The work for a release must not grow with the number of waiting requests.
#[test]
fn release_does_not_look_at_every_waiter() {
    const MANY: usize = 2_000;
    let size = SemaphoreSize { units: 4, reserve: 4, completion: 0, max_waiting: MANY };
    let semaphore = FairSemaphore::new(size);
    let mut held: std::collections::VecDeque<FairPermit> =
        (0..4).map(|_| semaphore.try_acquire(1, 1).unwrap()).collect();
    let mut waiting: Vec<Waiting> = (0..MANY).map(|_| wait(&semaphore, 1, 1)).collect();
    for next in &mut waiting {
        held.pop_front();
        held.push_back(granted(next).unwrap());
    }
    let looks = semaphore.state.lock().looks();
    assert!(looks <= 8 * MANY, "{looks} looks for {MANY} requests");
}

proptest! {
    /// However the units are taken, grown, split and released: never more than the size are held,
    /// and all are free again in the end.
    #[test]
    fn units_are_conserved(steps in proptest::collection::vec((0u64..4, 1u64..4, 0u8..4), 1..60)) {
        let semaphore = semaphore(6, 3);
        let mut held: Vec<FairPermit> = Vec::new();
        let mut waiting: Vec<Waiting> = Vec::new();
        for (flow, units, action) in steps {
            match action {
                0 | 1 => {
                    let semaphore = std::sync::Arc::clone(&semaphore);
                    let mut new: Waiting =
                        Box::pin(async move { semaphore.acquire(flow, units).await });
                    match new.as_mut().now_or_never() {
                        Some(permit) => held.extend(permit),
                        None => waiting.push(new),
                    }
                }
                2 if !held.is_empty() => drop(held.remove(0)),
                _ => drop(waiting.pop()),
            }
            for mut waiter in std::mem::take(&mut waiting) {
                match waiter.as_mut().now_or_never() {
                    Some(permit) => held.extend(permit),
                    None => waiting.push(waiter),
                }
            }
            let used: u64 = held.iter().map(FairPermit::units).sum();
            prop_assert!(used <= 9);
        }
        waiting.clear();
        held.clear();
        prop_assert!(semaphore.try_acquire(9, 6).is_some());
        prop_assert_eq!(semaphore.waiting_units(), 0);
    }
}
