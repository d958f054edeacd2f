//! A rules folder that is replaced as a whole is picked up, and edits to the new folder become
//! live.

#![expect(clippy::disallowed_methods, reason = "a test writes its own files")]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use guerdon_tests::{Server, WAIT_LIMIT, wait_until};
use serde_json::json;

fn pack(points: u32) -> String {
    Server::pack().replace("points: -50", &format!("points: -{points}"))
}

/// Writes the pack into the folder, which is created if needed.
fn write(folder: &Path, points: u32) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("words.yaml"), pack(points)).unwrap();
}

/// Waits until the live pack has `points`.
async fn live(server: &Server, what: &str, points: u32) {
    wait_until(&format!("{what}: {points} points"), WAIT_LIMIT, async || {
        let rules = server.get("/v1/rules").await.json();
        rules["profiles"]["test"][0]["rules"][0]["points"] == json!(-f64::from(points))
    })
    .await;
}

/// A way of replacing the folder `packs` below the given folder by one with new points.
type Replacement = fn(&Path, u32);

const REPLACEMENTS: [(&str, Replacement); 5] = [
    ("mv packs old; mv new packs", |root, points| {
        write(&root.join("new"), points);
        std::fs::rename(root.join("packs"), root.join(format!("old-{points}"))).unwrap();
        std::fs::rename(root.join("new"), root.join("packs")).unwrap();
    }),
    ("rm -r packs; cp -r elsewhere packs", |root, points| {
        std::fs::remove_dir_all(root.join("packs")).unwrap();
        write(&root.join("packs"), points);
    }),
    ("git checkout of a branch without the folder, and back", |root, points| {
        // git removes file by file, then the empty folder, and later creates both again.
        std::fs::remove_file(root.join("packs/words.yaml")).unwrap();
        std::fs::remove_dir(root.join("packs")).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        write(&root.join("packs"), points);
    }),
    ("mv packs away and back, edited in between", |root, points| {
        std::fs::rename(root.join("packs"), root.join("away")).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        write(&root.join("away"), points);
        std::fs::rename(root.join("away"), root.join("packs")).unwrap();
    }),
    ("a symlink swapped to another release", |root, points| {
        let release = format!("release-{points}");
        write(&root.join(&release), points);
        symlink(&release, root.join("next")).unwrap();
        if !root.join("packs").is_symlink() {
            std::fs::rename(root.join("packs"), root.join("release-0")).unwrap();
        }
        std::fs::rename(root.join("next"), root.join("packs")).unwrap();
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn edits_are_reloaded_after_the_rules_folder_is_replaced() {
    let config = Server::config().replace("\"rules.yaml\"", "\"packs\"");
    let config = format!("{config}[reload]\ndebounce = \"20ms\"\n");
    for (way, replace) in REPLACEMENTS {
        let server = Server::from_config(&config, &[("packs/words.yaml", &pack(1))]).await;
        let root = server.path("");
        // Twice: a watch that sees the first replacement may be lost with the replaced folder.
        for points in [10, 20] {
            replace(&root, points);
            live(&server, way, points).await;
            write(&root.join("packs"), points + 1);
            live(&server, way, points + 1).await;
        }
        server.stop().await;
    }
}
