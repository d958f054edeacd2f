//! Codes of the diagnostics about judge prompts: `J0..` for errors, `J1..` for warnings.
//!
//! A code keeps its meaning across versions. `judge-prompts/README.md` lists them for authors. J018
//! to J023 and J102 to J104 are found by the checks for authors only, which a server does not run.

use guerdon_text::Code;

/// The front matter is missing or never closed.
pub(crate) const FENCE: Code = Code::error("J001");
/// The front matter cannot be read: a TOML error, or an unknown, missing or mistyped key.
pub(crate) const FRONT_MATTER: Code = Code::error("J002");
/// The body lacks `# system` or `# user`.
pub(crate) const SECTION: Code = Code::error("J003");
/// Two prompts, criteria, levels or probes share an id.
pub(crate) const DUPLICATE: Code = Code::error("J004");
/// The id differs from the file's name.
pub(crate) const ID: Code = Code::error("J005");
/// An id or level name holds other characters than `a-z`, `0-9` and `_`.
pub(crate) const NAME: Code = Code::error("J006");
/// A number is outside its range.
pub(crate) const RANGE: Code = Code::error("J007");
/// The text was edited under an unchanged version.
pub(crate) const SEAL: Code = Code::error("J008");
/// The required agreement with people is missing, outdated or too low.
pub(crate) const KAPPA: Code = Code::error("J009");
/// An empty reply would be the best reply.
pub(crate) const SILENCE: Code = Code::error("J010");
/// The levels of a criterion contradict its kind.
pub(crate) const LEVELS: Code = Code::error("J011");
/// `scoring = "expected"` does not fit the criteria.
pub(crate) const SCORING: Code = Code::error("J012");
/// An example or probe names a criterion or level that does not exist, or none.
pub(crate) const EXAMPLE: Code = Code::error("J013");
/// A probe is also shown to the judge as an example.
pub(crate) const PROBE_SHOWN: Code = Code::error("J014");
/// The body names an unknown slot.
pub(crate) const SLOT: Code = Code::error("J015");
/// The body cannot be compiled or rendered.
pub(crate) const TEMPLATE: Code = Code::error("J016");
/// The judged turn is not shown exactly once, in the user message.
pub(crate) const TURN: Code = Code::error("J017");
/// The judge is never shown the dialogue.
pub(crate) const NO_DIALOGUE: Code = Code::error("J018");
/// The judge is never shown a criterion.
pub(crate) const NO_CRITERIA: Code = Code::error("J019");
/// The judge is never shown an example.
pub(crate) const NO_EXAMPLES: Code = Code::error("J020");

/// The body reads a context value that `facts` does not name.
pub(crate) const UNNAMED_FACT: Code = Code::error("J021");
/// A text before `# system`, which is not sent, or a second line `# system` or `# user`, which is
/// sent as text.
pub(crate) const STRAY_TEXT: Code = Code::error("J022");

/// A sentence or an anchor is blank, or two levels have the same anchor.
pub(crate) const UNSAID: Code = Code::error("J023");

/// A setting does not fit the `mode` of the prompt.
pub(crate) const MODE: Code = Code::error("J024");
/// A setting of the answer does not fit the prompt, or a pattern cannot be used.
pub(crate) const ANSWER: Code = Code::error("J025");

/// A positive temperature with one sample keeps a verdict drawn at random.
pub(crate) const RANDOM_VERDICT: Code = Code::warning("J101");
/// A criterion joins two things.
pub(crate) const COMPOUND: Code = Code::warning("J102");
/// A criterion's sentence and its levels `yes` and `no` contradict each other.
pub(crate) const POLARITY: Code = Code::warning("J103");
/// A criterion that takes points states a virtue, or one that gives points a fault.
pub(crate) const WRONG_KIND: Code = Code::warning("J104");
