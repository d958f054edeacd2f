//! The files of one load: the texts of packs and libraries, and the files that cannot be read.

use std::io;

use guerdon_text::{Finding, NotUtf8, Report, SourceText};

use crate::syntax::codes::PackCode;

/// A file that cannot be read as text, with the reason. It is one error of the report, and the
/// packs that import it have no further ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableFile {
    /// The name, as in [`SourceText::name`].
    name: String,
    /// The text before the first byte that is not UTF-8.
    before: String,
    reason: String,
    help: &'static str,
}

impl UnreadableFile {
    /// A file called `name` that was not read because of `cause`.
    #[must_use]
    pub fn new(name: impl Into<String>, cause: &io::Error) -> Self {
        let encoding = cause.get_ref().and_then(|inner| inner.downcast_ref::<NotUtf8>());
        let help = match (encoding, cause.kind()) {
            (Some(_), _) => "save the file as UTF-8",
            (None, io::ErrorKind::PermissionDenied) => "correct its permissions",
            _ => "correct it, or move it out of the folder",
        };
        Self {
            name: name.into(),
            before: encoding.map(|error| error.before.clone()).unwrap_or_default(),
            reason: cause.to_string(),
            help,
        }
    }

    /// The name of the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds the error of the file.
    fn report(&self, report: &mut Report) {
        let message = format!("the file cannot be read: {}", self.reason);
        let at = self.before.len();
        let finding = Finding::new(PackCode::Syntax, at..at, message).help(self.help);
        report.add(&SourceText::new(self.name.as_str(), self.before.as_str()), finding);
    }
}

/// The files of one load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackFiles {
    /// The packs, and the files that they import.
    pub texts: Vec<SourceText>,
    /// The files of the same load that cannot be read.
    pub unreadable: Vec<UnreadableFile>,
}

/// A view of the files of one load. A slice of texts is one without unreadable files.
#[derive(Debug, Clone, Copy)]
pub struct PackFilesRef<'f> {
    pub(crate) texts: &'f [SourceText],
    pub(crate) unreadable: &'f [UnreadableFile],
}

impl PackFilesRef<'_> {
    /// The errors of the files that cannot be read.
    pub(crate) fn report(self) -> Report {
        let mut report = Report::default();
        self.unreadable.iter().for_each(|file| file.report(&mut report));
        report
    }
}

impl PackFiles {
    /// The errors of the files that cannot be read.
    #[must_use]
    pub fn report(&self) -> Report {
        PackFilesRef::from(self).report()
    }
}

impl<'f> From<&'f PackFiles> for PackFilesRef<'f> {
    fn from(files: &'f PackFiles) -> Self {
        Self { texts: &files.texts, unreadable: &files.unreadable }
    }
}

impl<'f> From<&'f [SourceText]> for PackFilesRef<'f> {
    fn from(texts: &'f [SourceText]) -> Self {
        Self { texts, unreadable: &[] }
    }
}

impl<'f> From<&'f Vec<SourceText>> for PackFilesRef<'f> {
    fn from(texts: &'f Vec<SourceText>) -> Self {
        Self { texts, unreadable: &[] }
    }
}

impl<'f, const N: usize> From<&'f [SourceText; N]> for PackFilesRef<'f> {
    fn from(texts: &'f [SourceText; N]) -> Self {
        Self { texts, unreadable: &[] }
    }
}
