//! `guerdon score --out`: interrupted runs keep their results, and `--resume` continues them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use guerdon_testing::{ServerReply, StandInServer, wait_until_blocking};
use guerdon_types::{Problem, ProblemCode, ScoreRequest};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{command, transcript, write};

const PATIENCE: Duration = Duration::from_secs(30);

/// The rollouts of a request of `guerdon score`.
const CHUNK: usize = 128;

/// A stand-in server, and the runtime that it runs on.
struct Server {
    server: StandInServer,
    url: String,
    runtime: Runtime,
}

impl Server {
    /// A server that has no `/v1/info`, and answers when `together` requests are in flight.
    fn new(replies: Vec<ServerReply>, together: usize) -> Self {
        let runtime = Runtime::new().unwrap();
        let mut script = replies;
        if !script.is_empty() {
            let missing = Problem::new(ProblemCode::NotFound, "there is no such path");
            script.insert(0, ServerReply::problem(&missing));
        }
        let server = runtime.block_on(StandInServer::start_with_barrier(script, together));
        Self { url: server.url().to_owned(), server, runtime }
    }

    /// Sends a request of no rollouts. At a barrier of two it lets another request pass.
    fn pass_one(&self) {
        let body = "{\"rollouts\":[]}";
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).unwrap();
        write!(
            stream,
            "POST /v1/score HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
    }

    /// The contents of the rollouts that were scored, with the number of times.
    fn scored(&self) -> BTreeMap<String, usize> {
        let mut scored = BTreeMap::new();
        for request in self.server.received().iter() {
            let Ok(request) = serde_json::from_slice::<ScoreRequest>(&request.body) else {
                continue;
            };
            for rollout in request.rollouts {
                *scored.entry(rollout.messages[0].content.clone()).or_default() += 1;
            }
        }
        scored
    }

    /// Stops the server: connections break, and the port is closed.
    fn stop(self) {
        self.runtime.shutdown_background();
    }
}

fn rollout(number: usize, group: &str) -> String {
    format!(
        "{{\"id\":\"r{number}\",\"group\":\"{group}\",\"messages\":[{{\"role\":\"assistant\",\"content\":\"{number}\"}}]}}\n"
    )
}

/// A folder with `count` rollouts, whose rewards are 0, 1, 2 and so on.
fn rollouts(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..count).map(|number| rollout(number, "g")).collect();
    write(folder.path(), "in.jsonl", &lines);
    folder
}

fn score(folder: &Path, server: &Server, flags: &[&str]) -> Command {
    let arguments =
        [&["score", "in.jsonl", "--url", &server.url, "--out", "out.jsonl"], flags].concat();
    command(folder, &arguments)
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

/// Sends a signal, waits until it is handled, and lets the request under way pass.
fn interrupted(mut child: Child, name: &str, server: &Server) -> Output {
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    signal(&child, name);
    let mut stderr = Vec::new();
    errors.read_until(b'\n', &mut stderr).unwrap();
    server.pass_one();
    errors.read_to_end(&mut stderr).unwrap();
    Output { status: child.wait().unwrap(), stdout: Vec::new(), stderr }
}

fn read(folder: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(name)).ok()
}

fn rewards(text: &str) -> Vec<Option<f64>> {
    let reward = |line: &str| serde_json::from_str::<Value>(line).unwrap()["reward"].as_f64();
    text.lines().map(reward).collect()
}

fn numbers(count: usize) -> Vec<Option<f64>> {
    (0..count).map(|number| Some(number as f64)).collect()
}

/// The number of whole results in the part.
fn part_count(folder: &Path) -> usize {
    read(folder, "out.jsonl.part").map_or(0, |text| text.lines().skip(1).count())
}

/// Resumes the run in `folder` with a new server. Checks that the result is complete and that only
/// the `left` last rollouts were scored, once.
fn resumed(folder: &Path, total: usize, left: usize) -> Output {
    let server = Server::new(Vec::new(), 1);
    let output = score(folder, &server, &["--resume"]).output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    assert_eq!(rewards(&read(folder, "out.jsonl").unwrap()), numbers(total));
    let expected: BTreeMap<String, usize> =
        (total - left..total).map(|number| (number.to_string(), 1)).collect();
    assert_eq!(server.scored(), expected);
    assert_eq!(read(folder, "out.jsonl.part"), None);
    // The input, the results and the record of the finished run.
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 3, "no file is left over");
    output
}

/// Starts a run whose first request passes. Returns it when its second request waits.
fn stopped_at_second_request(folder: &Path, server: &Server, flags: &[&str]) -> Child {
    let child = spawn(score(folder, server, flags));
    server.pass_one();
    server.pass_one();
    wait_until_blocking("the second request arrives", PATIENCE, || {
        part_count(folder) == CHUNK && server.server.in_flight() == 1
    });
    child
}

