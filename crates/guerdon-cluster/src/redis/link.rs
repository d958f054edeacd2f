//! The connection to the store. One task connects, checks that the scripts work, beats and
//! listens. Every failed command ends the connection, so that the state never says more than what
//! works, and commands fail at once until the task has connected again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use guerdon_queue::{CoordinationState, CoordinatorError};
use parking_lot::Mutex;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::scripts;
use crate::keys::Keys;

/// The interval of beats.
pub(super) const BEAT: Duration = Duration::from_millis(500);
/// The time after the last beat of a replica for which it counts as live.
const LIVE_FOR: Duration = Duration::from_secs(3);
/// The first and the longest pause between two attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// The most characters of the store's text in a report.
const MAX_DETAIL: usize = 200;

/// The reason for the end of a connection when the server stops.
const STOPS: &str = "the server stops";

/// The consumer of the messages and beats of a [`Link`].
pub(super) trait Listener: Sync {
    /// A message arrived.
    fn message(&self, channel: &str, message: &str);
    /// A beat is due, directly after each connection too.
    fn beat(&self) -> BoxFuture<'_, Result<(), CoordinatorError>>;
    /// The connection is lost.
    fn lost(&self);
}

/// A connection that works.
struct Connection {
    commands: MultiplexedConnection,
    /// The identity of the store's process. Another one may have lost the last writes.
    run: String,
}

/// The connection to the store.
pub(super) struct Link {
    client: redis::Client,
    keys: Keys,
    id: String,
    timeout: Duration,
    connection: ArcSwapOption<Connection>,
    state: watch::Sender<CoordinationState>,
    replicas: Mutex<Vec<String>>,
}

impl Link {
    pub(super) fn new(client: redis::Client, keys: Keys, id: String, timeout: Duration) -> Self {
        let detail = "not connected yet".to_owned();
        Self {
            client,
            keys,
            id,
            timeout,
            connection: ArcSwapOption::empty(),
            state: watch::Sender::new(CoordinationState::Down { detail }),
            replicas: Mutex::default(),
        }
    }

    pub(super) const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn replicas(&self) -> Vec<String> {
        self.replicas.lock().clone()
    }

    pub(super) fn state(&self) -> CoordinationState {
        self.state.borrow().clone()
    }

    /// The identity of the store's process.
    pub(super) fn store_run(&self) -> Result<String, CoordinatorError> {
        let connection = self.connection.load();
        connection.as_ref().map(|one| one.run.clone()).ok_or_else(|| self.unavailable())
    }

    /// The error of a command without a connection.
    fn unavailable(&self) -> CoordinatorError {
        let detail = match self.state() {
            CoordinationState::Down { detail } => detail,
            _ => "not connected".to_owned(),
        };
        CoordinatorError::Unavailable { detail }
    }

    /// Sends a command and reads its reply.
    pub(super) async fn send<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<T, CoordinatorError> {
        let connection = self.connection.load_full().ok_or_else(|| self.unavailable())?;
        let mut commands = connection.commands.clone();
        let replied = tokio::time::timeout(self.timeout, command.query_async(&mut commands)).await;
        let detail = match replied {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(error)) => describe(&error),
            Err(_) => format!("no reply within {:?}", self.timeout),
        };
        self.lose(Some(&connection), &detail);
        Err(CoordinatorError::Unavailable { detail })
    }

    /// Ends the connection, unless another one has taken its place.
    fn lose(&self, connection: Option<&Arc<Connection>>, detail: &str) {
        if let Some(connection) = connection {
            let before = self.connection.compare_and_swap(connection, None);
            if !before.as_ref().is_some_and(|before| Arc::ptr_eq(before, connection)) {
                return;
            }
        }
        self.replicas.lock().clear();
        self.state.send_if_modified(|state| {
            let was_up = *state == CoordinationState::Up;
            if was_up && detail != STOPS {
                tracing::error!("coordination is down: {detail}; this server goes on alone");
            }
            let detail = detail.to_owned();
            let new = CoordinationState::Down { detail };
            let is_new = *state != new;
            *state = new;
            is_new
        });
    }

    /// Connects and serves until `stop`, and connects again after each loss.
    pub(super) async fn run(&self, listener: &dyn Listener, stop: CancellationToken) {
        self.run_until(listener, &stop).await;
        let connection = self.connection.load_full();
        self.lose(connection.as_ref(), STOPS);
    }

    async fn run_until(&self, listener: &dyn Listener, stop: &CancellationToken) {
        let mut pause = PAUSES.0;
        loop {
            let connected = tokio::select! {
                () = stop.cancelled() => return,
                connected = tokio::time::timeout(self.timeout * 3, self.connect()) => connected,
            };
            match connected {
                Ok(Ok((connection, messages))) => {
                    pause = PAUSES.0;
                    self.connection.store(Some(Arc::new(connection)));
                    let ended = self.serve(listener, messages, stop).await;
                    listener.lost();
                    if ended {
                        return;
                    }
                }
                Ok(Err(error)) => self.lose(None, &describe(&error)),
                Err(_) => self.lose(None, "the store did not accept a connection in time"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Beats and listens until the connection is lost (false) or `stop` (true).
    async fn serve(
        &self,
        listener: &dyn Listener,
        mut messages: PubSubStream,
        stop: &CancellationToken,
    ) -> bool {
        let mut state = self.state.subscribe();
        state.mark_unchanged();
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return true,
                _ = beats.tick() => {
                    if self.beat().await.is_err() || listener.beat().await.is_err() {
                        return false;
                    }
                    // Only now: everything that the state promises has worked.
                    let was_down = self.state.send_replace(CoordinationState::Up)
                        != CoordinationState::Up;
                    if was_down {
                        tracing::info!(replica = self.id, "coordination is up");
                        state.mark_unchanged();
                    }
                }
                changed = state.changed() => {
                    if changed.is_err() || self.connection.load().is_none() {
                        return false;
                    }
                }
                message = messages.next() => match message {
                    Some(message) => {
                        if let Ok(text) = message.get_payload::<String>() {
                            listener.message(message.get_channel_name(), &text);
                        }
                    }
                    None => {
                        let connection = self.connection.load_full();
                        self.lose(connection.as_ref(), "the store closed the connection");
                        return false;
                    }
                },
            }
        }
    }

    async fn beat(&self) -> Result<(), CoordinatorError> {
        let beat = scripts::beat(&self.keys, &self.id, LIVE_FOR);
        *self.replicas.lock() = self.send(&beat).await?;
        Ok(())
    }

    async fn connect(&self) -> Result<(Connection, PubSubStream), RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let mut commands =
            self.client.get_multiplexed_async_connection_with_config(&config).await?;
        // A proxy or an ACL may refuse this; a restart of the store is then not noticed.
        let about: Result<String, _> =
            redis::cmd("INFO").arg("server").query_async(&mut commands).await;
        let about = about.unwrap_or_default();
        let run = about.lines().find_map(|line| line.strip_prefix("run_id:"));
        let run = run.map_or_else(|| "unknown".to_owned(), |run| run.trim().to_owned());
        let (mut sink, messages) = self.client.get_async_pubsub().await?.split();
        sink.psubscribe(self.keys.all_done()).await?;
        sink.subscribe(self.keys.pauses()).await?;
        Ok((Connection { commands, run }, messages))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("id", &self.id).finish_non_exhaustive()
    }
}

fn describe(error: &RedisError) -> String {
    let detail = error.detail().map_or_else(|| error.to_string(), str::to_owned);
    guerdon_text::cut(&format!("{}: {detail}", error.category()), MAX_DETAIL).into_owned()
}
