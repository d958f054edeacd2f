//! Blocking work on a thread of its own. The runtime's pool of blocking threads is shared with work
//! on behalf of clients, and may be busy with it when a reload or a stop is due.

use guerdon_queue::PARSER_STACK;
use tokio::sync::oneshot;

/// Runs `work` on a new thread. `None` if the thread cannot be started, or `work` panics. Only one
/// call of each kind of work is under way at a time, which bounds the number of threads.
pub(crate) async fn on_own_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (send, receive) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(PARSER_STACK);
    let thread = thread.spawn(move || {
        // The caller may have been cancelled, as at a stop.
        drop(send.send(work()));
    });
    match thread {
        // The end of the work is the end of the thread.
        Ok(_detached) => receive.await.ok(),
        Err(error) => {
            tracing::error!(name, %error, "a thread could not be started");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn result_is_returned_and_a_panic_is_none() {
        assert_eq!(on_own_thread("test", || 7).await, Some(7));
        let failed: Option<()> = on_own_thread("test", || panic!("requested panic")).await;
        assert_eq!(failed, None);
    }
}
