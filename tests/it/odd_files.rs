//! A pipe, a socket, a device or a huge file among the rule packs: reload, rollback and stop go on.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use guerdon_tests::Server;
use serde_json::json;

type MakeFile = fn(&Path);

/// Files in the place of a pack, each with a word of its refusal.
const ODD: [(&str, &str, MakeFile); 6] = [
    ("a pipe", "pipe", |path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }),
    ("a socket", "socket", |path| drop(UnixListener::bind(path).unwrap())),
    ("an endless device", "device", |path| symlink("/dev/zero", path).unwrap()),
    ("a folder", "folder", |path| std::fs::create_dir(path).unwrap()),
    ("a terabyte", "larger than 64 MiB", |path| {
        std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
    }),
    ("a symlink to itself", "symbolic links", |path| symlink(path, path).unwrap()),
];

/// Longest time that a reply may take here. The file system's own limit is 10 s.
const LIMIT: Duration = Duration::from_secs(8);

async fn posted(server: &Server, path: &str) -> guerdon_tests::Reply {
    let body = json!({});
    let sent = tokio::time::timeout(LIMIT, server.post(path, &body));
    sent.await.expect("an answer within the limit")
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_files_in_the_rules_folder_are_refused_and_nothing_waits_for_them() {
    let config = Server::config().replace("\"rules.yaml\"", "\"packs\"");
    let config = format!("{config}[reload]\nwatch = false\n");
    for (what, word, make) in ODD {
        let server = Server::from_config(&config, &[("packs/words.yaml", Server::pack())]).await;
        assert_eq!(posted(&server, "/v1/reload").await.status, 200);
        let odd = server.path("packs/odd.yaml");
        make(&odd);
        for _ in 0..3 {
            let refused = posted(&server, "/v1/reload").await;
            assert_eq!(refused.status, 422, "{what}: {}", refused.text);
            let detail = refused.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("odd.yaml") && detail.contains(word), "{what}: {detail}");
        }
        assert_eq!(posted(&server, "/v1/rollback").await.status, 200, "{what}");
        server.score(&json!({ "rollouts": [Server::rollout("480 .")] })).await;
        let removed =
            if odd.is_dir() { std::fs::remove_dir(odd) } else { std::fs::remove_file(odd) };
        removed.unwrap();
        assert_eq!(posted(&server, "/v1/reload").await.status, 200, "{what}");
        let stopped = tokio::time::timeout(LIMIT, server.stop()).await;
        assert_eq!(stopped.ok(), Some(true), "{what}");
    }
}
