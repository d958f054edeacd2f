//! The kinds of requests of the soak.

use std::net::SocketAddr;

use clap::ValueEnum;
use guerdon_tests::{WireConnection, WireReply, exchange, wire_request};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

const WORDS: [&str; 24] = [
    "480",
    "420",
    "price",
    "partner",
    "hotel",
    "room",
    "we",
    "can",
    "meet",
    "at",
    "is",
    "our",
    "best",
    "offer",
    "work",
    "order",
    "价格",
    "房价",
    "您好",
    "可以",
    "guarantee",
    "thank",
    "you",
    ".",
];

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrafficKind {
    /// New dialogues, scored by model and rules.
    Score,
    /// The same dialogues again and again.
    Repeat,
    /// A streamed reply.
    Stream,
    /// Groups with advantages.
    Advantages,
    /// OpenRLHF's protocol, with a chat template.
    GetReward,
    /// slime's protocol.
    Rm,
    /// vLLM's protocol.
    Classify,
    /// A client that leaves without the reply.
    Vanish,
    /// A client that leaves in the middle of a stream.
    VanishStream,
    /// A body of some megabytes.
    Large,
    /// Rules without the model.
    RulesOnly,
    /// A check of a rule pack.
    RulesCheck,
    /// A body that is not a request.
    Malformed,
    /// A reload.
    Reload,
}

/// The outcome of one request.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// Answered as expected, or left by the client.
    Fine,
    /// Not answered, or with another status.
    Failed(String),
}

impl TrafficKind {
    /// Every kind.
    pub(crate) const ALL: [Self; 14] = [
        Self::Score,
        Self::Repeat,
        Self::Stream,
        Self::Advantages,
        Self::GetReward,
        Self::Rm,
        Self::Classify,
        Self::Vanish,
        Self::VanishStream,
        Self::Large,
        Self::RulesOnly,
        Self::RulesCheck,
        Self::Malformed,
        Self::Reload,
    ];

    /// Sends one request of this kind.
    pub(crate) fn exchange(self, address: SocketAddr, random: &mut StdRng) -> Exchange {
        let batch = |random: &mut StdRng, most: usize| rollouts(random, most);
        match self {
            Self::Score => {
                post(address, "/v1/score", &json!({ "rollouts": batch(random, 32) }), 200)
            }
            Self::Repeat => {
                let mut fixed = <StdRng as rand::SeedableRng>::seed_from_u64(7);
                post(address, "/v1/score", &json!({ "rollouts": rollouts(&mut fixed, 16) }), 200)
            }
            Self::Stream => streamed(address, &json!({ "rollouts": batch(random, 32) })),
            Self::Advantages => {
                let body =
                    json!({ "rollouts": batch(random, 16), "advantages": { "estimator": "grpo" } });
                post(address, "/v1/score", &body, 200)
            }
            Self::GetReward => {
                let query: Vec<String> =
                    (0..random.random_range(1..16)).map(|_| templated(random)).collect();
                post(address, "/get_reward", &json!({ "query": query }), 200)
            }
            Self::Rm => {
                let body = json!({ "prompt": [{ "role": "user", "content": text(random, 20) }], "response": text(random, 40) });
                post(address, "/rm", &body, 200)
            }
            Self::Classify => {
                let input: Vec<String> =
                    (0..random.random_range(1..8)).map(|_| templated(random)).collect();
                post(address, "/classify", &json!({ "input": input }), 200)
            }
            Self::Vanish => leave(address, &json!({ "rollouts": batch(random, 64) }), &[], 0),
            Self::VanishStream => {
                let accept = [("accept", "application/x-ndjson")];
                leave(address, &json!({ "rollouts": batch(random, 64) }), &accept, 2_000)
            }
            Self::Large => {
                let mut list = batch(random, 4);
                let size = random.random_range(1 << 20..8 << 20);
                list[0]["context"] =
                    json!({ "notes": "n".repeat(size), "prices": vec![480; size / 64] });
                post(address, "/v1/score", &json!({ "rollouts": list }), 200)
            }
            Self::RulesOnly => {
                let body = json!({ "rollouts": batch(random, 64), "profile": "light" });
                post(address, "/v1/score", &body, 200)
            }
            Self::RulesCheck => {
                let rule = random.random_range(0..1_000_000);
                let pack = format!(
                    "pack: p\nabout: One.\nrules:\n  - {{ id: r{rule}, about: One., points: -1, match: {{ any_of: ['w{rule}'] }} }}\n"
                );
                let body = json!({ "packs": [{ "name": "p.yaml", "text": pack }], "rollouts": batch(random, 4) });
                post(address, "/v1/rules/check", &body, 200)
            }
            Self::Malformed => {
                let headers = [("content-type", "application/json")];
                let body = format!("{{\"rollouts\": [{}", text(random, 200));
                outcome(
                    exchange(
                        address,
                        &wire_request("POST", "/v1/score", &headers, body.as_bytes()),
                    ),
                    400,
                )
            }
            Self::Reload => {
                // A reload is rare beside requests.
                if random.random_range(0..20) != 0 {
                    return Exchange::Fine;
                }
                post(address, "/v1/reload", &json!({}), 200)
            }
        }
    }
}

