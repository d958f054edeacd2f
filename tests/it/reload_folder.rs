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

/// Renames `name` away and puts `name` with new content in its place, in two steps.
fn swap(root: &Path, name: &str, points: u32, make: impl FnOnce(&Path)) {
    let new = root.join(format!("new-{points}"));
    make(&new);
    std::fs::rename(root.join(name), root.join(format!("old-{name}-{points}"))).unwrap();
    std::fs::rename(new, root.join(name)).unwrap();
}

const REPLACEMENTS: [(&str, Replacement); 6] = [
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
    ("a symlink removed and made again", |root, points| {
        let release = format!("release-{points}");
        write(&root.join(&release), points);
        if root.join("packs").is_symlink() {
            std::fs::remove_file(root.join("packs")).unwrap();
        } else {
            std::fs::remove_dir_all(root.join("packs")).unwrap();
        }
        symlink(&release, root.join("packs")).unwrap();
    }),
];

/// Ways of replacing a folder above `packs`: `deep/a/packs`, in which `packs` is what is served.
const REPLACED_PARENTS: [(&str, Replacement); 3] = [
    ("the parent is swapped", |root, points| {
        swap(&root.join("deep"), "a", points, |new| write(&new.join("packs"), points));
    }),
    ("the parent's parent is swapped", |root, points| {
        swap(root, "deep", points, |new| write(&new.join("a/packs"), points));
    }),
    ("the parent is a ConfigMap's ..data", |root, points| {
        let volume = root.join("deep");
        let release = format!("..{points}");
        write(&volume.join(&release).join("packs"), points);
        symlink(&release, volume.join("..data_tmp")).unwrap();
        std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
        if !volume.join("a").is_symlink() {
            std::fs::remove_dir_all(volume.join("a")).unwrap();
            symlink("..data", volume.join("a")).unwrap();
        }
    }),
];

/// Replaces the served folder `packs` (relative) twice in `way`, and edits the new folder each
/// time. Twice, because a watch that sees the first replacement may be lost with the folder.
async fn stays_live(packs: &str, (way, replace): (&str, Replacement)) {
    let config = Server::config().replace("\"rules.yaml\"", &format!("\"{packs}\""));
    let config = format!("{config}[reload]\ndebounce = \"20ms\"\n");
    let file = format!("{packs}/words.yaml");
    let server = Server::from_config(&config, &[(&file, &pack(1))]).await;
    let root = server.path("");
    for points in [10, 20] {
        replace(&root, points);
        live(&server, way, points).await;
        write(&root.join(packs), points + 1);
        live(&server, way, points + 1).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_are_reloaded_after_the_rules_folder_is_replaced() {
    for replacement in REPLACEMENTS {
        stays_live("packs", replacement).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_are_reloaded_after_a_folder_above_the_rules_is_replaced() {
    for replacement in REPLACED_PARENTS {
        stays_live("deep/a/packs", replacement).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_are_reloaded_after_the_configuration_is_replaced_and_points_elsewhere() {
    let config = Server::config().replace("\"rules.yaml\"", "\"packs\"");
    let config = format!("{config}[reload]\ndebounce = \"20ms\"\n");
    let server = Server::from_config(&config, &[("packs/words.yaml", &pack(1))]).await;
    let root = server.path("");
    for points in [10, 20] {
        let folder = format!("packs-{points}");
        write(&root.join(&folder), points);
        let moved = config.replace("\"packs\"", &format!("\"{folder}\""));
        server.replace("guerdon.toml", &Server::resolved(&moved));
        live(&server, "another folder is named", points).await;
        write(&root.join(&folder), points + 1);
        live(&server, "the other folder is edited", points + 1).await;
    }
    server.stop().await;
}
