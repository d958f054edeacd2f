//! Synthetic hotel negotiations: prompts for the policy, and replies to imitate, good and bad.
//!
//! The policy first imitates a mixture in which a configured share of replies has flaws, like an
//! agent trained on mixed transcripts. The flaws that reinforcement learning should remove are
//! therefore known.

mod moves;

pub use moves::{AGENTS, HOTELS, LEAKS, MOVES, Move, ROOMS};

use guerdon_client::{Context, Message, Role, Rollout};
use rand::Rng;
use serde_json::json;

/// A point in a negotiation at which the agent has to reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The kind of situation.
    pub kind: &'static str,
    /// Its stage in the negotiation.
    pub stage: &'static str,
    /// The dialogue so far, oldest first; the partner spoke last.
    pub messages: Vec<Message>,
    /// The facts of this negotiation.
    pub facts: NegotiationFacts,
}

/// The facts of a negotiation.
#[derive(Debug, Clone, PartialEq)]
pub struct NegotiationFacts {
    /// The current net price of the hotel.
    pub net: u32,
    /// The target price of the agent.
    pub target: u32,
    /// The current selling price for guests.
    pub selling: u32,
    /// The partner's offer, between target and net.
    pub offer: u32,
    /// The currency, CNY or USD.
    pub currency: &'static str,
    /// The agent's name.
    pub agent: &'static str,
    /// The hotel's name.
    pub hotel: &'static str,
    /// The room type in question.
    pub room: &'static str,
}

/// The set from which scenes are drawn. The two sets share neither a price nor a partner's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataSplit {
    /// For imitation and reinforcement.
    Train,
    /// For evaluation only.
    HeldOut,
}

impl NegotiationFacts {
    /// Draws the facts of one negotiation.
    pub fn draw(rng: &mut impl Rng, split: DataSplit) -> Self {
        let (currency, unit) = if rng.random_bool(0.6) { ("CNY", 10) } else { ("USD", 2) };
        let net = loop {
            let step = rng.random_range(30..90_u32);
            if (step % 10 == 7) == (split == DataSplit::HeldOut) {
                break step * unit;
            }
        };
        let (target, selling) = (net - net / 10 - rng.random_range(0..4) * unit, net + net / 5);
        let offer = (target + net) / 2;
        Self {
            net,
            target,
            selling,
            offer,
            currency,
            agent: pick(AGENTS, rng),
            hotel: pick(HOTELS, rng),
            room: pick(ROOMS, rng),
        }
    }

    /// Replaces the placeholders of `line`.
    #[must_use]
    pub fn fill(&self, line: &str) -> String {
        let numbers = [
            ("{net}", self.net),
            ("{target}", self.target),
            ("{selling}", self.selling),
            ("{offer}", self.offer),
        ];
        let words = [
            ("{cur}", self.currency),
            ("{agent}", self.agent),
            ("{hotel}", self.hotel),
            ("{room}", self.room),
        ];
        let filled = numbers
            .iter()
            .fold(line.to_owned(), |text, (place, n)| text.replace(place, &n.to_string()));
        words.iter().fold(filled, |text, (place, word)| text.replace(place, word))
    }
}

impl Scene {
    /// Draws a scene of any kind.
    pub fn draw(rng: &mut impl Rng, split: DataSplit) -> Self {
        let at = &MOVES[rng.random_range(0..MOVES.len())];
        let facts = NegotiationFacts::draw(rng, split);
        Self::of(at, facts, rng, split)
    }

    /// Draws a scene of this kind.
    pub fn of(
        at: &'static Move,
        facts: NegotiationFacts,
        rng: &mut impl Rng,
        split: DataSplit,
    ) -> Self {
        let known = at.partner.len() - 1;
        let line = match split {
            DataSplit::Train => pick(&at.partner[..known], rng),
            DataSplit::HeldOut => at.partner[known],
        };
        let mut messages: Vec<Message> = at
            .before
            .iter()
            .zip([Role::Assistant, Role::User].into_iter().cycle())
            .map(|(line, role)| Message::new(role, facts.fill(line)))
            .collect();
        messages.push(Message::new(Role::User, facts.fill(line)));
        Self { kind: at.name, stage: at.stage, messages, facts }
    }

    /// The facts for rules and judge.
    #[must_use]
    pub fn context(&self) -> Context {
        let NegotiationFacts { net, target, selling, currency, .. } = self.facts;
        let facts = json!({
            "net_price": net, "target_price": target, "selling_price": selling, "currency": currency,
            "sop_stage": self.stage, "moment": self.kind, "language": "en", "max_discount": 25,
        });
        match facts {
            serde_json::Value::Object(facts) => facts,
            _ => Context::new(),
        }
    }

    /// Builds the rollout of this scene with `reply`.
    #[must_use]
    pub fn rollout(&self, reply: &str) -> Rollout {
        let mut messages = self.messages.clone();
        messages.push(Message::new(Role::Assistant, reply));
        Rollout { messages, context: self.context(), ..Rollout::default() }
    }

    /// Draws a reply to imitate: a bad one with probability `flawed` (0..=1).
    pub fn imitate(&self, rng: &mut impl Rng, flawed: f64) -> String {
        let Some(at) = MOVES.iter().find(|at| at.name == self.kind) else { return String::new() };
        let bad = rng.random_bool(flawed);
        let leak = bad && rng.random_bool(0.25);
        let core = if bad && !leak { pick(at.flaws, rng) } else { pick(at.cores, rng) };
        let mut parts = Vec::new();
        if rng.random_bool(0.5) {
            parts.push(pick(at.acknowledge, rng));
        }
        parts.push(core);
        if rng.random_bool(0.5) {
            parts.push(pick(at.close, rng));
        }
        let reply = parts.join(" ");
        let reply = if leak { pick(LEAKS, rng).replace("{reply}", &reply) } else { reply };
        self.facts.fill(&reply)
    }
}

/// Draws an element at random. No table is empty.
fn pick<T: Copy>(from: &[T], rng: &mut impl Rng) -> T {
    from[rng.random_range(0..from.len())]
}
