//! The ONNX Runtime library: its location, and the single environment of the process.
//!
//! The library is loaded with the first model and not linked, so that one binary runs with the CPU
//! build, the CUDA build, or a custom build. A missing or wrong library is the most likely fault on
//! a new machine, so the errors list the searched places.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};

use ort::environment::Environment;
use parking_lot::Mutex;

use crate::Error;

/// The folder that `make onnxruntime` fills.
const INSTALL_FOLDER: &str = ".guerdon/onnxruntime";

/// Global, because ONNX Runtime's environment is: `ort` refuses a second environment for the life
/// of the process, even after the first is dropped. The first model creates it, and later models
/// share it.
static ENVIRONMENT: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The environment of the process, created from the library found if there is none yet.
pub(crate) fn environment(named: Option<&Path>) -> Result<Environment, Error> {
    // Held while the library loads, so that two models that load at once do not both create one.
    let mut made = ENVIRONMENT.lock();
    if let Some((loaded, environment)) = made.as_ref() {
        let other =
            named.and_then(library_in).filter(|wanted| canonical(wanted) != canonical(loaded));
        return match other {
            None => Ok(environment.clone()),
            Some(path) => {
                let detail = format!(
                    "this process already runs {}, and it can only run one",
                    loaded.display()
                );
                Err(Error::RuntimeUnusable { path, detail })
            }
        };
    }
    let path = find(named)?;
    let unusable = |detail: String| Error::RuntimeUnusable { path: path.clone(), detail };
    if let Some(minor) = ort::util::probe(&path).filter(|minor| *minor < ort::MINOR_VERSION) {
        return Err(unusable(format!(
            "it is version 1.{minor}, and guerdon needs 1.{} or newer",
            ort::MINOR_VERSION
        )));
    }
    let builder = ort::init_from(&path).map_err(|error| unusable(error.to_string()))?;
    let environment = builder
        .with_name("guerdon")
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    tracing::info!(rm.runtime = %path.display(), "loaded ONNX Runtime");
    *made = Some((path, environment.clone()));
    Ok(environment)
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn library_name() -> String {
    format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}")
}

/// `path` if it is a file; the library in it if it is a folder. Absolute, because `ort` searches
/// relative paths next to the executable first.
fn library_in(path: &Path) -> Option<PathBuf> {
    let file = if path.is_dir() { path.join(library_name()) } else { path.to_owned() };
    if file.is_file() { std::path::absolute(file).ok() } else { None }
}

fn find(named: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(named) = named {
        return library_in(named).ok_or_else(|| Error::RuntimeMissing {
            looked: vec![format!("{} (as configured)", named.display())],
        });
    }
    let executable = std::env::current_exe().ok();
    let current = std::env::current_dir().ok();
    let folders = search(executable.as_deref().and_then(Path::parent), current.as_deref());
    if let Some(found) = folders.iter().find_map(|folder| library_in(folder)) {
        return Ok(found);
    }
    let name = PathBuf::from(library_name());
    if ort::util::probe(&name).is_some() {
        return Ok(name);
    }
    let mut looked: Vec<String> =
        folders.iter().map(|folder| folder.display().to_string()).collect();
    looked.push(format!("{} on the system's library path", name.display()));
    Err(Error::RuntimeMissing { looked })
}

/// The folders to search, in order. `lib/guerdon` next to `bin` is the place of a packaged library.
fn search(executable: Option<&Path>, current: Option<&Path>) -> Vec<PathBuf> {
    let packaged = executable.and_then(Path::parent).map(|prefix| prefix.join("lib/guerdon"));
    let executable = executable.map(Path::to_owned).into_iter().chain(packaged);
    let fetched =
        current.into_iter().flat_map(Path::ancestors).map(|folder| folder.join(INSTALL_FOLDER));
    executable.chain(fetched).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_starts_in_the_executables_folder_and_its_prefix_then_every_parent() {
        let found = search(Some(Path::new("/opt/guerdon/bin")), Some(Path::new("/srv/rl")));
        let expected = [
            "/opt/guerdon/bin",
            "/opt/guerdon/lib/guerdon",
            "/srv/rl/.guerdon/onnxruntime",
            "/srv/.guerdon/onnxruntime",
            "/.guerdon/onnxruntime",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn missing_named_library_is_reported_with_its_path_and_the_command_to_run() {
        let error = find(Some(Path::new("/nowhere/libonnxruntime.so"))).unwrap_err().to_string();
        assert!(error.contains("/nowhere/libonnxruntime.so (as configured)"), "{error}");
        assert!(error.contains("`make onnxruntime`"), "{error}");
    }

    #[test]
    fn folder_resolves_to_the_library_in_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(library_in(folder.path()), None);
        let file = folder.path().join(library_name());
        std::fs::File::create(&file).unwrap();
        assert_eq!(library_in(folder.path()), Some(file.clone()));
        assert_eq!(library_in(&file), Some(file));
    }
}
