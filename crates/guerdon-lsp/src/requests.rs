//! Answers requests on a thread of its own, in their order, from the documents as they were when
//! the request came.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use guerdon_rules::{ExampleResult, PackFiles, RulePacks, SourceText};
use ls_types::{
    CodeActionOrCommand, CodeActionParams, CompletionParams, CompletionResponse,
    DocumentFormattingParams, HoverParams, Range, TextEdit, Uri,
};
use lsp_server::{ErrorCode, Request, RequestId};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::checker::{LatestReports, bounds, check_all, group_of};
use crate::client::{EditorClient, RequestFailure};
use crate::documents::{OpenDocument, OpenDocuments};
use crate::folder::FileGroup;
use crate::{completion, diagnostics, hover};

/// The number of requests that may wait.
const MAX_WAITING: usize = 256;

#[derive(Debug)]
struct RequestJob {
    request: Request,
    documents: OpenDocuments,
    stop: Arc<AtomicBool>,
}

/// The requests that were not answered yet, each with the flag that cancels it.
type UnansweredRequests = Arc<Mutex<HashMap<RequestId, Arc<AtomicBool>>>>;

/// The thread that answers.
#[derive(Debug)]
pub(crate) struct RequestAnswers {
    sender: Option<Sender<RequestJob>>,
    unanswered: UnansweredRequests,
    client: EditorClient,
    thread: Option<JoinHandle<()>>,
}

impl RequestAnswers {
    pub(crate) fn start(client: EditorClient, reports: LatestReports) -> Self {
        let (sender, receiver) = bounded(MAX_WAITING);
        let unanswered = UnansweredRequests::default();
        let thread = RequestThread {
            unanswered: Arc::clone(&unanswered),
            client: client.clone(),
            reports,
            examples: None,
        };
        let thread = Some(thread::spawn(move || thread.run(&receiver)));
        Self { sender: Some(sender), unanswered, client, thread }
    }

    /// True for the requests that are answered here.
    pub(crate) fn answers(method: &str) -> bool {
        matches!(
            method,
            "textDocument/completion"
                | "textDocument/hover"
                | "textDocument/codeAction"
                | "textDocument/formatting"
        )
    }

    pub(crate) fn add(&self, request: Request, documents: OpenDocuments) {
        let stop = Arc::new(AtomicBool::new(false));
        let id = request.id.clone();
        self.unanswered.lock().insert(id.clone(), Arc::clone(&stop));
        let Some(sender) = &self.sender else { return };
        if let Err(TrySendError::Full(_)) = sender.try_send(RequestJob { request, documents, stop })
        {
            self.unanswered.lock().remove(&id);
            let message = format!("{MAX_WAITING} requests wait already");
            self.client.reply(id, Err(RequestFailure::new(ErrorCode::ServerCancelled, message)));
        }
    }

    pub(crate) fn cancel(&self, id: &RequestId) {
        if let Some(stop) = self.unanswered.lock().get(id) {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// Cancels all requests.
    pub(crate) fn cancel_all(&self) {
        self.unanswered.lock().values().for_each(|stop| stop.store(true, Ordering::Relaxed));
    }
}

impl Drop for RequestAnswers {
    fn drop(&mut self) {
        self.cancel_all();
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            // A panic was reported where it was caught.
            let _ = thread.join();
        }
    }
}

struct RequestThread {
    unanswered: UnansweredRequests,
    client: EditorClient,
    reports: LatestReports,
    /// The results of the examples of the texts that were run last.
    examples: Option<(PackFiles, Vec<ExampleResult>)>,
}

impl RequestThread {
    fn run(mut self, jobs: &Receiver<RequestJob>) {
        for RequestJob { request, documents, stop } in jobs {
            let id = request.id.clone();
            let answer = || self.answer(request, &documents, &stop);
            let answered = catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| {
                let message = "the request failed; this is a defect of the language server";
                Err(RequestFailure::new(ErrorCode::InternalError, message))
            });
            let cancelled =
                || RequestFailure::new(ErrorCode::RequestCanceled, "the client cancelled it");
            let result = if stop.load(Ordering::Relaxed) { Err(cancelled()) } else { answered };
            self.unanswered.lock().remove(&id);
            self.client.reply(id, result);
        }
    }

