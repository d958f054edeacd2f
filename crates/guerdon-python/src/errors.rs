//! Conversion of Rust errors to the exceptions of `guerdon.errors`: the same message, and fields
//! for programs.

use guerdon_client::Error;
use guerdon_client::optim::OptimError;
use pyo3::{IntoPyObject, PyErr};

/// The exception classes, which are defined in Python so that they have docstrings and types there.
mod classes {
    pyo3::import_exception!(guerdon.errors, ConfigError);
    pyo3::import_exception!(guerdon.errors, CutError);
    pyo3::import_exception!(guerdon.errors, DeadlineError);
    pyo3::import_exception!(guerdon.errors, DecodeError);
    pyo3::import_exception!(guerdon.errors, GuerdonError);
    pyo3::import_exception!(guerdon.errors, OptimError);
    pyo3::import_exception!(guerdon.errors, ProblemError);
    pyo3::import_exception!(guerdon.errors, RequestError);
    pyo3::import_exception!(guerdon.errors, StatusError);
    pyo3::import_exception!(guerdon.errors, TransportError);
    pyo3::import_exception!(guerdon.errors, VersionError);
}

/// The attributes of an exception besides its message; `None` leaves the attribute at its default.
#[derive(Debug, Default, IntoPyObject)]
struct ErrorFields {
    url: Option<String>,
    tries: Option<u32>,
    status: Option<u16>,
    code: Option<String>,
    pointer: Option<String>,
    hint: Option<String>,
    request_id: Option<String>,
    field: Option<&'static str>,
    server_version: Option<String>,
    client_version: Option<&'static str>,
}

/// The exception for an error of the client.
pub(crate) fn client_error(error: &Error) -> PyErr {
    let message = error.to_string();
    let mut fields = ErrorFields::default();
    if let Some(problem) = error.problem() {
        fields.status = Some(problem.status);
        fields.code = Some(problem.code.to_string());
        fields.pointer.clone_from(&problem.pointer);
        fields.hint.clone_from(&problem.hint);
        fields.request_id = problem.request_id.as_ref().map(ToString::to_string);
    }
    match error {
        Error::Config { field, .. } => {
            fields.field = Some(field);
            classes::ConfigError::new_err((message, fields))
        }
        Error::Invalid(invalid) => {
            fields.code = Some(invalid.code.as_str().to_owned());
            fields.pointer = Some(invalid.pointer.clone());
            fields.hint.clone_from(&invalid.hint);
            classes::RequestError::new_err((message, fields))
        }
        Error::Problem { url, tries, .. } => {
            (fields.url, fields.tries) = (Some(url.clone()), Some(*tries));
            classes::ProblemError::new_err((message, fields))
        }
        Error::Status { url, tries, status, .. } => {
            (fields.url, fields.tries, fields.status) =
                (Some(url.clone()), Some(*tries), Some(*status));
            classes::StatusError::new_err((message, fields))
        }
        Error::Transport { url, tries, .. } => {
            (fields.url, fields.tries) = (Some(url.clone()), Some(*tries));
            classes::TransportError::new_err((message, fields))
        }
        Error::Decode { url, .. } => {
            fields.url = Some(url.clone());
            classes::DecodeError::new_err((message, fields))
        }
        Error::Cut { url, .. } => {
            fields.url = Some(url.clone());
            classes::CutError::new_err((message, fields))
        }
        Error::Deadline { url, .. } => {
            fields.url = Some(url.clone());
            classes::DeadlineError::new_err((message, fields))
        }
        Error::Version { url, server, client, agree } => {
            fields.url = Some(url.clone());
            fields.field = Some(agree);
            fields.server_version = Some(server.clone());
            fields.client_version = Some(client);
            classes::VersionError::new_err((message, fields))
        }
        _ => classes::GuerdonError::new_err((message, fields)),
    }
}

/// The exception for an internal failure of the package.
pub(crate) fn internal_error(what: impl Into<String>) -> PyErr {
    classes::GuerdonError::new_err((what.into(), ErrorFields::default()))
}

/// The exception for an error of the optimizer.
pub(crate) fn optim_error(error: &OptimError) -> PyErr {
    classes::OptimError::new_err(error.to_string())
}

/// The exception for an input that is refused before it reaches the optimizer.
pub(crate) fn input_error(what: impl Into<String>) -> PyErr {
    classes::OptimError::new_err(what.into())
}
