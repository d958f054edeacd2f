//! The moments of an online normaliser, and the file from which a restart continues them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use guerdon_fusion::RunningNormaliser;
use guerdon_types::{RunningState, SourceId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The version of the file's form.
const VERSION: u32 = 1;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// The moments of an online normaliser. They outlive a reload, and with a file a restart.
#[derive(Debug)]
pub(super) struct LiveMoments {
    pub(super) running: Arc<RunningNormaliser>,
    file: Option<MomentsFile>,
}

/// The file of one normaliser.
#[derive(Debug)]
struct MomentsFile {
    path: PathBuf,
    owner: MomentsOwner,
    configured: RunningState,
    /// The moments in the file, if they are known.
    saved: Mutex<Option<RunningState>>,
}

/// The source that a file belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct MomentsOwner {
    pub(super) profile: String,
    pub(super) source: SourceId,
}

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
struct SavedMoments {
    version: u32,
    #[serde(flatten)]
    owner: MomentsOwner,
    /// The moments of the configuration, from which the observed ones began.
    configured: RunningState,
    /// The moments of the configuration and of all values since.
    observed: RunningState,
}

impl LiveMoments {
    /// Moments that begin with `configured` and end with the process.
    pub(super) fn of_process(configured: RunningState) -> Self {
        Self { running: Arc::new(RunningNormaliser::new(configured, true)), file: None }
    }

    /// Moments that continue those in the file at `path`, if there is one and the configured moments
    /// are those that it began with. Otherwise they begin with `configured`. Blocks the thread.
    ///
    /// # Errors
    /// The fault of a file that cannot be read, or of a folder that does not exist.
    pub(super) fn open(
        path: &Path,
        owner: MomentsOwner,
        configured: RunningState,
    ) -> Result<Self, String> {
        let shown = path.display();
        let first = match read(path) {
            Ok(text) => started_at(&text, &owner, configured)
                .map_err(|fault| format!("`normalise_state`: `{shown}` {fault}"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().unwrap_or(path);
                if !folder.is_dir() {
                    return Err(format!(
                        "`normalise_state`: there is no folder `{}`\n  help: make it, so that the \
                         file can be written",
                        folder.display()
                    ));
                }
                configured
            }
            Err(error) => return Err(format!("`normalise_state`: cannot read `{shown}`: {error}")),
        };
        let running = Arc::new(RunningNormaliser::new(first, true));
        let (path, saved) = (path.to_owned(), Mutex::new(None));
        Ok(Self { running, file: Some(MomentsFile { path, owner, configured, saved }) })
    }

    /// The path of the file.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// Writes the moments to the file, if there is one and it has others. Blocks the thread.
    pub(super) fn save(&self) {
        let Some(file) = &self.file else { return };
        let observed = self.running.state();
        let mut saved = file.saved.lock();
        if *saved == Some(observed) {
            return;
        }
        match file.write(observed) {
            Ok(()) => *saved = Some(observed),
            Err(error) => tracing::error!(
                path = %file.path.display(), %error,
                "the moments of a normaliser could not be saved; a restart begins with older ones"
            ),
        }
    }
}

impl MomentsFile {
    fn write(&self, observed: RunningState) -> io::Result<()> {
        let content = SavedMoments {
            version: VERSION,
            owner: self.owner.clone(),
            configured: self.configured,
            observed,
        };
        let mut text = serde_json::to_vec_pretty(&content)?;
        text.push(b'\n');
        let mut draft = OsString::from(&self.path);
        draft.push(".draft");
        let draft = PathBuf::from(draft);
        let written = File::create(&draft).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)
        });
        // Frees the space of a full disk. If that fails too, the first error is returned.
        written.inspect_err(|_| drop(fs::remove_file(&draft)))
    }
}

/// The text of a file.
fn read(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The moments with which a normaliser starts that finds `text` in its file.
fn started_at(
    text: &str,
    owner: &MomentsOwner,
    configured: RunningState,
) -> Result<RunningState, String> {
    let help = "move the file away to begin with the configured moments";
    let version = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|value| value.get("version")?.as_u64());
    if let Some(version) = version.filter(|version| *version != u64::from(VERSION)) {
        return Err(format!("is of version {version}, not {VERSION}\n  help: {help}"));
    }
    let saved: SavedMoments = serde_json::from_str(text)
        .map_err(|error| format!("has no moments of a normaliser: {error}\n  help: {help}"))?;
    if saved.owner != *owner {
        let MomentsOwner { profile, source } = &saved.owner;
        return Err(format!(
            "is of the source `{source}` of the profile `{profile}`\n  help: give each source a \
             file of its own, or {help}"
        ));
    }
    if let Err(fault) = saved.observed.check() {
        return Err(format!("has moments that no values have: {fault}\n  help: {help}"));
    }
    if saved.configured != configured {
        let MomentsOwner { profile, source } = owner;
        tracing::warn!(
            profile,
            source = source.as_str(),
            "the configured moments are others than those of the saved ones, and replace them"
        );
        return Ok(configured);
    }
    Ok(saved.observed)
}

#[cfg(test)]
mod tests {
    use guerdon_fusion::Moments;

    use super::*;

    fn owner() -> MomentsOwner {
        MomentsOwner { profile: "hotel".to_owned(), source: "rm".into() }
    }

    fn state(values: &[f64]) -> RunningState {
        Moments::of(values.iter().copied()).state()
    }

    #[test]
    fn saved_moments_are_continued_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rm.json");
        let configured = state(&[1.0, 3.0]);
        let live = LiveMoments::open(&path, owner(), configured).unwrap();
        assert_eq!(live.running.state(), configured);
        live.running.observe([0.1, 0.7, 1e-9, 12_345.678_9]);
        live.save();
        let again = LiveMoments::open(&path, owner(), configured).unwrap();
        assert_eq!(again.running.state(), live.running.state());
        again.running.observe([5.0]);
        again.save();
        let third = LiveMoments::open(&path, owner(), configured).unwrap();
        assert_eq!(third.running.state().count, configured.count + 5);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn other_configured_moments_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rm.json");
        let live = LiveMoments::open(&path, owner(), state(&[1.0, 3.0])).unwrap();
        live.running.observe([5.0]);
        live.save();
        let other = state(&[10.0, 30.0]);
        assert_eq!(LiveMoments::open(&path, owner(), other).unwrap().running.state(), other);
    }

    #[test]
    fn a_file_that_is_not_the_sources_own_is_an_error_with_a_help() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rm.json");
        let live = LiveMoments::open(&path, owner(), state(&[1.0, 3.0])).unwrap();
        live.save();
        let good = read(&path).unwrap();
        for (text, part) in [
            (good.replace("\"version\": 1", "\"version\": 2"), "is of version 2"),
            (good.replace("\"rm\"", "\"other\""), "source `other`"),
            (good.replace("\"m2\": 2.0", "\"m2\": -2.0"), "sum of squares"),
            (good.replace("observed", "observd"), "missing field `observed`"),
            ("{".to_owned(), "EOF"),
            (String::new(), "EOF"),
        ] {
            assert_ne!(text, good);
            File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
            let error = LiveMoments::open(&path, owner(), state(&[1.0, 3.0])).unwrap_err();
            assert!(error.contains(part) && error.contains("help: "), "{part}: {error}");
        }
        let missing = folder.path().join("no/rm.json");
        let error = LiveMoments::open(&missing, owner(), state(&[])).unwrap_err();
        assert!(error.contains("there is no folder"), "{error}");
        assert!(LiveMoments::open(folder.path(), owner(), state(&[])).is_err());
    }
}