    fn answer(
        &mut self,
        request: Request,
        documents: &OpenDocuments,
        stop: &AtomicBool,
    ) -> Result<Json, RequestFailure> {
        if stop.load(Ordering::Relaxed) {
            return Ok(Json::Null);
        }
        match request.method.as_str() {
            "textDocument/completion" => {
                let params: CompletionParams = parameters(request.params)?;
                let place = params.text_document_position;
                let document = open(documents, &place.text_document.uri)?;
                let items = completion::items(document, documents, place.position);
                json(CompletionResponse::Array(items))
            }
            "textDocument/hover" => {
                let params: HoverParams = parameters(request.params)?;
                let place = params.text_document_position_params;
                let document = open(documents, &place.text_document.uri)?;
                let examples = || self.examples(document, documents, stop);
                json(hover::hover(document, documents, place.position, examples))
            }
            "textDocument/codeAction" => {
                let params: CodeActionParams = parameters(request.params)?;
                let document = open(documents, &params.text_document.uri)?;
                let found = self.found(document, documents, stop);
                let actions = diagnostics::actions(&found, document, params.range);
                let only = params.context.only;
                let wanted = actions.into_iter().filter(|action| {
                    let kind = action.kind.as_ref().map_or("", |kind| kind.as_str());
                    only.as_ref()
                        .is_none_or(|only| only.iter().any(|of| is_kind(kind, of.as_str())))
                });
                json(wanted.map(CodeActionOrCommand::CodeAction).collect::<Vec<_>>())
            }
            "textDocument/formatting" => {
                let params: DocumentFormattingParams = parameters(request.params)?;
                let document = open(documents, &params.text_document.uri)?;
                json(formatted(document)?)
            }
            method => {
                Err(RequestFailure::new(ErrorCode::MethodNotFound, format!("no method {method}")))
            }
        }
    }

    /// The diagnostics of the document as it is now.
    fn found(
        &self,
        document: &OpenDocument,
        documents: &OpenDocuments,
        stop: &AtomicBool,
    ) -> Vec<guerdon_text::Diagnostic> {
        let name = document.name();
        let latest = self.reports.lock().get(&name).cloned();
        if let Some(latest) = latest.filter(|report| report.version == document.version) {
            return latest.diagnostics;
        }
        let all = check_all(&group_of(document, documents).files, stop);
        all.into_iter().filter(|found| found.file == name).collect()
    }

    /// The results of the examples of the document's rules.
    fn examples(
        &mut self,
        document: &OpenDocument,
        documents: &OpenDocuments,
        stop: &AtomicBool,
    ) -> Vec<ExampleResult> {
        let files = FileGroup::imported_by(&document.path, documents).files;
        if let Some((known, results)) = &self.examples
            && *known == files
        {
            return results.clone();
        }
        let (results, _) = RulePacks::test_within(&files, &bounds(stop));
        if !stop.load(Ordering::Relaxed) {
            self.examples = Some((files, results.clone()));
        }
        results
    }
}

/// True if an action of `kind` is of the kind `of` or of one below it.
fn is_kind(kind: &str, of: &str) -> bool {
    of.is_empty()
        || kind.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The edit that formats a document: the lines from the first to the last that differ.
fn formatted(document: &OpenDocument) -> Result<Vec<TextEdit>, RequestFailure> {
    let text = document.text();
    let source = SourceText::new(document.name(), text.text.clone());
    let tidy = guerdon_rules::format(&source).map_err(|report| {
        let first = report.diagnostics().first();
        let why = first.map(|found| format!("line {}: {}", found.line, found.message));
        let message = format!("the pack is not formatted: {}", why.unwrap_or_default());
        RequestFailure::new(ErrorCode::RequestFailed, message)
    })?;
    if tidy == text.text {
        return Ok(Vec::new());
    }
    let same = |(a, b): &(&str, &str)| a == b;
    let lines = |text: &str| text.split_inclusive('\n').map(str::len).collect::<Vec<_>>();
    let (old, new) = (&text.text, &tidy);
    let pairs = old.split_inclusive('\n').zip(new.split_inclusive('\n'));
    let start: usize = pairs.take_while(same).map(|(line, _)| line.len()).sum();
    let (old_rest, new_rest) =
        (old.get(start..).unwrap_or_default(), new.get(start..).unwrap_or_default());
    let mut end = 0;
    for length in lines(old_rest).into_iter().rev() {
        let tail = old_rest.len() - end - length;
        let (Some(line), Some(rest)) =
            (old_rest.get(tail..), new_rest.len().checked_sub(end + length))
        else {
            break;
        };
        if new_rest.get(rest..) != Some(line) || !is_line_start(new_rest, rest) {
            break;
        }
        end += length;
    }
    let range = Range::new(text.position(start), text.position(old.len() - end));
    let new_text = new_rest.get(..new_rest.len() - end).unwrap_or_default().to_owned();
    Ok(vec![TextEdit { range, new_text }])
}

fn is_line_start(text: &str, at: usize) -> bool {
    at == 0 || text.as_bytes().get(at - 1) == Some(&b'\n')
}

fn open<'d>(documents: &'d OpenDocuments, uri: &Uri) -> Result<&'d OpenDocument, RequestFailure> {
    let document = documents.get(uri).map(|document| &**document);
    document.ok_or_else(|| {
        RequestFailure::new(ErrorCode::InvalidParams, format!("{} is not open", uri.as_str()))
    })
}

pub(crate) fn parameters<P: DeserializeOwned>(params: Json) -> Result<P, RequestFailure> {
    serde_json::from_value(params).map_err(|error| {
        RequestFailure::new(ErrorCode::InvalidParams, format!("parameters: {error}"))
    })
}

fn json(value: impl serde::Serialize) -> Result<Json, RequestFailure> {
    serde_json::to_value(value)
        .map_err(|error| RequestFailure::new(ErrorCode::InternalError, error.to_string()))
}
