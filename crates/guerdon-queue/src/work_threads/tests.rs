//! Tests of the work threads.

use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

/// Threads whose single thread waits until the returned sender is used.
async fn busy(max_waiting: usize) -> (WorkThreads, mpsc::Sender<()>) {
    let threads = WorkThreads::start("test", 1, max_waiting).unwrap();
    let (release, released) = mpsc::channel();
    let permit = threads.enter(0, 1).await.unwrap();
    let mut job = Box::pin(permit.run(move |_| released.recv().is_ok()));
    assert!(job.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    std::mem::forget(job);
    (threads, release)
}

#[tokio::test]
async fn result_and_panic_reach_the_caller() {
    let threads = WorkThreads::start("test", 2, 10).unwrap();
    for round in 0..100 {
        assert_eq!(threads.enter(1, 1).await.unwrap().run(move |_| round).await, Ok(round));
        let failed = threads.enter(1, 1).await.unwrap().run(|_| panic!("requested panic"));
        assert_eq!(failed.await, Err::<(), _>(WorkError::Panicked));
    }
    threads.stop();
    assert_eq!(threads.enter(1, 1).await.unwrap_err(), WorkError::Stopped);
}

#[tokio::test]
async fn full_queue_refuses_and_a_place_that_is_given_up_is_free_again() {
    let (threads, release) = busy(2).await;
    let prepared = threads.enter(1, 1).await.unwrap();
    let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(threads.enter(1, 1))).collect();
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.iter_mut().all(|enter| enter.as_mut().poll(&mut context).is_pending()));
    assert!(matches!(threads.enter(1, 1).await, Err(WorkError::Full { .. })));
    assert!(threads.full_for().is_some());
    waiting.pop();
    assert!(threads.full_for().is_none());
    assert!(Box::pin(threads.enter(1, 1)).as_mut().poll(&mut context).is_pending());
    drop(prepared);
    let Poll::Ready(Ok(permit)) = waiting[0].as_mut().poll(&mut context) else {
        panic!("the permit that was given back is passed on")
    };
    release.send(()).unwrap();
    assert_eq!(permit.run(|_| 7).await, Ok(7));
}

#[tokio::test]
async fn admitted_work_waits_although_the_queue_is_full() {
    let (threads, release) = busy(0).await;
    let prepared = threads.enter(1, 1).await.unwrap();
    assert!(matches!(threads.enter(2, 1).await, Err(WorkError::Full { .. })));
    assert!(threads.full_for_flow(1).is_some());
    let mut admitted: Vec<_> = (0..5).map(|_| Box::pin(threads.enter_admitted(1, 1))).collect();
    let mut context = Context::from_waker(Waker::noop());
    assert!(admitted.iter_mut().all(|enter| enter.as_mut().poll(&mut context).is_pending()));
    drop(prepared);
    release.send(()).unwrap();
    for enter in admitted {
        assert_eq!(enter.await.unwrap().run(|_| 7).await, Ok(7));
    }
    threads.stop();
    assert_eq!(threads.enter_admitted(1, 1).await.unwrap_err(), WorkError::Stopped);
}

#[tokio::test]
async fn flow_that_fills_the_queue_leaves_places_for_others() {
    let (threads, _release) = busy(4).await;
    let _prepared = threads.enter(1, 1).await.unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut is_refused = |flow| {
        let mut enter = Box::pin(threads.enter(flow, 1));
        let polled = enter.as_mut().poll(&mut context);
        std::mem::forget(enter);
        matches!(polled, Poll::Ready(Err(WorkError::Full { .. })))
    };
    let greedy: Vec<bool> = (0..6).map(|_| is_refused(1)).collect();
    assert_eq!(greedy, [false, false, false, false, true, true]);
    for flow in 2..20 {
        assert!(threads.full_for_flow(flow).is_none(), "flow {flow} has no place yet");
        assert!(!is_refused(flow), "flow {flow} has no place yet");
        assert!(threads.full_for_flow(1).is_some() && is_refused(1));
    }
    assert!(is_refused(2), "a share of one place");
    assert!(threads.full_for().is_some());
}

#[tokio::test]
async fn work_of_a_caller_that_has_gone_sees_the_flag_or_does_not_start() {
    let (threads, release) = busy(10).await;
    let (ran, runs) = mpsc::channel::<()>();
    let permit = threads.enter(1, 1).await.unwrap();
    let mut never = Box::pin(permit.run(move |_| ran.send(()).is_ok()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(never.as_mut().poll(&mut context).is_pending());
    drop(never);
    release.send(()).unwrap();
    assert!(runs.recv().is_err(), "the job was dropped without a run");

    let (started, start) = mpsc::channel();
    let (ended, end) = mpsc::channel();
    let permit = threads.enter(1, 1).await.unwrap();
    let mut job = Box::pin(permit.run(move |gone| {
        started.send(()).unwrap();
        while !gone.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        ended.send(()).unwrap();
    }));
    assert!(job.as_mut().poll(&mut context).is_pending());
    start.recv().unwrap();
    drop(job);
    end.recv().unwrap();
    assert_eq!(threads.enter(1, 1).await.unwrap().run(|_| 7).await, Ok(7));
}

#[tokio::test]
async fn stop_ends_callers_that_wait() {
    let (threads, release) = busy(10).await;
    let mut context = Context::from_waker(Waker::noop());
    let prepared = threads.enter(1, 1).await.unwrap();
    let mut prepared = Box::pin(prepared.run(|_| 7));
    assert!(prepared.as_mut().poll(&mut context).is_pending());
    let mut waiting = Box::pin(threads.enter(1, 1));
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    release.send(()).unwrap();
    threads.stop();
    assert!(matches!(prepared.await, Err(WorkError::Stopped) | Ok(7)));
    assert!(matches!(waiting.await, Err(WorkError::Stopped) | Ok(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Callers that come, wait, leave and run at random: no permit is lost and none is invented.
    #[test]
    fn permits_are_neither_lost_nor_invented(
        steps in proptest::collection::vec((0u8..4, 0usize..6), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let threads = WorkThreads::start("test", 2, 8).unwrap();
            let mut context = Context::from_waker(Waker::noop());
            let mut waiting = Vec::new();
            let mut permits = Vec::new();
            for (step, which) in steps {
                match step {
                    0 | 1 => waiting.push(Box::pin(threads.enter(u64::from(step), 1))),
                    2 if !waiting.is_empty() => drop(waiting.swap_remove(which % waiting.len())),
                    3 if !permits.is_empty() => drop(permits.swap_remove(which % permits.len())),
                    _ => {}
                }
                waiting = waiting
                    .into_iter()
                    .filter_map(|mut enter| match enter.as_mut().poll(&mut context) {
                        Poll::Ready(permit) => {
                            permits.extend(permit.ok());
                            None
                        }
                        Poll::Pending => Some(enter),
                    })
                    .collect();
                assert!(permits.len() <= 2 * PREPARED);
                assert!(permits.len() == 2 * PREPARED || waiting.is_empty());
            }
            drop((waiting, permits));
            assert_eq!(threads.shared.state.lock().free_permits, 2 * PREPARED);
        });
    }
}
