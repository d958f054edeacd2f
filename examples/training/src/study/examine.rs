//! The exam that every policy sits: held-out conversations, and cases that the imitation policy gets wrong.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

use super::Rater;
use crate::checkpoint::Base;
use crate::rl::{Settings, respond};
use crate::scene::{Facts, MOVES, Scene, Split};

/// As in the paper: 30 conversations and 45 bad cases.
const CONVERSATIONS: usize = 30;
const CASES: usize = 45;
/// Replies of a conversation: an opening, a quote, two of the haggling, a close.
const TURNS: usize = 5;
/// A rating below this is a complaint.
const FINE: f64 = 3.0;

/// The questions.
#[derive(Debug, Clone, PartialEq)]
pub struct Exam {
    /// Conversation after conversation, `TURNS` scenes each.
    conversations: Vec<Scene>,
    /// Scenes where some rater complains of the imitation policy's reply, with all raters' ratings of it.
    cases: Vec<(Scene, [f64; 3])>,
}

impl Exam {
    /// Draws the conversations, and lets the imitation policy answer held-out scenes until it has failed often enough. The
    /// same policy always gets the same exam.
    ///
    /// # Errors
    /// What tokenizers or candle refuse.
    pub fn set(base: &Base, settings: &Settings) -> anyhow::Result<Self> {
        let mut rng = StdRng::seed_from_u64(0xE0A1);
        let mut conversations = Vec::new();
        for _ in 0..CONVERSATIONS {
            let facts = Facts::draw(&mut rng, Split::HeldOut);
            let haggling = rand::seq::index::sample(&mut rng, MOVES.len() - 4, 2);
            let (a, b) = (3 + haggling.index(0), 3 + haggling.index(1));
            for at in [0, 2, a.min(b), a.max(b), MOVES.len() - 1] {
                conversations.push(Scene::of(&MOVES[at], facts.clone(), &mut rng, Split::HeldOut));
            }
        }
        let policy = base.policy()?;
        let mut cases = Vec::new();
        // A policy that hardly fails sets a shorter exam.
        for _ in 0..20 {
            if cases.len() >= CASES {
                break;
            }
            let scenes: Vec<Scene> =
                (0..64).map(|_| Scene::draw(&mut rng, Split::HeldOut)).collect();
            let replies = respond(&policy, &base.tokens, &scenes, settings, &mut rng)?;
            for (scene, reply) in scenes.into_iter().zip(replies) {
                let ratings = Rater::ALL.map(|rater| rater.rate(&scene, &reply.text));
                if ratings.iter().any(|rating| *rating < FINE) && cases.len() < CASES {
                    cases.push((scene, ratings));
                }
            }
        }
        Ok(Self { conversations, cases })
    }
}

/// What the raters say of this policy, as lines for `guerdon eval`.
///
/// A conversation is a success when no rater complains of any of its replies. A case is fixed when every rater who complained
/// is content now, and broken when one is not who was.
///
/// # Errors
/// What tokenizers or candle refuse.
pub fn examine(
    exam: &Exam,
    method: &str,
    run: u64,
    base: &Base,
    settings: &Settings,
) -> anyhow::Result<String> {
    let policy = base.policy()?;
    let mut rng = StdRng::seed_from_u64(0xE0A2 + run);
    let mut lines = String::new();
    let mut line = |value: serde_json::Value| {
        lines.push_str(&value.to_string());
        lines.push('\n');
    };
    let run = run.to_string();
    let replies = respond(&policy, &base.tokens, &exam.conversations, settings, &mut rng)?;
    let answered: Vec<(&Scene, &str)> =
        exam.conversations.iter().zip(replies.iter().map(|reply| reply.text.as_str())).collect();
    for (place, turns) in answered.chunks(TURNS).enumerate() {
        let conversation = place.to_string();
        let mut success = true;
        for (turn, (scene, reply)) in turns.iter().enumerate() {
            for rater in Rater::ALL {
                let rating = rater.rate(scene, reply);
                success &= rating >= FINE;
                line(json!({
                    "measure": "reply", "method": method, "run": run, "conversation": conversation, "turn": turn,
                    "rater": rater.name(), "rating": rating,
                }));
            }
        }
        line(json!({
            "measure": "outcome", "method": method, "run": run, "conversation": conversation,
            "outcome": "success", "yes": success,
        }));
    }
    let scenes: Vec<Scene> = exam.cases.iter().map(|(scene, _)| scene.clone()).collect();
    let replies = respond(&policy, &base.tokens, &scenes, settings, &mut rng)?;
    for (place, ((scene, before), reply)) in exam.cases.iter().zip(&replies).enumerate() {
        let now = Rater::ALL.map(|rater| rater.rate(scene, &reply.text));
        let mut pairs = before.iter().zip(now);
        let fixed = pairs.clone().all(|(before, now)| *before >= FINE || now >= FINE);
        let broken = pairs.any(|(before, now)| *before >= FINE && now < FINE);
        line(json!({
            "measure": "bad_case", "method": method, "run": run, "case": place.to_string(), "rater": "panel",
            "fixed": fixed, "broken": broken,
        }));
    }
    Ok(lines)
}
