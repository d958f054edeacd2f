//! Reloads: what is broken is refused while the old generation serves, and later edits always go
//! live, however the files were replaced.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use guerdon_tests::{
    GuerdonProcess, Server, WAIT_LIMIT, WireReply, wait_until_blocking, wire_request,
};
use serde_json::{Value, json};

use crate::{assert_problem, assert_scores, leak, light, request};

fn pack(points: u32) -> String {
    Server::pack().replace("points: -50", &format!("points: -{points}"))
}

fn reward(server: &GuerdonProcess) -> Value {
    server.score(&request(&[leak()]))["results"][0]["reward"].clone()
}

fn generation(server: &GuerdonProcess) -> u64 {
    server.get("/v1/info").json()["generation"].as_u64().unwrap()
}

fn post(server: &GuerdonProcess, route: &str) -> WireReply {
    server
        .exchange(&wire_request("POST", route, &[("content-type", "application/json")], b""))
        .unwrap()
}

#[track_caller]
fn live(server: &GuerdonProcess, what: &str, points: u32) {
    let expected = json!(-f64::from(points) / 100.0);
    wait_until_blocking(&format!("{what}: {points} points are live"), WAIT_LIMIT, || {
        reward(server) == expected
    });
}

fn write(folder: &Path, points: u32) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("words.yaml"), pack(points)).unwrap();
}

fn run(folder: &Path, shell: &str) {
    let status = Command::new("sh").args(["-ec", shell]).current_dir(folder).status().unwrap();
    assert!(status.success(), "{shell}");
}

#[test]
fn broken_files_are_refused_while_the_old_generation_serves() {
    let server = light().start();
    let breaks: [(&str, &str); 14] = [
        ("YAML that ends", "printf 'pack: words\\nrules: [' > packs/words.yaml"),
        ("a misspelt key", "sed -i 's/points/pionts/' packs/words.yaml"),
        ("bytes", "head -c 3000 /dev/urandom > packs/words.yaml"),
        ("NULs", "head -c 3000 /dev/zero > packs/words.yaml"),
        ("an example that misses", "sed -i 's/see the work order/see the order/' packs/words.yaml"),
        ("a second pack of that name", "cp packs/words.yaml packs/other.yaml"),
        ("a folder in the place of a pack", "rm packs/words.yaml; mkdir packs/words.yaml"),
        ("a link to itself", "rm packs/words.yaml; ln -s words.yaml packs/words.yaml"),
        ("a link to nothing", "rm packs/words.yaml; ln -s nowhere.yaml packs/words.yaml"),
        ("a device", "rm packs/words.yaml; ln -s /dev/zero packs/words.yaml"),
        ("no pack", "rm packs/words.yaml"),
        ("no folder", "mv packs gone"),
        ("a configuration with a typo", "sed -i 's/rules = /ruels = /' guerdon.toml"),
        ("no configuration", "rm guerdon.toml"),
    ];
    for (what, shell) in breaks {
        let digest = server.score(&request(&[leak()]))["versions"]["digest"].clone();
        run(&server.path(""), shell);
        let started = Instant::now();
        let refused = post(&server, "/v1/reload");
        assert_problem(&refused, 422, what);
        assert!(started.elapsed() < Duration::from_secs(15), "{what}: {:?}", started.elapsed());
        let reply = server.score(&request(&[leak()]));
        assert_eq!(
            (&reply["results"][0]["reward"], &reply["versions"]["digest"]),
            (&json!(-0.5), &digest),
            "{what}"
        );
        // Everything is put back.
        run(&server.path(""), "rm -rf packs gone");
        light().write(&server.path(""));
        wait_until_blocking(what, WAIT_LIMIT, || post(&server, "/v1/reload").status == 200);
        assert_scores(&server);
    }
}

/// A way of replacing the folder `packs` below the given folder by one with new points.
type Replacement = fn(&Path, u32);

