//! The rules workbench at `/ui/workbench`: a pack in an editor, checked on the check threads, and
//! saved to its own file.
//!
//! | file | content |
//! |---|---|
//! | `packs.rs` | the packs that can be edited |
//! | `check.rs` | the check of a text, and its hits on rollouts |
//! | `save.rs` | the write to the file |

mod check;
mod packs;
mod save;

use axum::extract::{Request, State};
use axum::response::Response;
use guerdon_inspector::{EditedPack, Filter, PackCheck, PackPlace, Record, Site, Workbench};
use guerdon_queue::WorkError;
use guerdon_types::ProblemCode;

use self::check::CheckJob;
use self::packs::{PackSet, editable, sets};
use self::save::{Draft, SaveError};
use super::form::{Form, field};
use super::inspector::response;
use super::visitor::{Visitor, lacks, visitor_of};
use crate::config::Scope;
use crate::http::problem::ApiError;
use crate::http::request_context::RequestContext;
use crate::http::state::App;
use crate::watch::trigger::Trigger;

/// The longest form, in bytes: a text whose bytes take three each.
const MAX_FORM: usize = 4 << 20;
/// The longest text of a pack, in bytes.
const MAX_TEXT: usize = 1 << 20;
/// The newest rollouts on which a text runs.
const ROLLOUTS: usize = 200;

/// The data of a page of the workbench beside the packs.
#[derive(Debug, Default)]
struct PageState {
    edited: Option<EditedPack>,
    check: Option<PackCheck>,
    notice: Option<String>,
    problem: Option<String>,
}

/// Shows a pack.
pub(super) async fn show(
    State(app): State<App>,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let visitor = visitor_of(&request);
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let value = |name| field(query, name);
    let (profile, file) = (value("profile"), value("pack"));
    let work = Bench::new(&app, &context);
    let shown = app.inspector.blocking(move |_| {
        let packs = work.editable();
        let matches = |place: &&PackPlace| {
            profile.as_ref().is_none_or(|profile| *profile == place.profile)
                && file.as_ref().is_none_or(|file| *file == place.file)
        };
        let mut shown = PageState::default();
        if let Some(place) = packs.iter().find(matches) {
            match save::read(&work.root.join(&place.file)) {
                Ok((text, hash)) => {
                    shown.edited = Some(EditedPack { place: place.clone(), text, hash });
                }
                Err(error) => shown.problem = Some(error.to_string()),
            }
        } else if file.is_some() {
            shown.problem = Some("There is no such pack to edit.".to_owned());
        }
        (packs, shown)
    });
    let (packs, shown) = shown.await?;
    Ok(page(&app, &visitor, &packs, &shown, 200))
}

/// Checks a text, and saves it if that is asked for.
pub(super) async fn submit(
    State(app): State<App>,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let visitor = visitor_of(&request);
    if !visitor.may(Scope::Check) && !visitor.may(Scope::Admin) {
        return Err(lacks("check", "checks of rule packs"));
    }
    let form = Form::read(request.into_body(), MAX_FORM).await?;
    visitor.check_form(&form.field("csrf"), app.inspector.form_token())?;
    let saves = form.field("action") == "save";
    if saves && why_read_only(&visitor).is_some() {
        return Err(lacks("admin", "saving a rule pack"));
    }
    let place = PackPlace { profile: form.field("profile"), file: form.field("pack") };
    let (text, hash) = (form.field("text").replace("\r\n", "\n"), form.field("hash"));
    if text.len() > MAX_TEXT {
        let detail = format!("the text has {} bytes; the workbench takes {MAX_TEXT}", text.len());
        return Err(ApiError::new(ProblemCode::TooLarge, detail));
    }
    let edited = EditedPack { place, text, hash };
    let work = Bench::new(&app, &context);
    let (asked, of) = (edited.clone(), edited.place.clone());
    let prepared = app.inspector.blocking(move |store| {
        let packs = work.editable();
        let job = packs
            .contains(&of)
            .then(|| work.job(asked, |filter| store.records(filter, ROLLOUTS).unwrap_or_default()));
        (packs, job, work)
    });
    let (packs, job, work) = prepared.await?;
    let Some(job) = job else {
        let problem = "There is no such pack to edit. It may have left the configuration.";
        let shown = PageState { problem: Some(problem.to_owned()), ..PageState::default() };
        return Ok(page(&app, &visitor, &packs, &shown, 404));
    };
    let permit = app.engine.checks().enter(context.caller.0, 1).await.map_err(not_checked)?;
    let checked = permit.run(move |gone| job.run(gone)).await.map_err(not_checked)?;
    let is_ok = checked.ok;
    let mut shown =
        PageState { edited: Some(edited), check: Some(checked), ..PageState::default() };
    let mut status = 200;
    if saves && !is_ok {
        status = 422;
        shown.problem = Some("Not saved: the text has errors.".to_owned());
    } else if saves {
        status = saved(&app, &visitor, work, &mut shown).await?;
    }
    Ok(page(&app, &visitor, &packs, &shown, status))
}

