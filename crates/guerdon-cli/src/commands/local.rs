//! The engine in this process: `guerdon score --local` scores without a server, with the server's
//! code.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use guerdon_server::config::{ConfigSource, ServerConfig};
use guerdon_server::{Engine, install_logs};
use guerdon_types::{Info, Invalid, RolloutResult, ScoreRequest};

/// The results of a request, each with its index.
pub(super) type ResultItems<E> = BoxStream<'static, Result<(usize, RolloutResult), E>>;

/// An engine of this process.
pub(super) struct LocalEngine {
    engine: Arc<Engine>,
}

impl LocalEngine {
    pub(super) async fn load(source: ConfigSource) -> anyhow::Result<Self> {
        let mut quiet = source.load()?.server;
        if quiet.log == ServerConfig::default().log {
            // The progress bar replaces the messages of level `info`.
            quiet.log = "warn".into();
        }
        install_logs(&quiet)?;
        let engine = tokio::task::spawn_blocking(move || Engine::load(source)).await??;
        engine.start_coordination();
        Ok(Self { engine })
    }

    pub(super) fn info(&self) -> Info {
        self.engine.info()
    }

    /// The results of a request, each with its index.
    pub(super) fn stream<E>(&self, request: ScoreRequest) -> Result<ResultItems<E>, Invalid> {
        let batch = self.engine.open(request)?;
        Ok(batch.run().map(|scored| Ok((scored.index, scored.result))).boxed())
    }

    pub(super) async fn close(&self) {
        self.engine.close().await;
    }
}
