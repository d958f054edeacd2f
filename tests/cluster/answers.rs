//! A question is paid for once, whoever asks it, and the rewards are those of one server.

use std::thread;
use std::time::{Duration, Instant};

use guerdon_testing::RedisServer;
use guerdon_tests::{JudgeReply, JudgeThread, ProcessSetup};
use serde_json::Value;

use crate::deployment::{Balancer, SERVERS, ask, points, question, setup, wait_until_up};

/// The clients that ask all questions.
const CLIENTS: usize = 64;
/// The questions of each client.
const QUESTIONS: usize = 200;
const DEADLINE: Duration = Duration::from_secs(120);

/// The rewards of a reply, as bits.
fn bits(reply: &Value) -> Vec<u64> {
    let results = reply["results"].as_array().unwrap();
    results.iter().map(|result| result["reward"].as_f64().unwrap().to_bits()).collect()
}

#[test]
fn sixty_four_clients_of_four_servers_pay_for_each_question_once() {
    let Some(redis) = RedisServer::start() else { return };
    let judge = JudgeThread::start_with(|level| {
        JudgeReply::content(JudgeThread::verdict(level)).delay(Duration::from_millis(20))
    });
    let setup = setup(&judge, redis.address(), "max_concurrent = 64", "20s");
    // A busy machine renews late, and nobody dies here.
    let setup = setup.replaced("lease = \"2s\"", "lease = \"60s\"");
    let servers: Vec<_> = (0..SERVERS).map(|_| setup.start()).collect();
    servers.iter().for_each(wait_until_up);
    let balancer = Balancer::start(&servers);
    let rollouts: Vec<Value> = (0..QUESTIONS).map(question).collect();
    let started = Instant::now();
    let replies: Vec<(usize, Value)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let direct = servers[client % SERVERS].address;
                let address = balancer.as_ref().map_or(direct, |balancer| balancer.address);
                let mut own = rollouts.clone();
                // Every client begins elsewhere.
                let shift = client * QUESTIONS / CLIENTS;
                own.rotate_left(shift);
                scope.spawn(move || (shift, ask(address, &own, DEADLINE).unwrap()))
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    println!(
        "{CLIENTS} clients x {QUESTIONS} questions over {SERVERS} servers{}: {} calls in {:.1} s",
        if balancer.is_some() { " behind haproxy" } else { "" },
        judge.endpoint().calls(),
        started.elapsed().as_secs_f64()
    );
    assert_eq!(judge.endpoint().calls(), QUESTIONS);
    // One server that shares nothing gives the same rewards, bit for bit.
    let alone_judge = JudgeThread::start();
    let alone =
        alone_judge.added_to(ProcessSetup::light(env!("CARGO_BIN_EXE_guerdon")), "").start();
    let expected = bits(&ask(alone.address, &rollouts, DEADLINE).unwrap());
    // In units of the bound.
    for (number, reward) in expected.iter().enumerate() {
        assert!((f64::from_bits(*reward) - points(number) / 100.0).abs() < 1e-9);
    }
    for (shift, reply) in replies {
        let mut rewards = bits(&reply);
        rewards.rotate_right(shift);
        assert_eq!(rewards, expected);
    }
}

#[test]
fn questions_of_a_killed_server_are_answered_by_the_others() {
    let Some(redis) = RedisServer::start() else { return };
    let judge = JudgeThread::start_with(|level| {
        JudgeReply::content(JudgeThread::verdict(level)).delay(Duration::from_secs(1))
    });
    let setup = setup(&judge, redis.address(), "max_concurrent = 64", "20s");
    let mut servers: Vec<_> = (0..SERVERS).map(|_| setup.start()).collect();
    servers.iter().for_each(wait_until_up);
    let rollouts: Vec<Value> = (0..32).map(question).collect();
    let holder = servers.remove(0);
    let address = holder.address;
    let own = rollouts.clone();
    let asking = thread::spawn(move || ask(address, &own, DEADLINE));
    judge.wait_for_calls(32);
    drop(holder.kill());
    assert!(asking.join().unwrap().is_none(), "its client lost the connection");
    let replies: Vec<Value> = thread::scope(|scope| {
        let asking: Vec<_> = servers
            .iter()
            .map(|server| {
                let (address, rollouts) = (server.address, &rollouts);
                scope.spawn(move || ask(address, rollouts, DEADLINE).unwrap())
            })
            .collect();
        asking.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for reply in &replies {
        for (number, result) in reply["results"].as_array().unwrap().iter().enumerate() {
            assert_eq!(result["turns"][0]["judge"]["points"], points(number), "{result}");
        }
    }
    assert_eq!(judge.endpoint().calls(), 64, "paid once more, by one of three");
}
