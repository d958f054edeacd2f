//! Pauses: an address that asks one replica to wait has asked all of them. A pause is published, and
//! kept as a key for replicas that miss the message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::{CoordinatorError, PauseListener};
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::link::Link;
use super::scripts;
use crate::keys::short;

/// The shortest pause that is shared: a shorter one ends before the others know it.
const SHORTEST: Duration = Duration::from_millis(20);
/// The longest pause that is believed.
const LONGEST: Duration = Duration::from_secs(120);

/// The pauses of a replica.
pub(super) struct Pauses {
    link: Arc<Link>,
    /// By the hash of the name.
    listeners: Mutex<HashMap<String, PauseTarget>>,
}

struct PauseTarget {
    name: String,
    listeners: Vec<PauseListener>,
}

impl Pauses {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, listeners: Mutex::default() }
    }

    pub(super) fn listen(&self, name: &str, listener: PauseListener) {
        let mut targets = self.listeners.lock();
        let target = targets
            .entry(short(name))
            .or_insert_with(|| PauseTarget { name: name.to_owned(), listeners: Vec::new() });
        target.listeners.push(listener);
    }

    /// Tells a pause to the other replicas, in a task of its own.
    pub(super) fn tell(&self, name: &str, pause: Duration, tasks: &TaskTracker) {
        if pause < SHORTEST {
            return;
        }
        let pause = pause.min(LONGEST);
        let message = format!("{} {} {}", short(name), scripts::millis(pause), self.link.id());
        let command = scripts::pause(self.link.keys(), name, pause, &message);
        let link = Arc::clone(&self.link);
        // Without a connection every replica learns the pause from the address.
        tasks.spawn(async move { drop(link.send::<i64>(&command).await) });
    }

    /// Takes in a message.
    pub(super) fn told(&self, message: &str) {
        let mut words = message.split(' ');
        let (Some(hash), Some(millis), Some(from)) = (words.next(), words.next(), words.next())
        else {
            return;
        };
        if from == self.link.id() {
            return;
        }
        if let Ok(millis) = millis.parse() {
            self.apply(hash, Duration::from_millis(millis));
        }
    }

    fn apply(&self, hash: &str, pause: Duration) {
        let mut targets = self.listeners.lock();
        if let Some(target) = targets.get_mut(hash) {
            target.listeners.retain(|listener| listener(pause.min(LONGEST)));
        }
    }

    /// Reads the pauses of the known names.
    pub(super) async fn beat(&self) -> Result<(), CoordinatorError> {
        let known: Vec<(String, String)> = {
            let listeners = self.listeners.lock();
            listeners.iter().map(|(hash, target)| (hash.clone(), target.name.clone())).collect()
        };
        for (hash, name) in known {
            let mut command = redis::cmd("PTTL");
            command.arg(self.link.keys().pause(&name));
            let left: i64 = self.link.send(&command).await?;
            if let Ok(left) = u64::try_from(left)
                && left > 0
            {
                self.apply(&hash, Duration::from_millis(left));
            }
        }
        Ok(())
    }
}
