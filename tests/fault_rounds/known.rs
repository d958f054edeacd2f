//! Rule packs and dialogues whose rewards are known without a server.

use std::collections::BTreeMap;
use std::sync::Mutex;

use guerdon_tests::JudgeThread;
use guerdon_text::content_hash;
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

/// Points of the rule `internal` in each known pack.
const POINTS: [u32; 3] = [50, 30, 70];
/// Words that earn points of the judge, of the rules, or none.
const WORDS: [&str; 6] = ["480 .", "frosty", "brisk", "work order", "we meet at 420", "thank you"];
/// Dialogues that the clients choose from, low numbers far more often than high ones: many questions
/// repeat, and some are always new.
const DIALOGUES: f64 = 200_000.0;

/// The text of a known pack.
pub(crate) fn pack(index: usize) -> String {
    let points = POINTS[index % POINTS.len()];
    format!(
        "pack: words\nabout: Words that must not reach the partner.\nversion: 1\nrules:\n  - id: internal\n    \
         about: Internal words.\n    points: -{points}\n    match: {{ any_of: ['work order'] }}\n"
    )
}

/// A pack that does not load.
pub(crate) fn broken_pack(random: &mut StdRng) -> String {
    let text = pack(0);
    match random.random_range(0..4) {
        0 => text[..text.len() / 2].to_owned(),
        1 => text.replace("points", "pionts"),
        2 => format!("{text}\n  - [unclosed"),
        _ => String::new(),
    }
}

/// Points of the rule `internal` by the hash of the pack, and the packs that replies have named.
#[derive(Debug)]
pub(crate) struct KnownPacks {
    points: BTreeMap<String, f64>,
    /// Packs by the digest of the configuration, which must be the same in every process.
    by_digest: Mutex<BTreeMap<String, String>>,
    /// Packs by the generation of the present process.
    by_generation: Mutex<BTreeMap<u64, String>>,
}

impl KnownPacks {
    pub(crate) fn new() -> Self {
        let points =
            (0..POINTS.len()).map(|index| (content_hash(pack(index)), -f64::from(POINTS[index])));
        Self {
            points: points.collect(),
            by_digest: Mutex::default(),
            by_generation: Mutex::default(),
        }
    }

    /// Forgets the generations of the process before.
    pub(crate) fn new_process(&self) {
        self.by_generation.lock().unwrap().clear();
    }

    /// Checks that a digest and a generation always name the same pack.
    pub(crate) fn check_identity(&self, versions: &Value) -> Result<(), String> {
        let pack = versions["rules"]["words"].as_str().unwrap_or_default();
        if let Some(digest) = versions["digest"].as_str() {
            let mut known = self.by_digest.lock().unwrap();
            let first = known.entry(digest.to_owned()).or_insert_with(|| pack.to_owned());
            if first != pack {
                return Err(format!("digest {digest} named {first} before: {versions}"));
            }
        }
        let generation = versions["generation"].as_u64().ok_or("no generation")?;
        let mut known = self.by_generation.lock().unwrap();
        let first = known.entry(generation).or_insert_with(|| pack.to_owned());
        if first == pack {
            Ok(())
        } else {
            Err(format!("generation {generation} named {first} before: {versions}"))
        }
    }

    /// The reward of `dialogue` by the pack that the reply names; `None` if no pack of that hash
    /// was ever written.
    pub(crate) fn reward(&self, dialogue: &Dialogue, versions: &Value) -> Option<f64> {
        let points = *self.points.get(versions["rules"]["words"].as_str()?)?;
        Some(dialogue.reward(points))
    }

    /// True if `reward` is that of `dialogue` by one of the packs.
    pub(crate) fn is_reward_of_some(&self, dialogue: &Dialogue, reward: &Value) -> bool {
        let Some(reward) = reward.as_f64() else { return false };
        self.points.values().any(|points| (dialogue.reward(*points) - reward).abs() < 1e-9)
    }
}

/// A dialogue with one reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialogue {
    /// The number; the judge's question about it is unique.
    pub(crate) number: u32,
    reply: String,
}

impl Dialogue {
    pub(crate) fn random(random: &mut StdRng) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within u32")]
        Self::numbered((random.random::<f64>().powi(3) * DIALOGUES) as u32)
    }

    /// The dialogue of a number, which is always the same.
    pub(crate) fn numbered(number: u32) -> Self {
        let word = |place: u32| WORDS[(number / 6_u32.pow(place) % 6) as usize];
        Self { number, reply: format!("{} {} {} q{number}q", word(0), word(1), word(2)) }
    }

    /// The reward with `points` for internal words: both sources, in units of the bound.
    fn reward(&self, points: f64) -> f64 {
        let rules = if self.reply.contains("work order") { points } else { 0.0 };
        (rules + JudgeThread::points(&self.reply)) / 100.0
    }

    pub(crate) fn rollout(&self) -> Value {
        json!({ "id": self.number.to_string(), "messages": [
            { "role": "user", "content": "480 is our best price ." },
            { "role": "assistant", "content": self.reply },
        ]})
    }

    /// The dialogue as OpenRLHF sends it.
    pub(crate) fn query(&self) -> String {
        format!(
            "<|im_start|>user\n480 is our best price .<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>\n",
            self.reply
        )
    }

    /// The number of the dialogue that a question of the judge is about.
    pub(crate) fn of_question(question: &Value) -> Option<u32> {
        let text = question["messages"].to_string();
        let (before, _) = text.rsplit_once('q')?;
        before.rsplit_once('q')?.1.parse().ok()
    }
}
