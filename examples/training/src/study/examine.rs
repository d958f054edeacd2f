//! The exam of all policies: held-out conversations, and cases in which the imitation policy fails.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

use super::Rater;
use crate::checkpoint::Base;
use crate::rl::{RlSettings, respond};
use crate::scene::{DataSplit, MOVES, NegotiationFacts, Scene};

/// Conversations in the exam, as in the paper.
const CONVERSATIONS: usize = 30;
/// Bad cases in the exam, as in the paper.
const CASES: usize = 45;
/// Replies of a conversation: an opening, a quote, two haggling moves and a close.
const TURNS: usize = 5;
/// The lowest rating that is not a complaint.
const ACCEPTABLE: f64 = 3.0;

/// The scenes of the exam.
#[derive(Debug, Clone, PartialEq)]
pub struct Exam {
    /// Conversation after conversation, `TURNS` scenes each.
    conversations: Vec<Scene>,
    /// Scenes in which a rater complains about the imitation policy's reply, with all ratings of
    /// it.
    cases: Vec<(Scene, [f64; 3])>,
}

impl Exam {
    /// Draws the conversations, and runs the imitation policy on held-out scenes until it has
    /// failed often enough. Equal policies get equal exams.
    ///
    /// # Errors
    /// The errors of tokenizers and candle.
    pub fn draw(base: &Base, settings: &RlSettings) -> anyhow::Result<Self> {
        let mut rng = StdRng::seed_from_u64(0xE0A1);
        let mut conversations = Vec::new();
        for _ in 0..CONVERSATIONS {
            let facts = NegotiationFacts::draw(&mut rng, DataSplit::HeldOut);
            let haggling = rand::seq::index::sample(&mut rng, MOVES.len() - 4, 2);
            let (a, b) = (3 + haggling.index(0), 3 + haggling.index(1));
            for at in [0, 2, a.min(b), a.max(b), MOVES.len() - 1] {
                conversations.push(Scene::of(
                    &MOVES[at],
                    facts.clone(),
                    &mut rng,
                    DataSplit::HeldOut,
                ));
            }
        }
        let policy = base.policy()?;
        let mut cases = Vec::new();
        // A policy that rarely fails gets a shorter exam.
        for _ in 0..20 {
            if cases.len() >= CASES {
                break;
            }
            let scenes: Vec<Scene> =
                (0..64).map(|_| Scene::draw(&mut rng, DataSplit::HeldOut)).collect();
            let replies = respond(&policy, &base.tokens, &scenes, settings, &mut rng)?;
            for (scene, reply) in scenes.into_iter().zip(replies) {
                let ratings = Rater::ALL.map(|rater| rater.rate(&scene, &reply.text));
                if ratings.iter().any(|rating| *rating < ACCEPTABLE) && cases.len() < CASES {
                    cases.push((scene, ratings));
                }
            }
        }
        Ok(Self { conversations, cases })
    }
}

/// Rates a policy; returns lines for `guerdon eval`.
///
/// A conversation is a success if no rater complains about any of its replies. A case is fixed if
/// no rater that complained before does so now, and broken if a rater complains that did not
/// before.
///
/// # Errors
/// The errors of tokenizers and candle.
pub fn examine(
    exam: &Exam,
    method: &str,
    run: u64,
    base: &Base,
    settings: &RlSettings,
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
                success &= rating >= ACCEPTABLE;
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
        let fixed = pairs.clone().all(|(before, now)| *before >= ACCEPTABLE || now >= ACCEPTABLE);
        let broken = pairs.any(|(before, now)| *before >= ACCEPTABLE && now < ACCEPTABLE);
        line(json!({
            "measure": "bad_case", "method": method, "run": run, "case": place.to_string(), "rater": "panel",
            "fixed": fixed, "broken": broken,
        }));
    }
    Ok(lines)
}
