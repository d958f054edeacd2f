//! The data that is installed with the program: an example configuration with its packs, rubrics and
//! model.
//!
//! The Python wheel, the Debian package and the container have `bin/guerdon` next to
//! `share/guerdon`. A program that was built in a checkout finds the checkout's model.

use std::path::{Path, PathBuf};

/// The configuration of `share/guerdon`.
pub(super) fn configuration() -> Option<PathBuf> {
    share(&executable()?).map(|share| share.join("guerdon.toml")).filter(|file| file.is_file())
}

/// The folder of the bundled reward model.
pub(super) fn bundled_model() -> Option<PathBuf> {
    model_of(&executable()?)
}

/// The place of the program, links resolved.
fn executable() -> Option<PathBuf> {
    std::env::current_exe().and_then(std::fs::canonicalize).ok()
}

/// `share/guerdon` next to the folder of the program.
fn share(executable: &Path) -> Option<PathBuf> {
    Some(executable.parent()?.parent()?.join("share/guerdon"))
}

/// The model in `share/guerdon`, or in a folder above the program: `target/release/guerdon` and
/// `target/debug/deps/...` are below a checkout.
fn model_of(executable: &Path) -> Option<PathBuf> {
    let above = executable.ancestors().skip(2).take(3).map(Path::to_owned);
    share(executable)
        .into_iter()
        .chain(above)
        .map(|folder| folder.join("models/e5-hh"))
        .find(|model| model.join(guerdon_model::MANIFEST).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_is_next_to_an_installed_program_or_above_a_built_one() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for place in ["usr/share/guerdon/models/e5-hh", "checkout/models/e5-hh"] {
            std::fs::create_dir_all(root.join(place)).unwrap();
            std::fs::File::create(root.join(place).join("guerdon.model.toml")).unwrap();
        }
        let found = |program: &str| model_of(&root.join(program));
        assert_eq!(found("usr/bin/guerdon"), Some(root.join("usr/share/guerdon/models/e5-hh")));
        let checkout = Some(root.join("checkout/models/e5-hh"));
        assert_eq!(found("checkout/target/release/guerdon"), checkout);
        assert_eq!(found("checkout/target/x86_64-unknown-linux-gnu/release/guerdon"), checkout);
        assert_eq!(found("opt/bin/guerdon"), None);
    }
}
