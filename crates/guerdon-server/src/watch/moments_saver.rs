//! Saves the moments of online normalisers while the server runs. The stop saves them, too.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::load::own_thread::on_own_thread;

/// The longest time whose values a crash loses.
const EVERY: Duration = Duration::from_secs(30);

/// Saves moments until `stop`.
pub(crate) async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if engine.has_moments_to_save() {
            let engine = Arc::clone(&engine);
            on_own_thread("guerdon-moments", move || engine.save_moments()).await;
        }
    }
}
