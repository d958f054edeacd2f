//! An answer that was paid for is never paid for again: not after kill -9, a torn file, a full disk
//! or a client that leaves.

use std::collections::BTreeSet;
use std::time::Duration;

use guerdon_tests::{
    GuerdonProcess, JudgeThread, Server, WAIT_LIMIT, wait_until_blocking, wire_request,
};
use serde_json::{Value, json};

use crate::{light, request};

const LOGGED: &str = "[judges.stand-in.cache]\npath = \"judge.log\"";

/// Rollouts with the numbers `from..to`; each is a question of its own.
fn numbered(from: usize, to: usize) -> Vec<Value> {
    (from..to).map(|number| Server::rollout(&format!("{number} brisk ."))).collect()
}

/// The numbers whose answers the log has.
fn kept(log: &str) -> usize {
    log.lines().filter(|line| line.get(32..38) == Some(" keep ")).count()
}

/// Sends a request for `rollouts` without reading the reply.
fn ask_in_background(server: &GuerdonProcess, rollouts: &[Value]) -> guerdon_tests::WireConnection {
    let mut connection = server.connect();
    let headers = [("content-type", "application/json")];
    let body = request(rollouts).to_string();
    connection.send(&wire_request("POST", "/v1/score", &headers, body.as_bytes())).unwrap();
    connection
}

/// The number of calls once none arrives any more: those of a killed process may still be on their
/// way to the judge.
fn settled_calls(judge: &JudgeThread) -> usize {
    let mut last = judge.endpoint().calls();
    wait_until_blocking("the judge is idle", WAIT_LIMIT, || {
        std::thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut last, judge.endpoint().calls()) == judge.endpoint().calls()
    });
    last
}

#[test]
fn killed_server_buys_no_answer_of_its_log_again() {
    let judge = JudgeThread::start();
    let setup = judge.added_to(light(), LOGGED);
    let mut server = setup.start();
    let mut asked = 0;
    for round in 1..=6 {
        let asking = ask_in_background(&server, &numbered(asked, asked + 200));
        asked += 200;
        wait_until_blocking("some answers are kept", WAIT_LIMIT, || {
            kept(&server.read("judge.log")) > asked - 190 + round
        });
        let folder = server.kill();
        drop(asking);
        let answered_before =
            kept(&std::fs::read_to_string(folder.path().join("judge.log")).unwrap());
        let calls = settled_calls(&judge);
        server = setup.start_in(folder);
        let reply = server.score(&request(&numbered(0, asked)));
        assert!(
            reply["results"].as_array().unwrap().iter().all(|result| result["reward"] == -0.1),
            "{reply}"
        );
        let bought = judge.endpoint().calls() - calls;
        assert!(
            bought <= asked - answered_before,
            "round {round}: {bought} bought, {answered_before} of {asked} kept"
        );
        assert_eq!(reply["usage"]["judge_calls"], bought);
    }
    let calls = judge.endpoint().calls();
    let _ = server.score(&request(&numbered(0, asked)));
    assert_eq!(judge.endpoint().calls(), calls, "every answer is kept");
}

#[test]
fn torn_tails_of_the_log_are_read_over() {
    let judge = JudgeThread::start();
    let setup = judge.added_to(light(), LOGGED);
    let server = setup.start();
    let _ = server.score(&request(&numbered(0, 40)));
    let whole = server.read("judge.log");
    assert_eq!(kept(&whole), 40);
    let mut folder = server.kill();
    let header = whole.lines().next().unwrap().len() + 1;
    let last = whole.trim_end().rfind('\n').unwrap();
    for tail in [
        whole.as_bytes().to_vec(),
        [whole.as_bytes(), &[0; 4096]].concat(),
        [whole.as_bytes(), b"\xff\xfe garbage"].concat(),
        [whole.as_bytes(), b"\n\n\n"].concat(),
        whole.as_bytes()[..whole.len() - 1].to_vec(),
        whole.as_bytes()[..last + 10].to_vec(),
        whole.as_bytes()[..header].to_vec(),
    ] {
        std::fs::write(folder.path().join("judge.log"), &tail).unwrap();
        let known = kept(&String::from_utf8_lossy(&tail));
        let calls = judge.endpoint().calls();
        let server = setup.start_in(folder);
        let reply = server.score(&request(&numbered(0, 40)));
        assert!(reply["results"].as_array().unwrap().iter().all(|result| result["reward"] == -0.1));
        let bought = judge.endpoint().calls() - calls;
        assert!(bought <= 41 - known.min(40), "{bought} bought, {known} known");
        folder = server.kill();
    }
}

#[test]
fn log_that_cannot_be_written_loses_no_answer() {
    let judge = JudgeThread::start();
    // A file-size limit of 32 KiB stands for a full disk. 512 bytes is the unit of `ulimit -f`.
    let setup = judge.added_to(light(), LOGGED).limits("trap '' XFSZ; ulimit -f 64");
    let server = setup.start();
    for round in 0..2 {
        let reply = server.score(&request(&numbered(0, 300)));
        let results = reply["results"].as_array().unwrap();
        assert!(results.iter().all(|result| result["reward"] == -0.1), "round {round}: {reply}");
    }
    assert_eq!(judge.endpoint().calls(), 300, "nothing is bought twice");
    let errors = server.log().lines().filter(|line| line.contains("ERROR")).count();
    assert!(errors <= 5, "{errors} lines about one full disk");
}

#[test]
fn answers_of_a_client_that_left_are_kept() {
    let judge = JudgeThread::start_gated(0);
    let server = judge.added_to(light(), "max_concurrent = 4").start();
    let asking = ask_in_background(&server, &numbered(0, 10));
    judge.wait_for_calls(4);
    drop(asking);
    judge.endpoint().release(1_000);
    // The calls that were sent are paid for; their answers are there when the client comes back.
    let sent = judge.endpoint().calls();
    let reply = server.score(&request(&numbered(0, 10)));
    assert!(
        reply["results"].as_array().unwrap().iter().all(|result| result["reward"].is_number()),
        "{reply}"
    );
    let asked: BTreeSet<String> =
        judge.endpoint().requests().iter().map(|body| body["messages"].to_string()).collect();
    assert_eq!(
        judge.endpoint().calls(),
        asked.len(),
        "no question is asked twice; {sent} were sent before"
    );
}

#[test]
fn late_judge_abstains_in_time_and_is_paid_once() {
    let judge = JudgeThread::start_gated(0);
    let server = judge.added_to(light(), "").start();
    let mut body = request(&numbered(0, 5));
    body["deadline_ms"] = json!(300);
    let started = std::time::Instant::now();
    let reply = server.score(&body);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    for result in reply["results"].as_array().unwrap() {
        assert_eq!(result["turns"][0]["abstained"][0]["why"], "deadline", "{result}");
        assert_eq!(result["turns"][0]["abstained"][0]["source"], "judge", "{result}");
    }
    judge.endpoint().release(1_000);
    let reply = server.score(&request(&numbered(0, 5)));
    assert!(reply["results"].as_array().unwrap().iter().all(|result| result["reward"].is_number()));
    assert_eq!(judge.repeated_questions(), Vec::<Value>::new());
}
