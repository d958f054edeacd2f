//! Standard output and standard error. Every command prints through this module.
//!
//! Commands must not fail in an undefined way if an output is closed or full, so `print!` and its
//! relatives, which panic then, are not used. A reader that closes a pipe early, as `head` does, is
//! not an error: the rest of the output is dropped, and the exit status is that of the work. Any
//! other failure to write to standard output ends the command with an error. Failures to write to
//! standard error are ignored, because there is no place left to report them.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};

/// Writes text to standard output. Evaluates to an [`io::Result`].
macro_rules! out {
    ($($argument:tt)*) => { $crate::output::text(format_args!($($argument)*)) };
}

/// Writes a line to standard output. Evaluates to an [`io::Result`].
macro_rules! outln {
    ($($argument:tt)*) => { $crate::output::line(format_args!($($argument)*)) };
}

/// Writes a line to standard error.
macro_rules! errln {
    ($($argument:tt)*) => { $crate::output::error_line(format_args!($($argument)*)) };
}

pub(crate) use {errln, out, outln};

/// An output that drops everything after its reader has closed it.
#[derive(Debug)]
pub(crate) struct PipeWriter<W> {
    inner: W,
    /// The name, for errors.
    name: String,
    is_closed: bool,
}

/// Standard output as a [`PipeWriter`].
pub(crate) fn standard_output() -> PipeWriter<io::Stdout> {
    PipeWriter::new(io::stdout(), "standard output")
}

impl<W: Write> PipeWriter<W> {
    pub(crate) fn new(inner: W, name: impl Into<String>) -> Self {
        Self { inner, name: name.into(), is_closed: false }
    }

    /// Returns true once the reader has closed the pipe.
    pub(crate) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Handles the result of a write; `dropped` is its result if the reader has gone.
    fn checked<T>(&mut self, result: io::Result<T>, dropped: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(dropped)
            }
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                let message = format!("cannot write to {}: {error}", self.name);
                Err(io::Error::new(error.kind(), message))
            }
            other => other,
        }
    }
}

impl<W: Write> Write for PipeWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let written = self.inner.write(bytes);
        self.checked(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.inner.flush();
        self.checked(flushed, ())
    }
}

/// Implements [`out!`].
pub(crate) fn text(text: fmt::Arguments<'_>) -> io::Result<()> {
    let mut output = standard_output();
    // One write: a formatter that wrote piece by piece would make many system calls.
    output.write_all(text.to_string().as_bytes())?;
    output.flush()
}

/// Implements [`outln!`].
pub(crate) fn line(line: fmt::Arguments<'_>) -> io::Result<()> {
    text(format_args!("{line}\n"))
}

/// Implements [`errln!`].
pub(crate) fn error_line(line: fmt::Arguments<'_>) {
    drop(io::stderr().write_all(format!("{line}\n").as_bytes()));
}

/// Writes a report in colour to standard error. Without a terminal, the colours are removed.
pub(crate) fn coloured_error(report: &str) {
    drop(anstream::stderr().write_all(format!("{report}\n").as_bytes()));
}

/// Prints an error with its causes. Skips causes that the message already quotes.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    if let Some(report) = error.downcast_ref::<guerdon_text::Report>() {
        // Each of its errors begins with `error`.
        coloured_error(report.coloured().trim_end_matches('\n'));
        return ExitCode::FAILURE;
    }
    errln!("error: {error}");
    let mut printed = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !printed.contains(&cause) {
            errln!("  caused by: {cause}");
            printed = cause;
        }
    }
    ExitCode::FAILURE
}

/// Prints the help, the version, or the error of a command line that does not parse.
pub(crate) fn usage(message: &clap::Error) -> ExitCode {
    let styled = message.render();
    if message.use_stderr() {
        drop(write!(anstream::stderr(), "{}", styled.ansi()));
    } else {
        let plain = AutoStream::choice(&io::stdout()) == ColorChoice::Never;
        let written = if plain { out!("{styled}") } else { out!("{}", styled.ansi()) };
        if let Err(error) = written {
            return failure(&error.into());
        }
    }
    u8::try_from(message.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}
