//! One round: a server, clients, and faults at random moments.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use guerdon_tests::{
    GuerdonProcess, JudgeReply, JudgeThread, ProcessSetup, WireConnection, wire_request,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Job, Outcome};
use crate::known::{Dialogue, KnownPacks, broken_pack, pack};
use crate::plan::{End, Plan};

/// The drain time of the servers, and the longest that a stop may take beyond it.
const DRAIN: Duration = Duration::from_secs(3);
const EXTRA: Duration = Duration::from_secs(2);
/// Time in which the judge answers.
const JUDGE_DELAY: Duration = Duration::from_millis(3);

/// All rounds: one judge, and one folder with the judge's log.
#[derive(Debug)]
pub(crate) struct Campaign {
    setup: ProcessSetup,
    judge: JudgeThread,
    judge_fails: Arc<AtomicBool>,
    folder: Option<TempDir>,
    packs: KnownPacks,
    seed: u64,
    /// Jobs that have to be sent again.
    open: Vec<Job>,
    /// Dialogues whose judge's answer reached a client and the log.
    answered: BTreeSet<u32>,
    /// Calls of the judge that were looked at.
    seen_calls: usize,
    counts: BTreeMap<&'static str, u64>,
}

/// The outcome of a round.
#[derive(Debug)]
pub(crate) struct RoundReport {
    number: u64,
    plan: Plan,
    /// Reasons of repeated jobs, with their numbers.
    again: BTreeMap<String, usize>,
    rewarded: usize,
    took: Duration,
    pub(crate) violations: Vec<String>,
    log: String,
}

impl Campaign {
    pub(crate) fn new(binary: PathBuf, seed: u64) -> Self {
        let judge_fails = Arc::new(AtomicBool::new(false));
        let judge = judge(Arc::clone(&judge_fails));
        let setup = judge
            .added_to(ProcessSetup::light(binary), "[judges.stand-in.cache]\npath = \"judge.log\"")
            // Without the judge's answer there is no reward: every reward is the whole one.
            .fusion("on_abstain = \"null\"")
            .file("packs/words.yaml", &pack(0));
        let folder = tempfile::tempdir().unwrap();
        setup.write(folder.path());
        Self {
            setup,
            judge,
            judge_fails,
            folder: Some(folder),
            packs: KnownPacks::new(),
            seed,
            open: Vec::new(),
            answered: BTreeSet::new(),
            seen_calls: 0,
            counts: BTreeMap::new(),
        }
    }

