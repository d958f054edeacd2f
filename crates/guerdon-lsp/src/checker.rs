//! Checks open documents on a thread of its own. The latest text wins: a check of an older one is
//! stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use guerdon_rules::{PackFiles, RulePacks, ScanLimit, Severity, WorkBounds};
use guerdon_text::Diagnostic;
use ls_types::Uri;
use parking_lot::{Condvar, Mutex};
use serde_json::json;

use crate::client::EditorClient;
use crate::diagnostics;
use crate::documents::{OpenDocument, OpenDocuments};
use crate::folder::{FileGroup, looks_like_pack};
use crate::position::{Encoding, IndexedText};

/// The time without a change after which a check starts.
const QUIET: Duration = Duration::from_millis(60);

/// The number of checks in a row that a newer text stops. The next one runs to its end, so that
/// an author who never pauses sees diagnostics, too.
const MAX_STOPPED: usize = 8;

/// The longest check.
const LONGEST: Duration = Duration::from_secs(30);

/// The diagnostics of a version of a document.
#[derive(Debug, Clone)]
pub(crate) struct DocumentReport {
    pub(crate) version: i32,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// The latest reports by the name of the file.
pub(crate) type LatestReports = Arc<Mutex<BTreeMap<String, DocumentReport>>>;

#[derive(Debug, Default)]
struct Pending {
    documents: Option<OpenDocuments>,
    /// The files to check.
    changed: BTreeSet<PathBuf>,
    /// The number of checks that were stopped since the last one that ran to its end.
    stopped: usize,
    is_over: bool,
}

#[derive(Debug, Default)]
struct CheckState {
    pending: Mutex<Pending>,
    wake: Condvar,
    stop: AtomicBool,
}

/// The thread that checks.
#[derive(Debug)]
pub(crate) struct Checker {
    shared: Arc<CheckState>,
    pub(crate) reports: LatestReports,
    thread: Option<JoinHandle<()>>,
}

impl Checker {
    pub(crate) fn start(client: EditorClient, encoding: Encoding) -> Self {
        let (shared, reports) = (Arc::new(CheckState::default()), LatestReports::default());
        let work = CheckThread {
            shared: Arc::clone(&shared),
            reports: Arc::clone(&reports),
            client,
            encoding,
            shown: BTreeMap::new(),
        };
        let thread = Some(thread::spawn(move || work.run()));
        Self { shared, reports, thread }
    }

    /// Asks for a check of the files `changed`, with the open documents as they are now.
    pub(crate) fn check(
        &self,
        documents: OpenDocuments,
        changed: impl IntoIterator<Item = PathBuf>,
    ) {
        let mut pending = self.shared.pending.lock();
        pending.documents = Some(documents);
        pending.changed.extend(changed);
        if pending.stopped < MAX_STOPPED {
            self.shared.stop.store(true, Ordering::Relaxed);
        }
        self.shared.wake.notify_all();
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.shared.pending.lock().is_over = true;
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic was reported where it was caught.
            let _ = thread.join();
        }
    }
}

struct CheckThread {
    shared: Arc<CheckState>,
    reports: LatestReports,
    client: EditorClient,
    encoding: Encoding,
    /// The files that the client shows diagnostics of.
    shown: BTreeMap<String, Uri>,
}

impl CheckThread {
    fn run(mut self) {
        while let Some((documents, changed)) = self.next() {
            let mut left = changed;
            let checked = catch_unwind(AssertUnwindSafe(|| self.check(&documents, &mut left)));
            if checked.is_err() {
                let message = "guerdon: a check failed; this is a defect of the language server";
                self.client.notify("window/logMessage", json!({ "type": 1, "message": message }));
                continue;
            }
            let mut pending = self.shared.pending.lock();
            pending.stopped = if left.is_empty() { 0 } else { pending.stopped + 1 };
            pending.changed.extend(left);
        }
    }

    /// Waits for changes, and then until there is none for a moment. `None` at the end.
    fn next(&self) -> Option<(OpenDocuments, BTreeSet<PathBuf>)> {
        let mut pending = self.shared.pending.lock();
        while pending.documents.is_none() {
            if pending.is_over {
                return None;
            }
            self.shared.wake.wait(&mut pending);
        }
        for _ in 0..MAX_STOPPED {
            if pending.is_over || self.shared.wake.wait_for(&mut pending, QUIET).timed_out() {
                break;
            }
        }
        self.shared.stop.store(false, Ordering::Relaxed);
        let documents = pending.documents.take()?;
        Some((documents, std::mem::take(&mut pending.changed)))
    }

