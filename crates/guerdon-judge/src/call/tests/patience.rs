//! The time that a caller is prepared to wait.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::patience;
use crate::ask::answer::PatienceEnd;

#[tokio::test(start_paused = true)]
async fn whatever_comes_first_ends_the_wait() {
    let seconds = Duration::from_secs;
    let caller = patience(Some(5));
    assert_eq!(caller.wait(async { 7 }).await, Ok(7));
    let started = Instant::now();
    let late = caller.wait(sleep(seconds(9))).await;
    assert_eq!(late, Err(PatienceEnd::Deadline(caller.deadline.unwrap())));
    assert_eq!(started.elapsed(), seconds(5));
    // What is ready at the deadline still counts.
    assert_eq!(caller.wait(async { 8 }).await, Ok(8));

    let caller = patience(None);
    assert!(caller.wait(sleep(seconds(3600))).await.is_ok(), "without a deadline it waits");
    let gone = caller.gone.clone();
    let hangs_up = async {
        sleep(seconds(2)).await;
        gone.cancel();
    };
    let (waited, ()) = tokio::join!(caller.wait(std::future::pending::<()>()), hangs_up);
    assert_eq!(waited, Err(PatienceEnd::HungUp));
    assert_eq!(caller.wait(async { 9 }).await, Err(PatienceEnd::HungUp), "nothing starts any more");
}