    /// Runs round `number`.
    pub(crate) fn round(&mut self, number: u64) -> RoundReport {
        let started = Instant::now();
        let mut random =
            StdRng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(number));
        let plan = Plan::random(&mut random);
        self.run(number, plan, &mut random, started)
    }

    /// Sends the jobs that are still open to a server without faults. Returns what is lost.
    pub(crate) fn finish(&mut self) -> Vec<String> {
        let plan = Plan {
            end: End::QuietStop,
            after_ms: 0,
            disk: None,
            descriptors: None,
            slow_clients: 0,
            reloads: false,
            leaving: 0,
            clients: 1,
            judge_fails: false,
        };
        let mut random = StdRng::seed_from_u64(self.seed);
        let report = self.run(u64::MAX, plan, &mut random, Instant::now());
        if !self.open.is_empty() {
            println!("{report}");
        }
        let lost = self.open.iter().map(|job| format!("a job has no answer in the end: {job:?}"));
        report.violations.iter().cloned().chain(lost).take(5).collect()
    }

    fn run(
        &mut self,
        number: u64,
        plan: Plan,
        random: &mut StdRng,
        started: Instant,
    ) -> RoundReport {
        let folder = self.folder.take().unwrap();
        let log_bytes =
            std::fs::metadata(folder.path().join("judge.log")).map_or(0, |file| file.len());
        // The round before may have left a broken pack.
        write_pack(&folder.path().join("packs"), &pack(random.random_range(0..3)));
        let limits = plan.limits(log_bytes);
        let setup =
            if limits.is_empty() { self.setup.clone() } else { self.setup.clone().limits(&limits) };
        let mut server = setup.start_in(folder);
        self.packs.new_process();
        self.judge_fails.store(plan.judge_fails, Ordering::Relaxed);
        let mut violations = Vec::new();
        let outcomes = self.traffic(&mut server, &plan, random, &mut violations);
        if plan.end != End::Kill {
            let (status, took) = server.wait_for_exit(DRAIN * 4);
            if took > DRAIN + EXTRA {
                violations.push(format!("the stop took {took:?}"));
            }
            if status.code() != Some(0) {
                violations.push(format!("the server ended with {status}"));
            }
        }
        let log = server.log();
        if log.contains("panicked") {
            violations.push("a panic".into());
        }
        self.folder = Some(server.into_folder());
        let mut report = RoundReport {
            number,
            again: BTreeMap::new(),
            rewarded: 0,
            took: started.elapsed(),
            violations,
            log,
            plan,
        };
        self.settle(outcomes, &mut report);
        report
    }

    /// Serves clients until the end of the plan.
    fn traffic(
        &mut self,
        server: &mut GuerdonProcess,
        plan: &Plan,
        random: &mut StdRng,
        violations: &mut Vec<String>,
    ) -> Vec<(Job, Outcome)> {
        let open = Mutex::new(std::mem::take(&mut self.open));
        let (done, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let (address, packs) = (server.address, &self.packs);
        let seeds: Vec<u64> = (0..plan.clients).map(|_| random.random()).collect();
        let storm = StdRng::seed_from_u64(random.random());
        let slow = StdRng::seed_from_u64(random.random());
        thread::scope(|scope| {
            let held = scope.spawn(|| hold_slow_connections(address, plan, slow));
            let clients: Vec<_> = seeds
                .into_iter()
                .map(|seed| {
                    let (open, done, stop) = (&open, &done, &stop);
                    scope.spawn(move || {
                        let mut random = StdRng::seed_from_u64(seed);
                        loop {
                            let waiting = open.lock().unwrap().pop();
                            // After the end only the jobs that were there before are sent.
                            if waiting.is_none() && stop.load(Ordering::Relaxed) {
                                break;
                            }
                            let job = waiting.unwrap_or_else(|| Job::random(&mut random));
                            let outcome = job.send(address, packs);
                            let is_broken = outcome.again.is_some();
                            done.lock().unwrap().push((job, outcome));
                            if is_broken {
                                // A client that is refused does not spin.
                                thread::sleep(Duration::from_millis(5));
                            }
                        }
                    })
                })
                .collect();
            let reloading = {
                let (server, stop) = (&*server, &stop);
                scope.spawn(move || {
                    if plan.reloads {
                        reload_storm(server, storm, stop)
                    }
                })
            };
            thread::sleep(Duration::from_millis(plan.after_ms));
            match plan.end {
                End::Kill => server.signal("KILL"),
                End::Stop(signal) => server.signal(signal),
                End::QuietStop => {}
            }
            stop.store(true, Ordering::Relaxed);
            for client in clients {
                if client.join().is_err() {
                    violations.push("a client panicked".into());
                }
            }
            if reloading.join().is_err() {
                violations.push("the reloading client panicked".into());
            }
            drop(held.join());
        });
        if plan.end == End::QuietStop {
            server.signal("TERM");
        }
        self.open = open.into_inner().unwrap();
        done.into_inner().unwrap()
    }

    /// Counts the outcomes and checks the judge's calls.
    fn settle(&mut self, outcomes: Vec<(Job, Outcome)>, report: &mut RoundReport) {
        let calls = self.judge.endpoint().requests_after(self.seen_calls);
        for question in &calls {
            match Dialogue::of_question(question) {
                Some(number) if self.answered.contains(&number) => {
                    report
                        .violations
                        .push(format!("dialogue {number} was judged and paid for again"));
                }
                Some(_) => {}
                // A question about no dialogue checks that the judge can be reached.
                None => *self.counts.entry("checks of the judge").or_default() += 1,
            }
        }
        *self.counts.entry("judge calls").or_default() += calls.len() as u64;
        self.seen_calls += calls.len();
        let is_harmless = report.plan.end == End::QuietStop
            && report.plan.descriptors.is_none()
            && report.plan.disk.is_none();
        for (job, outcome) in outcomes {
            *self.counts.entry("requests").or_default() += 1;
            report.rewarded += outcome.rewarded.len();
            // A full disk keeps no answers; they may be bought again after a restart.
            if report.plan.disk.is_none() {
                self.answered.extend(outcome.rewarded);
            }
            report.violations.extend(outcome.violations);
            if let Some(why) = outcome.again {
                if is_harmless && why.starts_with("connection") {
                    report.violations.push(format!("lost without a reason: {why}"));
                }
                *report.again.entry(why).or_default() += 1;
                *self.counts.entry("requests to repeat").or_default() += 1;
                self.open.push(job);
            }
        }
        *self.counts.entry("rewards checked").or_default() += report.rewarded as u64;
        *self.counts.entry("rounds").or_default() += 1;
        for fault in report.plan.names() {
            *self.counts.entry(fault).or_default() += 1;
        }
    }
}

