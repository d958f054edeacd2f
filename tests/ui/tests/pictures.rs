//! The pictures of docs/how-to/inspect.md, written where the variable `PICTURES` names a folder.

use std::path::PathBuf;

use anyhow::ensure;
use guerdon_test_ui::{Inspector, Tab, negotiation};

/// The largest picture, in bytes.
const MAX_BYTES: usize = 150_000;

const SCREENS: [(&str, &str); 8] = [
    ("judge", "/ui/judge?run=exp-12"),
    ("rules", "/ui/rules?run=exp-12"),
    ("watch", "/ui/watch?run=exp-12"),
    ("overview", "/ui"),
    ("run", "/ui/run?run=exp-12"),
    ("group", "/ui/group?run=exp-12&step=22&group=hotel-1"),
    ("rollout", "/ui/rollouts/7"),
    (
        "compare",
        "/ui/compare?run=exp-12&before=sha256%3A2c94d07f61ab385e&after=sha256%3A7be1f09c3a52d8e4",
    ),
];

#[tokio::test]
async fn pictures_are_small() -> anyhow::Result<()> {
    let inspector = Inspector::start(&negotiation()).await?;
    let tab = Tab::open().await?;
    for scheme in ["light", "dark"] {
        tab.set_scheme(scheme).await?;
        for (name, path) in SCREENS {
            tab.goto(&format!("{}{path}", inspector.url)).await?;
            let picture = tab.picture().await?;
            ensure!(picture.starts_with(b"\x89PNG"), "{name} is no picture");
            ensure!(picture.len() <= MAX_BYTES, "{name} has {} bytes", picture.len());
            let folder = std::env::var_os("PICTURES").map(PathBuf::from);
            let Some(folder) = folder.filter(|_| scheme == "light") else { continue };
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join(format!("inspector-{name}.png")), picture)?;
        }
    }
    tab.close().await
}