const REPLACEMENTS: [(&str, Replacement); 8] = [
    ("mv packs old; mv new packs", |root, points| {
        write(&root.join("new"), points);
        run(root, "rm -rf old; mv packs old; mv new packs");
    }),
    ("rm -r packs; cp -r new packs", |root, points| {
        write(&root.join("new"), points);
        run(root, "rm -r packs; cp -r new packs");
    }),
    ("rm, rmdir, mkdir and write, with pauses", |root, points| {
        run(root, "rm packs/*; rmdir packs; sleep 0.2; mkdir packs; sleep 0.1");
        write(&root.join("packs"), points);
    }),
    ("mv packs away and back, edited in between", |root, points| {
        run(root, "mv packs away; sleep 0.2");
        write(&root.join("away"), points);
        run(root, "mv away packs");
    }),
    ("a symlink swapped to another release", |root, points| {
        let release = format!("release-{points}");
        write(&root.join(&release), points);
        drop(std::fs::remove_file(root.join("next")));
        symlink(&release, root.join("next")).unwrap();
        run(root, "[ -L packs ] || mv packs release-0; mv -T next packs");
    }),
    ("a ConfigMap: files are links through ..data", |root, points| {
        let version = format!("packs/..version-{points}");
        run(root, "[ -d packs ] && [ ! -L packs ] || { rm -rf packs; mkdir packs; }");
        write(&root.join(&version), points);
        run(
            root,
            &format!(
                "cd packs; ln -sfn ..version-{points} ..next; mv -T ..next ..data; ln -sfn ..data/words.yaml words.yaml"
            ),
        );
    }),
    ("git checkout of another branch", |root, points| {
        run(
            root,
            &format!(
                "export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null; git init -q . 2>/dev/null || true; \
                 git config user.email a@b; git config user.name a; git add -f packs; git commit -qm before --allow-empty; \
                 git checkout -q -b b{points}; sed -i 's/points: -[0-9]*$/&/; 0,/points: -[0-9]*/s//points: -{points}/' packs/words.yaml; \
                 git commit -qam after; git checkout -q --orphan empty{points}; git rm -rqf packs; git commit -qm none --allow-empty; \
                 git checkout -q b{points}"
            ),
        );
    }),
    ("the parent is replaced", |root, points| {
        write(&root.join("new"), points);
        run(root, "mv packs packs.old; sleep 0.1; mv new packs; rm -r packs.old");
    }),
];

#[test]
fn edits_after_a_replaced_folder_go_live() {
    for (way, replace) in REPLACEMENTS {
        let server = light().start();
        let root = server.path("");
        // Twice: what sees the first replacement may be lost with the folder.
        for points in [10, 20] {
            replace(&root, points);
            live(&server, way, points);
            // An edit in place, and one by rename.
            let target = std::fs::canonicalize(root.join("packs/words.yaml")).unwrap();
            std::fs::write(&target, pack(points + 1)).unwrap();
            live(&server, way, points + 1);
            std::fs::write(target.with_extension("new"), pack(points + 2)).unwrap();
            std::fs::rename(target.with_extension("new"), &target).unwrap();
            live(&server, way, points + 2);
        }
    }
}

#[test]
fn files_that_are_no_packs_change_nothing() {
    let server = light().start();
    let before = generation(&server);
    for name in [
        ".words.yaml.swp",
        ".#words.yaml",
        "#words.yaml#",
        "._words.yaml",
        "words.yaml~",
        "4913",
        "notes.txt",
        "README.md",
        ".hidden.yaml",
    ] {
        std::fs::write(server.path("packs").join(name), pack(1)).unwrap();
    }
    run(
        &server.path("packs"),
        "touch words.yaml; cp -p words.yaml .copy; mv .copy words.yaml; cat words.yaml > .copy; mv .copy words.yaml",
    );
    // A change that counts goes live afterwards, as the next generation.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(generation(&server), before);
    server.replace("packs/words.yaml", &pack(7));
    live(&server, "an edit", 7);
    assert_eq!(generation(&server), before + 1);
}