#[test]
fn signal_finishes_the_request_under_way_and_resume_scores_the_rest() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let folder = rollouts(300);
        write(folder.path(), "out.jsonl", "earlier\n");
        let server = Server::new(Vec::new(), 2);
        let child = stopped_at_second_request(folder.path(), &server, &[]);
        let output = interrupted(child, name, &server);
        let shown = transcript(&output);
        assert_eq!(output.status.code(), Some(code), "{shown}");
        if code == 130 {
            insta::assert_snapshot!("interrupted", shown);
        }
        assert_eq!(read(folder.path(), "out.jsonl").unwrap(), "earlier\n");
        assert_eq!(part_count(folder.path()), 2 * CHUNK);
        resumed(folder.path(), 300, 300 - 2 * CHUNK);
    }
}

#[test]
fn second_signal_stops_at_once() {
    let folder = rollouts(300);
    let server = Server::new(Vec::new(), 2);
    let mut child = stopped_at_second_request(folder.path(), &server, &[]);
    let mut stderr = child.stderr.take().unwrap();
    signal(&child, "-TERM");
    let mut first = [0];
    stderr.read_exact(&mut first).unwrap();
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    resumed(folder.path(), 300, 300 - CHUNK);
}

#[test]
fn signals_end_a_run_whose_reader_reads_nothing() {
    for (name, code) in [("-TERM", 143), ("-INT", 130)] {
        let folder = rollouts(300);
        let server = Server::new(Vec::new(), 1);
        let (reader, mut writer) = std::io::pipe().unwrap();
        // All that a pipe holds, so that the first result waits for the reader.
        writer.write_all(&vec![b' '; 64 << 10]).unwrap();
        let mut child = command(folder.path(), &["score", "in.jsonl", "--url", &server.url])
            .stdout(writer)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until_blocking("a request is answered", PATIENCE, || {
            !server.scored().is_empty() && server.server.in_flight() == 0
        });
        let mut status = None;
        wait_until_blocking("the run ends", Duration::from_secs(10), || {
            signal(&child, name);
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(code), "{name}");
        drop(reader);
    }
}

#[test]
fn killed_run_loses_only_the_request_under_way() {
    let folder = rollouts(300);
    let server = Server::new(Vec::new(), 2);
    let mut child = stopped_at_second_request(folder.path(), &server, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    // A record that was not written to its end.
    let torn = read(folder.path(), "out.jsonl.part").unwrap() + "{\"key\":200,\"value\":{\"id\":";
    write(folder.path(), "out.jsonl.part", &torn);
    resumed(folder.path(), 300, 300 - CHUNK);
}

#[test]
fn full_disk_keeps_the_results_before() {
    let folder = rollouts(300);
    let server = Server::new(Vec::new(), 1);
    // 16 blocks of 512 bytes, and an error instead of the signal SIGXFSZ.
    let script = format!(
        "trap '' XFSZ; ulimit -f 16; exec {} score in.jsonl --url {} --out out.jsonl",
        env!("CARGO_BIN_EXE_guerdon"),
        server.url
    );
    let limited =
        Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let shown = transcript(&limited);
    assert_eq!(limited.status.code(), Some(1), "{shown}");
    assert!(shown.contains("cannot write out.jsonl.part"), "{shown}");
    let kept = part_count(folder.path());
    assert!(kept > 10 && shown.contains(&format!("{kept} of 300 results")), "{kept}: {shown}");
    let server = Server::new(Vec::new(), 1);
    let output = score(folder.path(), &server, &["--resume"]).output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    assert_eq!(rewards(&read(folder.path(), "out.jsonl").unwrap()), numbers(300));
    assert_eq!(server.scored().len(), 300 - kept);
}

#[test]
fn server_that_goes_away_leaves_a_part_and_no_incomplete_file() {
    for earlier in [None, Some("earlier\n")] {
        let folder = rollouts(300);
        if let Some(earlier) = earlier {
            write(folder.path(), "out.jsonl", earlier);
        }
        let server = Server::new(Vec::new(), 2);
        let child = stopped_at_second_request(folder.path(), &server, &[]);
        server.stop();
        let output = child.wait_with_output().unwrap();
        let shown = transcript(&output);
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(shown.contains("128 of 300 results are in out.jsonl.part"), "{shown}");
        assert!(shown.contains("could not be reached"), "{shown}");
        assert_eq!(read(folder.path(), "out.jsonl").as_deref(), earlier);
        resumed(folder.path(), 300, 300 - CHUNK);
    }
}

#[test]
fn cut_reply_is_asked_for_again_without_what_arrived() {
    let folder = rollouts(5);
    let line = |index: usize| {
        format!(
            "{{\"index\":{index},\"id\":\"r{index}\",\"reward\":{index},\"turns\":[],\"abstained\":[]}}\n"
        )
    };
    let server = Server::new(vec![ServerReply::BrokenChunks(vec![line(3), line(0)])], 1);
    let output = score(folder.path(), &server, &[]).output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    assert_eq!(rewards(&read(folder.path(), "out.jsonl").unwrap()), numbers(5));
    let twice: Vec<usize> = server.scored().into_values().collect();
    assert_eq!(twice, [1, 2, 2, 1, 2]);
}

#[test]
fn part_of_another_run_is_kept_and_refused() {
    let folder = rollouts(200);
    let server = Server::new(Vec::new(), 2);
    let child = stopped_at_second_request(folder.path(), &server, &["--fusion", "{\"bound\": 5}"]);
    interrupted(child, "-TERM", &server);
    let part = read(folder.path(), "out.jsonl.part").unwrap();
    let refused = |flags: &[&str]| {
        let server = Server::new(Vec::new(), 1);
        let output = score(folder.path(), &server, flags).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(server.scored().is_empty());
        assert_eq!(read(folder.path(), "out.jsonl.part").unwrap(), part);
        transcript(&output)
    };
    insta::assert_snapshot!("part_without_resume", refused(&["--fusion", "{\"bound\": 5}"]));
    insta::assert_snapshot!("resume_with_other_settings", refused(&["--resume"]));
    let lines = read(folder.path(), "in.jsonl").unwrap();
    write(folder.path(), "in.jsonl", &lines.replace("r17", "s17"));
    let shown = refused(&["--resume", "--fusion", "{\"bound\": 5}"]);
    assert!(shown.contains("the input is another one"), "{shown}");
}

#[test]
fn finished_file_is_not_scored_again_by_resume() {
    let folder = rollouts(3);
    let run = |flags: &[&str]| {
        let server = Server::new(Vec::new(), 1);
        let output = score(folder.path(), &server, flags).output().unwrap();
        (output.status.code(), server.scored().len(), transcript(&output))
    };
    assert_eq!(run(&["--resume"]).1, 3);
    for _ in 0..2 {
        let (code, scored, shown) = run(&["--resume"]);
        assert_eq!((code, scored), (Some(0), 0));
        insta::assert_snapshot!("resume_of_a_finished_file", shown);
        assert_eq!(rewards(&read(folder.path(), "out.jsonl").unwrap()), numbers(3));
    }
    let (code, scored, shown) = run(&["--resume", "--table"]);
    assert_eq!((code, scored), (Some(1), 0), "{shown}");
    assert!(shown.contains("--table was given to one of the runs only"), "{shown}");
    let (code, scored, shown) = run(&["--resume", "--fusion", "{\"bound\": 5}"]);
    assert_eq!((code, scored), (Some(1), 0));
    insta::assert_snapshot!("resume_of_another_finished_file", shown);
    assert_eq!(run(&[]).1, 3, "without --resume everything is scored again");
    let (code, scored, shown) = run(&["--resume"]);
    assert_eq!((code, scored), (Some(1), 0), "{shown}");
    assert!(shown.contains("there is no out.jsonl.part to continue"), "{shown}");
}

#[test]
fn resume_scores_incomplete_groups_whole() {
    let folder = tempfile::tempdir().unwrap();
    // Samples of 100 groups, interleaved.
    let lines: String = (0..300).map(|n| rollout(n, &format!("g{}", n % 100))).collect();
    write(folder.path(), "in.jsonl", &lines);
    let flags = ["--advantages", "grpo"];
    let server = Server::new(Vec::new(), 2);
    let child = spawn(score(folder.path(), &server, &flags));
    server.pass_one();
    server.pass_one();
    // Groups of 3: the first request has 43 groups.
    wait_until_blocking("the first request is answered", PATIENCE, || {
        part_count(folder.path()) == 129
    });
    signal(&child, "-KILL");
    child.wait_with_output().unwrap();
    let part = read(folder.path(), "out.jsonl.part").unwrap();
    let record = part.lines().find(|line| line.starts_with("{\"key\":7,")).unwrap();
    write(folder.path(), "out.jsonl.part", &part.replace(&format!("{record}\n"), ""));

    let server = Server::new(Vec::new(), 1);
    let flags = [&flags[..], &["--resume"]].concat();
    let output = score(folder.path(), &server, &flags).output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    assert_eq!(rewards(&read(folder.path(), "out.jsonl").unwrap()), numbers(300));
    let scored: Vec<usize> =
        server.scored().keys().map(|content| content.parse::<usize>().unwrap()).collect();
    let mut expected: Vec<usize> = (0..300).filter(|n| n % 100 >= 43 || n % 100 == 7).collect();
    expected.sort_by_key(usize::to_string);
    assert_eq!(scored, expected);
}