/// Writes the text to the pack's file, and says so in the page and the log. Returns the status.
async fn saved(
    app: &App,
    visitor: &Visitor,
    work: Bench,
    shown: &mut PageState,
) -> Result<u16, ApiError> {
    let Some(edited) = &mut shown.edited else { return Ok(404) };
    let draft = Draft {
        path: work.root.join(&edited.place.file),
        text: edited.text.clone(),
        expected: edited.hash.clone(),
    };
    let path = draft.path.clone();
    let inspector = app.inspector.clone();
    match app.inspector.blocking(move |_| inspector.one_at_a_time(|| draft.save())).await? {
        Ok(new) => {
            tracing::info!(
                audit = "rule pack saved", caller = visitor.name().unwrap_or_default(),
                profile = edited.place.profile, pack = edited.place.file, path = %path.display(),
                old = edited.hash, new, "a rule pack was saved in the workbench"
            );
            edited.hash = new;
            // A full queue has a reload that will find the new file.
            drop(app.reload.try_send(Trigger::Changed));
            let notice = "Saved. The server loads the file now; if a file of the configuration is broken, the generation before keeps serving.";
            shown.notice = Some(notice.to_owned());
            Ok(200)
        }
        Err(error) => {
            tracing::warn!(
                caller = visitor.name().unwrap_or_default(), pack = edited.place.file, %error,
                "a rule pack was not saved"
            );
            shown.problem = Some(format!("Not saved: {error}."));
            Ok(match error {
                SaveError::Changed => 409,
                SaveError::Link | SaveError::Owner | SaveError::NoFile => 403,
                SaveError::Io(_) | SaveError::TooLong => 500,
            })
        }
    }
}

/// The configuration of a request, for work on a blocking thread.
struct Bench {
    root: std::path::PathBuf,
    sets: Vec<PackSet>,
    loaded: Vec<std::path::PathBuf>,
}

impl Bench {
    fn new(app: &App, context: &RequestContext) -> Self {
        let snapshot = context.snapshot();
        Self {
            root: app.engine.root(),
            sets: sets(&snapshot.config),
            loaded: snapshot.files.clone(),
        }
    }

    fn editable(&self) -> Vec<PackPlace> {
        editable(&self.root, &self.sets, &self.loaded)
    }

    /// The check of a text in every set that has the pack, that of its profile first.
    fn job(&self, edited: EditedPack, records: impl FnOnce(&Filter) -> Vec<Record>) -> CheckJob {
        let of = |set: &&PackSet| set.has(&edited.place.file);
        let mut with: Vec<&PackSet> = self.sets.iter().filter(of).collect();
        with.sort_by_key(|set| set.profile != edited.place.profile);
        with.dedup_by(|one, other| one.paths == other.paths);
        let filter = Filter { profile: Some(edited.place.profile.clone()), ..Filter::default() };
        CheckJob {
            // A file that is gone by now is in no set, and its text does not check.
            sets: with
                .into_iter()
                .map(|set| set.files(&self.root))
                .filter(|files| files.texts.iter().any(|text| text.name == edited.place.file))
                .collect(),
            file: edited.place.file,
            text: edited.text,
            records: records(&filter),
        }
    }
}

fn page(
    app: &App,
    visitor: &Visitor,
    packs: &[PackPlace],
    shown: &PageState,
    status: u16,
) -> Response {
    let (session, csrf) = (visitor.session(), visitor.csrf(app.inspector.form_token()));
    let workbench = Workbench {
        csrf: &csrf,
        packs,
        edited: shown.edited.as_ref(),
        may_check: visitor.may(Scope::Check) || visitor.may(Scope::Admin),
        read_only: why_read_only(visitor),
        check: shown.check.as_ref(),
        notice: shown.notice.as_deref(),
        problem: shown.problem.as_deref(),
    };
    app.inspector.with_site(session.as_deref(), |site: &Site<'_>| {
        response(site.workbench(&workbench, status))
    })
}

/// The reason why a visitor may not save. A server without tokens saves nothing: any process that reaches
/// its port could write its files.
fn why_read_only(visitor: &Visitor) -> Option<&'static str> {
    match visitor.name() {
        None => Some(
            "Saving needs [[auth.tokens]] in the configuration, and a token with the scope admin.",
        ),
        Some(_) if visitor.may(Scope::Admin) => None,
        Some(_) => Some("Saving needs a token with the scope admin."),
    }
}

fn not_checked(error: WorkError) -> ApiError {
    match error {
        WorkError::Full { wait } => {
            ApiError::new(ProblemCode::Overloaded, "too many checks of rules wait")
                .retry_after(wait)
        }
        WorkError::Stopped => ApiError::new(ProblemCode::NotReady, "the server is stopping"),
        _ => ApiError::new(ProblemCode::Internal, "checking the pack failed; see the server's log"),
    }
}
