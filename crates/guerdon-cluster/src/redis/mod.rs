//! The coordinator over Redis or Valkey.
//!
//! | File | Contents |
//! |---|---|
//! | `link.rs` | the connection: one task connects, checks, beats and listens |
//! | `scripts.rs` | the scripts, sent with plain `EVAL` |
//! | `answers.rs` | stored values, leases with takeover, and wake-ups |
//! | `quotas.rs` | slices of quotas, and the part of a server without a connection |
//! | `slice.rs` | the slice of one quota, as arithmetic on its counts |
//! | `budgets.rs` | running totals of replicas, and holds that expire |
//! | `pauses.rs` | pauses that an address asked one replica for |

mod answers;
mod budgets;
mod link;
mod pauses;
mod quotas;
mod scripts;
mod slice;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use guerdon_queue::{
    BudgetHold, Claim, CoordinationState, Coordinator, CoordinatorError, HoldGrant, HoldRequest,
    Lease, PauseListener, QuotaGrant, QuotaRequest, QuotaUnits,
};
use redis::IntoConnectionInfo as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::answers::Answers;
use self::budgets::Budgets;
use self::link::Link;
use self::pauses::Pauses;
use self::quotas::Quotas;
use crate::config::{ClusterConfig, ClusterError};
use crate::keys::Keys;

/// The coordinator over Redis or Valkey. It connects while [`Redis::run`] runs.
pub struct Redis {
    link: Arc<Link>,
    answers: Answers,
    quotas: Quotas,
    budgets: Budgets,
    pauses: Pauses,
    tasks: TaskTracker,
}

/// The number of random bytes in the identity of a process.
const ID_BYTES: usize = 8;

impl Redis {
    /// The coordinator of `config`; `None` if the configuration names no store. Leases are renewed
    /// on `tasks`, which the owner must join.
    ///
    /// # Errors
    /// [`ClusterError`] if a value cannot be used.
    pub fn new(
        config: &ClusterConfig,
        password: Option<&SecretString>,
        tasks: TaskTracker,
    ) -> Result<Option<Arc<Self>>, ClusterError> {
        config.check()?;
        let Some(url) = &config.url else { return Ok(None) };
        let wrong = |error: redis::RedisError| ClusterError::Value {
            key: "url",
            detail: format!("cannot be used: {}", error.category()),
        };
        let mut info = url.as_str().into_connection_info().map_err(wrong)?;
        if let Some(password) = password {
            let settings = info.redis_settings().clone();
            info = info.set_redis_settings(settings.set_password(password.expose_secret()));
        }
        let client = redis::Client::open(info).map_err(wrong)?;
        let id = guerdon_text::hex(&rand::random::<[u8; ID_BYTES]>());
        let id = config.replica.as_ref().map_or_else(|| id.clone(), |name| format!("{name}.{id}"));
        let link = Arc::new(Link::new(client, Keys::new(&config.namespace), id, config.timeout));
        Ok(Some(Arc::new(Self {
            answers: Answers::new(Arc::clone(&link), config.lease, tasks.clone()),
            quotas: Quotas::new(Arc::clone(&link), config),
            budgets: Budgets::new(Arc::clone(&link)),
            pauses: Pauses::new(Arc::clone(&link)),
            link,
            tasks,
        })))
    }

    /// The identity of this process among the replicas.
    #[must_use]
    pub fn id(&self) -> &str {
        self.link.id()
    }

    /// The identities of the replicas that beat lately, this one included; empty without a
    /// connection.
    #[must_use]
    pub fn replicas(&self) -> Vec<String> {
        self.link.replicas()
    }

    /// Connects, keeps the connection and listens, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        self.link.run(&*self, stop).await;
    }
}

impl link::Listener for Redis {
    fn message(&self, channel: &str, message: &str) {
        if channel == self.link.keys().pauses() {
            self.pauses.told(message);
        } else {
            self.answers.wake(message);
        }
    }

    fn beat(&self) -> BoxFuture<'_, Result<(), CoordinatorError>> {
        async {
            self.answers.store_later().await?;
            self.quotas.beat().await?;
            self.budgets.beat().await?;
            self.pauses.beat().await
        }
        .boxed()
    }

    fn lost(&self) {
        self.answers.wake_all();
    }
}

impl Coordinator for Redis {
    fn is_shared(&self) -> bool {
        true
    }

    fn state(&self) -> CoordinationState {
        self.link.state()
    }

    fn claim<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Claim, CoordinatorError>> {
        self.answers.claim(key).boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
        lease: Option<Lease>,
    ) -> BoxFuture<'a, Result<Vec<u8>, CoordinatorError>> {
        self.answers.put(key, value, ttl, lease).boxed()
    }

    fn take_quota<'a>(
        &'a self,
        request: QuotaRequest<'a>,
    ) -> BoxFuture<'a, Result<QuotaGrant, CoordinatorError>> {
        self.quotas.take(request).boxed()
    }

    fn settle_quota(&self, name: &str, units: QuotaUnits, used: u64) {
        self.quotas.settle(name, units, used);
    }

    fn hold<'a>(
        &'a self,
        request: HoldRequest<'a>,
    ) -> BoxFuture<'a, Result<HoldGrant, CoordinatorError>> {
        self.budgets.hold(request).boxed()
    }

    fn settle_hold(&self, hold: BudgetHold, cost: u64) -> BoxFuture<'_, ()> {
        self.budgets.settle(hold, cost).boxed()
    }

    fn pause(&self, name: &str, pause: Duration) {
        self.pauses.tell(name, pause, &self.tasks);
    }

    fn on_pause(&self, name: &str, listener: PauseListener) {
        self.pauses.listen(name, listener);
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("id", &self.id())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
