//! Dependencies of an endpoint that are not part of its configuration.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use guerdon_queue::{Alone, Coordinator};
use secrecy::SecretString;
use tokio_util::task::TaskTracker;

use crate::call::transport::Transport;
use crate::error::Error;
use crate::store::event::{CallEvent, CallObserver, JudgeReply, ReplyObserver};

/// Location of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyPlace<'a> {
    /// An environment variable.
    pub env: Option<&'a str>,
    /// A file.
    pub file: Option<&'a Path>,
}

type Keys = Arc<dyn Fn(KeyPlace<'_>) -> Result<Option<SecretString>, String> + Send + Sync>;
type Connect = Arc<dyn Fn(&str) -> Arc<dyn Transport> + Send + Sync>;

/// The coordinator of the replicas.
pub(crate) type SharedCoordinator = Arc<dyn Coordinator>;

/// Dependencies of an endpoint.
#[derive(Clone)]
pub struct Services {
    pub(crate) tasks: TaskTracker,
    pub(crate) observer: CallObserver,
    pub(crate) reply_observer: Option<ReplyObserver>,
    pub(crate) keys: Keys,
    pub(crate) root: PathBuf,
    pub(crate) connect: Option<Connect>,
    pub(crate) coordinator: SharedCoordinator,
}

impl Services {
    /// Creates services without API keys, with paths relative to the working directory, and with
    /// HTTP as the transport. Calls run on `tasks`, because they outlive a caller that disconnects;
    /// the owner of `tasks` must join it. `observer` receives an event for every attempt and every
    /// cached answer, and must not block.
    pub fn new(tasks: TaskTracker, observer: impl Fn(&CallEvent) + Send + Sync + 'static) -> Self {
        let keys: Keys = Arc::new(|place| match place {
            KeyPlace { env: None, file: None } => Ok(None),
            _ => Err("API keys are not supported here".to_owned()),
        });
        Self {
            tasks,
            observer: Arc::new(observer),
            reply_observer: None,
            keys,
            root: PathBuf::new(),
            connect: None,
            coordinator: Arc::new(Alone),
        }
    }

    /// Passes what the judge wrote in each reply to `observer`, which must not block.
    #[must_use]
    pub fn with_reply_observer(
        mut self,
        observer: impl Fn(JudgeReply) + Send + Sync + 'static,
    ) -> Self {
        self.reply_observer = Some(Arc::new(observer));
        self
    }

    /// Looks up API keys with `keys`, which returns the reason if it fails. This crate never reads
    /// the environment.
    #[must_use]
    pub fn with_keys(
        mut self,
        keys: impl Fn(KeyPlace<'_>) -> Result<Option<SecretString>, String> + Send + Sync + 'static,
    ) -> Self {
        self.keys = Arc::new(keys);
        self
    }

    /// Paths in the configuration are relative to `root`.
    #[must_use]
    pub fn with_root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    /// Questions to an address travel by what `connect` makes for it.
    #[must_use]
    pub fn with_transport(
        mut self,
        connect: impl Fn(&str) -> Arc<dyn Transport> + Send + Sync + 'static,
    ) -> Self {
        self.connect = Some(Arc::new(connect));
        self
    }

    /// Shares answers, quotas, budgets and pauses with other replicas through `coordinator`.
    #[must_use]
    pub fn with_coordinator(mut self, coordinator: Arc<dyn Coordinator>) -> Self {
        self.coordinator = coordinator;
        self
    }

    pub(crate) fn key(&self, place: KeyPlace<'_>) -> Result<Option<SecretString>, Error> {
        (self.keys)(place).map_err(|detail| {
            let named = place.env.map(str::to_owned);
            let named = named
                .or_else(|| place.file.map(|file| file.display().to_string()))
                .unwrap_or_default();
            Error::Value { key: "api_key", detail: format!("`{named}` cannot be used: {detail}") }
        })
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("root", &self.root).finish_non_exhaustive()
    }
}
