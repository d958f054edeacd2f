//! Log output and traces, installed once by `main`.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{Environment, LogFormat, ServerConfig};
use crate::observe::traces::{TraceError, Traces};

/// Logs or traces cannot be written as they are configured.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The `server.log` filter does not parse.
    #[error(transparent)]
    Filter(#[from] InvalidLogFilter),
    /// The environment asks for traces that guerdon cannot export.
    #[error(transparent)]
    Traces(#[from] TraceError),
}

/// The `server.log` filter does not parse.
#[derive(Debug, thiserror::Error)]
#[error(
    "server.log = \"{filter}\": {cause}\n  help: use a level such as \"info\", or pairs such as \"guerdon_judge=debug,info\""
)]
pub struct InvalidLogFilter {
    filter: String,
    cause: tracing_subscriber::filter::ParseError,
}

/// The installed telemetry.
#[derive(Debug, Default)]
#[must_use = "the last spans are sent by `stop`"]
pub struct Telemetry {
    traces: Traces,
}

impl Telemetry {
    /// Sends the spans that are left, for at most 3 s. Not to be called on an async thread.
    pub fn stop(self) {
        self.traces.stop();
    }
}

/// Installs the log output on standard error, without traces.
///
/// # Errors
/// [`InvalidLogFilter`] if the filter does not parse.
pub fn install_logs(config: &ServerConfig) -> Result<(), InvalidLogFilter> {
    install_layers(config, &Traces::default())
}

/// Installs the log output on standard error, and the export of traces if the environment has an
/// endpoint (`OTEL_EXPORTER_OTLP_ENDPOINT`).
///
/// # Errors
/// [`TelemetryError`] if the filter does not parse, or traces cannot be exported.
pub fn install(
    config: &ServerConfig,
    environment: &dyn Environment,
) -> Result<Telemetry, TelemetryError> {
    let traces = Traces::from_environment(environment)?;
    install_layers(config, &traces)?;
    Ok(Telemetry { traces })
}

fn install_layers(config: &ServerConfig, traces: &Traces) -> Result<(), InvalidLogFilter> {
    let filter = EnvFilter::try_new(&config.log)
        .map_err(|cause| InvalidLogFilter { filter: config.log.clone(), cause })?;
    let output = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // The default reports a failed write with `eprintln!`, which panics if standard error is full.
        .log_internal_errors(false);
    let output = match config.log_format {
        LogFormat::Text => output.boxed(),
        LogFormat::Json => output.json().boxed(),
    };
    // An error means that logging is installed already, as in a test with two servers.
    drop(match traces.layer() {
        // The filter of logs must not filter spans.
        Some(layer) => {
            let output = output.with_filter(filter);
            tracing_subscriber::registry().with(output).with(layer).try_init()
        }
        None => tracing_subscriber::registry().with(output).with(filter).try_init(),
    });
    Ok(())
}