fn text(random: &mut StdRng, most: usize) -> String {
    let count = random.random_range(1..=most);
    let mut words: Vec<String> =
        (0..count).map(|_| (*WORDS.choose(random).unwrap()).to_owned()).collect();
    words.push(random.random_range(0..1_000_000_000_u32).to_string());
    words.join(" ")
}

fn templated(random: &mut StdRng) -> String {
    format!(
        "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>\n",
        text(random, 20),
        text(random, 40)
    )
}

fn rollouts(random: &mut StdRng, most: usize) -> Vec<Value> {
    let one = |random: &mut StdRng, index: usize| {
        let mut messages = Vec::new();
        for _ in 0..random.random_range(1..4) {
            messages.push(json!({ "role": "user", "content": text(random, 20) }));
            messages.push(json!({ "role": "assistant", "content": text(random, 60) }));
        }
        json!({ "messages": messages, "group": format!("g{}", index / 4), "context": { "target_price": 420 } })
    };
    (0..random.random_range(1..=most)).map(|index| one(random, index)).collect()
}

fn post(address: SocketAddr, target: &str, body: &Value, expected: u16) -> Exchange {
    let headers = [("content-type", "application/json")];
    outcome(
        exchange(address, &wire_request("POST", target, &headers, body.to_string().as_bytes())),
        expected,
    )
}

fn outcome(reply: std::io::Result<WireReply>, expected: u16) -> Exchange {
    match reply {
        Ok(reply) if reply.status == expected => Exchange::Fine,
        Ok(reply) => Exchange::Failed(format!("{reply:?}").chars().take(300).collect()),
        Err(error) => Exchange::Failed(error.to_string()),
    }
}

fn streamed(address: SocketAddr, body: &Value) -> Exchange {
    let headers = [("content-type", "application/json"), ("accept", "application/x-ndjson")];
    outcome(
        exchange(
            address,
            &wire_request("POST", "/v1/score", &headers, body.to_string().as_bytes()),
        ),
        200,
    )
}

/// Sends a request, reads up to `bytes` of the reply and closes the connection.
fn leave(address: SocketAddr, body: &Value, more: &[(&str, &str)], bytes: usize) -> Exchange {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend_from_slice(more);
    let connection = WireConnection::open(address);
    let Ok(mut connection) = connection else { return Exchange::Failed("no connection".into()) };
    let sent =
        connection.send(&wire_request("POST", "/v1/score", &headers, body.to_string().as_bytes()));
    if let Err(error) = sent {
        return Exchange::Failed(error.to_string());
    }
    if bytes > 0 {
        drop(connection.some_bytes(bytes));
    }
    Exchange::Fine
}