#[test]
fn rollback_lasts_until_a_text_changes_and_numbers_are_used_once() {
    let server = light().start();
    let mut used = vec![generation(&server)];
    let mut note = |server: &GuerdonProcess| {
        let now = generation(server);
        assert!(!used.contains(&now), "generation {now} again, after {used:?}");
        used.push(now);
        let gauge = server.metric("guerdon_generation", "");
        assert_eq!(gauge.to_bits(), (now as f64).to_bits(), "the gauge");
    };
    server.replace("packs/words.yaml", &pack(10));
    live(&server, "an edit", 10);
    note(&server);
    assert_eq!(post(&server, "/v1/rollback").status, 200);
    assert_eq!(reward(&server), json!(-0.5));
    note(&server);
    // The text on the disk is that of before the roll-back.
    run(
        &server.path("packs"),
        "touch words.yaml; cp words.yaml .copy; mv .copy words.yaml; touch -d yesterday words.yaml",
    );
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(reward(&server), json!(-0.5), "the roll-back is undone by no change of text");
    server.replace("packs/words.yaml", &pack(20));
    live(&server, "an edit after the roll-back", 20);
    note(&server);
}

#[test]
fn dropped_candidate_does_not_free_its_number() {
    let server = light().replaced("[reload]", "[reload]\nshare = 0.0").start();
    let mut seen = vec![generation(&server)];
    for points in [10, 20, 30] {
        server.replace("packs/words.yaml", &pack(points));
        let candidate = || server.get("/v1/info").json()["candidate"]["generation"].as_u64();
        wait_until_blocking("a candidate", WAIT_LIMIT, || candidate().is_some());
        let number = candidate().unwrap();
        assert!(!seen.contains(&number), "{number} again, after {seen:?}");
        seen.push(number);
        assert_eq!(post(&server, "/v1/rollback").status, 200);
        assert_eq!(reward(&server), json!(-0.5));
        assert_eq!(
            server.metric("guerdon_generation", "").to_bits(),
            (generation(&server) as f64).to_bits()
        );
    }
}

#[test]
fn files_that_never_end_do_not_stop_reloads_or_the_exit() {
    for (what, shell) in [
        ("a FIFO among the packs", "mkfifo packs/pipe.yaml"),
        ("a FIFO in the place of the pack", "rm packs/words.yaml; mkfifo packs/words.yaml"),
        ("a link to a FIFO", "mkfifo pipe; ln -sf ../pipe packs/linked.yaml"),
        ("a terminal's device", "ln -s /dev/ptmx packs/device.yaml"),
        ("a FIFO in the place of the configuration", "rm guerdon.toml; mkfifo guerdon.toml"),
        ("a huge file", "truncate -s 20G packs/huge.yaml"),
    ] {
        let mut server = light().start();
        run(&server.path(""), shell);
        let started = Instant::now();
        let refused = post(&server, "/v1/reload");
        assert_problem(&refused, 422, what);
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: {:?}", started.elapsed());
        assert_scores(&server);
        run(&server.path(""), "rm -rf packs pipe guerdon.toml");
        light().file("packs/words.yaml", &pack(30)).write(&server.path(""));
        wait_until_blocking(what, WAIT_LIMIT, || post(&server, "/v1/reload").status == 200);
        live(&server, what, 30);
        let (status, took) = server.terminate(Duration::from_secs(5));
        assert_eq!(status.code(), Some(0), "{what} after {took:?}: {}", server.log());
    }
}

#[test]
fn storms_of_hangups_are_served_at_any_moment() {
    // During the start, from the moment at which the process catches or ignores the signal. (Before,
    // the system ends a process that has done nothing.)
    for delay in [0, 1, 3, 5, 10, 20, 40] {
        let folder = tempfile::tempdir().unwrap();
        light().write(folder.path());
        let mut server = light().spawn_in(folder);
        wait_until_blocking("SIGHUP is handled", WAIT_LIMIT, || server.handles_signal(1));
        std::thread::sleep(Duration::from_millis(delay));
        for _ in 0..20 {
            server.signal("HUP");
        }
        server.wait_until_listening();
        assert_scores(&server);
    }
    // While it serves.
    let mut server = light().start();
    for points in 1..=40 {
        server.replace("packs/words.yaml", &pack(points));
        for _ in 0..50 {
            server.signal("HUP");
        }
        assert!(reward(&server).is_number());
    }
    live(&server, "after the storm", 40);
    assert_eq!(server.terminate(Duration::from_secs(5)).0.code(), Some(0));
}
