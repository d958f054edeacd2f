//! Made-up hotel negotiations: prompts for the policy, and replies to imitate, good and bad.
//!
//! The policy first imitates a mixture in which a stated share of replies goes wrong on purpose, as an agent trained on
//! mixed transcripts would. What reinforcement learning is then to mend is known, and so is where it comes from.

mod moves;

pub use moves::{AGENTS, HOTELS, LEAKS, MOVES, Move, ROOMS};

use guerdon_client::{Context, Message, Role, Rollout};
use rand::Rng;
use serde_json::json;

/// A place in a negotiation where the agent has to say something.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The kind of situation.
    pub kind: &'static str,
    /// Its stage in the negotiation.
    pub stage: &'static str,
    /// The dialogue so far, oldest first; the partner spoke last.
    pub messages: Vec<Message>,
    /// The facts of this negotiation.
    pub facts: Facts,
}

/// The facts of a negotiation.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// What the hotel gets now.
    pub net: u32,
    /// The price to reach.
    pub target: u32,
    /// What the guest pays now.
    pub selling: u32,
    /// What the partner offers, between target and net.
    pub offer: u32,
    /// CNY or USD.
    pub currency: &'static str,
    /// The agent's name.
    pub agent: &'static str,
    /// The hotel.
    pub hotel: &'static str,
    /// The room that is talked about.
    pub room: &'static str,
}

/// Which half of the world scenes are drawn from. The halves share neither a price nor a partner's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// For imitation and reinforcement.
    Train,
    /// For evaluation only.
    HeldOut,
}

impl Facts {
    /// Draws the facts of one negotiation.
    pub fn draw(rng: &mut impl Rng, split: Split) -> Self {
        let (currency, unit) = if rng.random_bool(0.6) { ("CNY", 10) } else { ("USD", 2) };
        let net = loop {
            let step = rng.random_range(30..90_u32);
            if (step % 10 == 7) == (split == Split::HeldOut) {
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

    /// `line` with its places filled.
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
    pub fn draw(rng: &mut impl Rng, split: Split) -> Self {
        let at = &MOVES[rng.random_range(0..MOVES.len())];
        let facts = Facts::draw(rng, split);
        Self::of(at, facts, rng, split)
    }

    /// A scene of this kind.
    pub fn of(at: &'static Move, facts: Facts, rng: &mut impl Rng, split: Split) -> Self {
        let known = at.partner.len() - 1;
        let said = match split {
            Split::Train => pick(&at.partner[..known], rng),
            Split::HeldOut => at.partner[known],
        };
        let mut messages: Vec<Message> = at
            .before
            .iter()
            .zip([Role::Assistant, Role::User].into_iter().cycle())
            .map(|(line, role)| Message::new(role, facts.fill(line)))
            .collect();
        messages.push(Message::new(Role::User, facts.fill(said)));
        Self { kind: at.name, stage: at.stage, messages, facts }
    }

    /// What rules and judge are told.
    #[must_use]
    pub fn context(&self) -> Context {
        let Facts { net, target, selling, currency, .. } = self.facts;
        let facts = json!({
            "net_price": net, "target_price": target, "selling_price": selling, "currency": currency,
            "sop_stage": self.stage, "moment": self.kind, "language": "en", "max_discount": 25,
        });
        match facts {
            serde_json::Value::Object(facts) => facts,
            _ => Context::new(),
        }
    }

    /// The rollout that answers this scene with `reply`.
    #[must_use]
    pub fn rollout(&self, reply: &str) -> Rollout {
        let mut messages = self.messages.clone();
        messages.push(Message::new(Role::Assistant, reply));
        Rollout { messages, context: self.context(), ..Rollout::default() }
    }

    /// A reply to imitate: with probability `flawed` (0..=1) a bad one.
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

/// One of some, at random. The tables are written here and none is empty.
fn pick<T: Copy>(from: &[T], rng: &mut impl Rng) -> T {
    from[rng.random_range(0..from.len())]
}