/// A judge that fails every third call while `fails` is set.
fn judge(fails: Arc<AtomicBool>) -> JudgeThread {
    let calls = AtomicUsize::new(0);
    JudgeThread::start_with(move |level| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        let reply = if fails.load(Ordering::Relaxed) && call.is_multiple_of(3) {
            JudgeReply::status(500, &json!({ "error": "out of order" }))
        } else {
            JudgeReply::content(JudgeThread::verdict(level))
        };
        reply.delay(JUDGE_DELAY)
    })
}

/// Opens connections that are half sent or not read, and clients that leave, and keeps the former
/// open until the end of the round.
fn hold_slow_connections(
    address: std::net::SocketAddr,
    plan: &Plan,
    mut random: StdRng,
) -> Vec<WireConnection> {
    let mut held = Vec::new();
    for index in 0..plan.slow_clients + plan.leaving {
        let Ok(mut connection) = WireConnection::open(address) else { continue };
        let bytes = Job::random(&mut random).bytes();
        let length =
            if random.random_bool(0.5) { bytes.len() } else { random.random_range(0..bytes.len()) };
        drop(connection.send(&bytes[..length]));
        if index < plan.slow_clients {
            held.push(connection);
        }
    }
    held
}

/// Writes known and broken packs, replaces the folder, and asks for reloads and rollbacks.
fn reload_storm(server: &GuerdonProcess, mut random: StdRng, stop: &AtomicBool) {
    let folder = server.path("packs");
    while !stop.load(Ordering::Relaxed) {
        let text = if random.random_bool(0.25) {
            broken_pack(&mut random)
        } else {
            pack(random.random_range(0..3))
        };
        match random.random_range(0..6) {
            0..3 => write_pack(&folder, &text),
            3 => {
                let (new, old) = (server.path("packs.new"), server.path("packs.old"));
                drop(std::fs::remove_dir_all(&old));
                write_pack(&new, &text);
                drop(std::fs::rename(&folder, &old));
                drop(std::fs::rename(&new, &folder));
            }
            4 => {
                for route in ["/v1/reload", "/v1/rollback"] {
                    let request =
                        wire_request("POST", route, &[("content-type", "application/json")], b"");
                    drop(server.exchange(&request));
                }
            }
            _ => server.signal("HUP"),
        }
        thread::sleep(Duration::from_millis(random.random_range(0..30)));
    }
}

/// Renames a new file over the pack.
fn write_pack(folder: &std::path::Path, text: &str) {
    drop(std::fs::create_dir_all(folder));
    let draft = folder.join(".words.yaml.swp");
    #[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
    drop(std::fs::write(&draft, text));
    drop(std::fs::rename(&draft, folder.join("words.yaml")));
}

impl fmt::Display for RoundReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "round {}: {} ms, {}; {} rewards checked, again {:?}, {:.1?}",
            self.number,
            self.plan.after_ms,
            self.plan.names().join(", "),
            self.rewarded,
            self.again,
            self.took
        )?;
        for violation in self.violations.iter().take(3) {
            write!(f, "\n  VIOLATION: {violation}")?;
        }
        if !self.violations.is_empty() {
            let last: Vec<&str> = self.log.lines().rev().take(20).collect();
            let lines: Vec<&str> = last.into_iter().rev().collect();
            write!(f, "\n{}", lines.join("\n"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> =
            self.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        write!(f, "{}", counts.join(", "))
    }
}
