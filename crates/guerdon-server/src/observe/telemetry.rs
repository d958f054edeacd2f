//! Log output, installed once by `main`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, ServerConfig};

/// The `server.log` filter does not parse.
#[derive(Debug, thiserror::Error)]
#[error(
    "server.log = \"{filter}\": {cause}\n  help: use a level such as \"info\", or pairs such as \"guerdon_judge=debug,info\""
)]
pub struct InvalidLogFilter {
    filter: String,
    cause: tracing_subscriber::filter::ParseError,
}

/// Installs the log output on standard error.
///
/// # Errors
/// [`InvalidLogFilter`] if the filter does not parse.
pub fn install(config: &ServerConfig) -> Result<(), InvalidLogFilter> {
    let filter = EnvFilter::try_new(&config.log)
        .map_err(|cause| InvalidLogFilter { filter: config.log.clone(), cause })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    // The default reports a failed write with `eprintln!`, which panics if standard error is full.
    let builder = builder.log_internal_errors(false);
    // An error means that logging is installed already, as in a test with two servers.
    drop(match config.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    });
    Ok(())
}