    /// Checks the files in `changed` and removes them. Those that are left were not checked to the
    /// end.
    fn check(&mut self, documents: &OpenDocuments, changed: &mut BTreeSet<PathBuf>) {
        let is_open = |path: &PathBuf| documents.at(path).is_some();
        let has_closed = !changed.iter().all(is_open);
        if has_closed {
            // Files that import only what was closed are no longer shown.
            changed.extend(documents.iter().map(|document| document.path.clone()));
        }
        let mut shown = BTreeSet::new();
        while let Some(document) = changed.iter().find_map(|path| documents.at(path)) {
            let group = group_of(document, documents);
            let Some(found) = self.diagnostics_of(&group.files) else { return };
            let open = documents.iter().map(|document| document.name());
            let open = open.filter(|name| group.files.texts.iter().any(|text| text.name == *name));
            let mut targets = group.importers(&open.collect());
            targets.insert(document.name());
            // Errors of an imported file are shown there: its importers have none because of them.
            let is_shown = |name: &String| {
                let mut errors = found.iter().filter(|one| one.severity == Severity::Error);
                errors.any(|error| error.file == *name) || self.shown.contains_key(name)
            };
            let imported = group.with_imports(&targets).into_iter().filter(is_shown);
            targets.extend(imported.collect::<Vec<_>>());
            for name in &targets {
                let of_file = found.iter().filter(|found| found.file == *name).cloned();
                self.publish(name, of_file.collect(), documents, &group);
                changed.remove(Path::new(name));
            }
            changed.remove(&document.path);
            shown.extend(targets);
        }
        if has_closed {
            let all = self.shown.keys().filter(|name| !shown.contains(*name));
            for name in all.cloned().collect::<Vec<_>>() {
                self.publish(&name, Vec::new(), documents, &FileGroup::default());
                self.reports.lock().remove(&name);
            }
        }
        changed.clear();
    }

    /// The diagnostics of files that are checked together; `None` if the check was stopped.
    fn diagnostics_of(&self, files: &PackFiles) -> Option<Vec<Diagnostic>> {
        let found = check_all(files, &self.shared.stop);
        (!self.shared.stop.load(Ordering::Relaxed)).then_some(found)
    }

    fn publish(
        &mut self,
        name: &str,
        found: Vec<Diagnostic>,
        documents: &OpenDocuments,
        group: &FileGroup,
    ) {
        let document = documents.at(Path::new(name));
        if document.is_none() && found.is_empty() && !self.shown.contains_key(name) {
            return;
        }
        let uri = match document {
            Some(document) => Some(document.uri.clone()),
            None => self.shown.get(name).cloned().or_else(|| Uri::from_file_path(name)),
        };
        let Some(uri) = uri else { return };
        let read;
        let text = match document {
            Some(document) => document.text(),
            None => {
                let text = group.files.texts.iter().find(|text| text.name == name);
                read = IndexedText::new(
                    text.map(|text| text.text.clone()).unwrap_or_default(),
                    self.encoding,
                );
                &read
            }
        };
        let shown: Vec<ls_types::Diagnostic> =
            found.iter().map(|found| diagnostics::shown(found, text)).collect();
        if shown.is_empty() {
            self.shown.remove(name);
        } else {
            self.shown.insert(name.to_owned(), uri.clone());
        }
        let version = document.map(|document| document.version);
        if let Some(version) = version {
            let report = DocumentReport { version, diagnostics: found };
            self.reports.lock().insert(name.to_owned(), report);
        }
        let params = ls_types::PublishDiagnosticsParams { uri, diagnostics: shown, version };
        self.client.notify(
            "textDocument/publishDiagnostics",
            serde_json::to_value(params).unwrap_or_default(),
        );
    }
}

/// The files that are checked together with a document: none if the document is no pack.
pub(crate) fn group_of(document: &OpenDocument, documents: &OpenDocuments) -> FileGroup {
    let group = FileGroup::around(&document.path, documents);
    let own = document.name();
    let is_pack = looks_like_pack(&document.text().text)
        || group.files.texts.iter().any(|text| {
            text.name != own && Path::new(&text.name).parent() == document.path.parent()
        });
    if !is_pack {
        FileGroup::default()
    } else if group.is_cut {
        FileGroup::imported_by(&document.path, documents)
    } else {
        group
    }
}

/// The diagnostics of files that are checked together. They mean nothing if `stop` is set.
pub(crate) fn check_all(files: &PackFiles, stop: &AtomicBool) -> Vec<Diagnostic> {
    let report = match RulePacks::check_within(files, &bounds(stop)) {
        Ok((_, report)) | Err(report) => report,
    };
    report.diagnostics().to_vec()
}

/// The bounds of any work on the text of a document.
pub(crate) fn bounds(stop: &AtomicBool) -> WorkBounds<'_> {
    let deadline = Some(Instant::now() + LONGEST);
    let mut bounds = WorkBounds::default();
    bounds.limit = ScanLimit { deadline, stop: Some(stop) };
    bounds
}
