//! Semaphores, polled by hand.

use std::time::Duration;

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::{FairPermit, FairSemaphore, SemaphoreSize};

fn semaphore(units: u64, reserve: u64) -> std::sync::Arc<FairSemaphore> {
    FairSemaphore::new(SemaphoreSize { units, reserve, max_waiting: 100 })
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
    let semaphore = FairSemaphore::new(SemaphoreSize { units: 1, reserve: 0, max_waiting: 1 });
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
