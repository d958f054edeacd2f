//! A bounded wait for a condition.

use std::time::Duration;

/// Time after which a wait fails the test.
const LIMIT: Duration = Duration::from_secs(30);

/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(10);

/// Checks `condition` until it holds. Fails the test, naming `what`, if it does not hold within 30
/// seconds.
pub async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, holds).await.is_ok(), "not within {LIMIT:?}: {what}");
}
