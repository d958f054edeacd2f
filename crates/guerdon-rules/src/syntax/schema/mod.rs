//! The JSON Schema of packs for editors, generated from these types and committed as
//! `rules/schema.json`.
//!
//! No value of these types is ever made: `parse/` reads packs, because serde would stop at the
//! first error. A test compares the keys of the two.

mod constraints;

use std::collections::BTreeMap;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::Value as Json;

/// The JSON Schema of a pack, pretty-printed, with a line break at its end.
#[must_use]
pub fn json_schema() -> String {
    let mut schema =
        SchemaGenerator::new(SchemaSettings::draft07()).into_root_schema_for::<File>().to_value();
    constraints::add(&mut schema);
    tidy(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// Removes `null` from optional keys: an `Option` is a key that may be left out, and a key that is
/// present is not null. Sorts keys, because their order would depend on a feature of serde_json
/// that any crate of the workspace may turn on.
fn tidy(schema: &mut Json) {
    match schema {
        Json::Object(map) => {
            if let Some(Json::Array(kinds)) = map.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [one] = kinds.as_slice() {
                    let one = one.clone();
                    map.insert("type".into(), one);
                }
            }
            if let Some(Json::Array(kinds)) = map.get_mut("anyOf") {
                kinds.retain(|kind| kind.get("type").is_none_or(|kind| kind != "null"));
            }
            map.values_mut().for_each(tidy);
            let sorted: BTreeMap<String, Json> = std::mem::take(map).into_iter().collect();
            map.extend(sorted);
        }
        Json::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

macro_rules! shapes {
    ($($(#[$meta:meta])* $kind:ident $name:ident { $($body:tt)* })*) => {
        $(
            #[derive(JsonSchema)]
            #[schemars(deny_unknown_fields)]
            #[expect(dead_code, reason = "only its schema is used")]
            $(#[$meta])*
            $kind $name { $($body)* }
        )*
    };
}

shapes! {
    /// A rule pack: one file of rules for a reward.
    struct Pack {
        /// The pack's id: lower-case letters, digits and hyphens.
        #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"))]
        pack: String,
        /// The purpose of the pack, in a sentence.
        about: Option<String>,
        /// The version that the author counts. Replies also name a hash of the text.
        #[schemars(range(max = 1_000_000))]
        version: Option<u32>,
        /// The languages of its literals: zh, en.
        language: Option<OneOrMany<String>>,
        /// Files whose words, units, aliases and facts the pack uses, by their path from the folder
        /// of this file.
        import: Option<Vec<String>>,
        /// The keys of the context that the rules read, with their types.
        facts: Option<BTreeMap<String, FactType>>,
        /// Lists of words by name, such as `refusals: [不能, cannot]`. In a list of words, `$refusals`
        /// stands for them.
        words: Option<BTreeMap<String, Vec<String>>>,
        /// Lists of units by name, such as `money: [元, '¥', RMB]`. Rules use the name as a unit.
        units: Option<BTreeMap<String, Vec<String>>>,
        /// Words with their other spellings, such as homophones. Words and regexes of the pack find
        /// all of them.
        aliases: Option<BTreeMap<String, Vec<String>>>,
        /// The rules.
        rules: Vec<Rule>,
    }

    /// Declarations that packs import.
    struct Library {
        /// The name of the declarations: lower-case letters, digits and hyphens.
        #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"))]
        library: String,
        /// Their purpose, in a sentence.
        about: Option<String>,
        /// Files whose declarations these ones use.
        import: Option<Vec<String>>,
        /// Keys of the context, with their types.
        facts: Option<BTreeMap<String, FactType>>,
        /// Lists of words by name.
        words: Option<BTreeMap<String, Vec<String>>>,
        /// Lists of units by name.
        units: Option<BTreeMap<String, Vec<String>>>,
        /// Words with their other spellings.
        aliases: Option<BTreeMap<String, Vec<String>>>,
    }

    /// A rule: `match` or `check`, and its points.
    struct Rule {
        /// The rule's id, unique in its pack: lower-case letters, digits and hyphens.
        #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"))]
        id: String,
        /// The behaviour that the rule forbids or rewards, in a sentence.
        about: Option<String>,
        /// The points of a hit; negative for a deduction.
        #[schemars(range(min = -10000, max = 10000))]
        points: f64,
        /// Count the points for each hit, or once a turn (the default).
        per: Option<Per>,
        /// The bound of the sum of hits. Implies `per: hit`.
        #[schemars(range(min = -10000, max = 10000))]
        cap: Option<f64>,
        /// The severity, for people. It has no effect.
        severity: Option<Severity>,
        /// Words to select and sort rules by.
        tags: Option<Vec<String>>,
        /// The messages that the rule reads. Default: the scored turn.
        on: Option<On>,
        /// Context values that must hold: `context.KEY: value` or `context.KEY: [value, ...]`.
        when: Option<BTreeMap<String, OneOrSeveral<Scalar>>>,
        /// A pattern to find in the text.
        r#match: Option<Match>,
        /// A property of the text to measure.
        check: Option<Check>,
        /// An expression over `value`, `low`, `high`, `unit`, `percent_off`, `arguments.*` of a tool
        /// call and `context.*`, such as `value > context.target_price`.
        r#where: Option<String>,
        /// A hit forbids a reward above the fusion's floor.
        veto: Option<bool>,
        /// A shadow rule is reported and not counted.
        shadow: Option<bool>,
        /// A date (2027-01-31) after which the rule should be reviewed; reported as a warning.
        #[schemars(regex(pattern = r"^\d{4}-\d{2}-\d{2}$"))]
        expires: Option<String>,
        /// Texts that must hit and texts that must not; run whenever the pack loads.
        examples: Option<Examples>,
    }

    /// The messages that a rule reads.
    struct On {
        /// The role. Default: assistant.
        role: Option<Role>,
        /// The selection among the role's messages. Default: current.
        turn: Option<Turn>,
    }

    /// A pattern. Exactly one of any_of, regex, number, tool_call, all, any, not.
    struct Match {
        /// Any of these words.
        #[schemars(length(min = 1))]
        any_of: Option<Vec<String>>,
        /// A regex (RE2 syntax: no look-around, no back-references). `(?P<value>...)` captures a
        /// number for `where`.
        regex: Option<String>,
        /// A number with a unit; its value goes to `where`.
        number: Option<Number>,
        /// A call of a tool. `where` compares its arguments: `arguments.price > 500`.
        tool_call: Option<ToolCall>,
        /// All of these.
        #[schemars(length(min = 1))]
        all: Option<Vec<Match>>,
        /// At least one of these.
        #[schemars(length(min = 1))]
        any: Option<Vec<Match>>,
        /// Not this.
        not: Option<Box<Match>>,
        /// Ignore case, width, invisible characters and look-alike letters. Default: true.
        fold: Option<bool>,
        /// Match only whole Latin words: `deal` does not match `dealer`. Default: false.
        word: Option<bool>,
        /// One of these words must be near a hit.
        near: Option<Vec<String>>,
        /// The rule of check digits that the digits of a regex's hit must keep.
        checksum: Option<Checksum>,
        /// None of these words may be near a hit.
        not_near: Option<Vec<String>>,
        /// The greatest distance in characters, within the sentence. Default: 12.
        #[schemars(range(min = 1, max = 1_000_000))]
        within: Option<u32>,
        /// Matches that are meant like this do not count: negated, asked, reported, conditional,
        /// about the past, or about what belongs to the addressee. Applies to all matches within
        /// `all` and `any`.
        unless: Option<OneOrSeveral<SpeechAct>>,
        /// The least number of hits. Default: 1.
        #[schemars(range(min = 1, max = 1_000_000))]
        count: Option<u32>,
    }

    /// A number, with its unit before or after it and words nearby.
    struct Number {
        /// Units, such as 元, ¥, USD, %, 折, or names of the pack's `units`. None: any number.
        unit: Option<Vec<String>>,
        /// One of these words must be near.
        near: Option<Vec<String>>,
        /// None of these words may be near.
        not_near: Option<Vec<String>>,
        /// The greatest distance in characters, within the sentence. Default: 12.
        #[schemars(range(min = 1, max = 1_000_000))]
        within: Option<u32>,
    }

    /// A measurement. Exactly one key.
    struct Check {
        /// The turn's length in characters.
        length: Option<Length>,
        /// A repetition of earlier text.
        repetition: Option<Repetition>,
        /// Letters of another language's script.
        language_mix: Option<LanguageMix>,
        /// Hits markup that is not `whole`: tags and code fences that are not closed, or close
        /// nothing.
        markup: Option<Markup>,
        /// Hits a turn that is not a `valid` JSON document.
        json: Option<JsonCheck>,
        /// Numbers that are announced by words, and the relation that must hold between them.
        prices: Option<Prices>,
        /// Hits sums that are written out and wrong: `480 * 0.9 = 430`, `580减480等于90`.
        arithmetic: Option<Arithmetic>,
        /// Hits numbers that occur neither earlier in the dialogue nor in the context.
        unsupported_numbers: Option<UnsupportedNumbers>,
        /// Hits tool calls in a wrong order, too many or too few of them, or undeclared ones.
        tool_calls: Option<ToolCalls>,
        /// Hits a reply, or the arguments of tool calls, that a JSON Schema does not allow.
        json_schema: Option<JsonSchemaCheck>,
        /// Hits if the state of the environment is not the expected one.
        state: Option<State>,
    }

    /// A call of a tool by the assistant.
    struct ToolCall {
        /// The tool, or one of several. None: any tool.
        name: Option<OneOrSeveral<String>>,
        /// Any tool but these.
        not_name: Option<OneOrSeveral<String>>,
        /// Values that arguments must have, by their path: `room.type: suite`, or a list of values.
        arguments: Option<BTreeMap<String, OneOrSeveral<Scalar>>>,
    }

    /// Tool calls of the messages under `on`: one of `order`, a number, or `declared`.
    struct ToolCalls {
        /// Each of these tools may be called only after the one before it was called.
        #[schemars(length(min = 2))]
        order: Option<Vec<String>>,
        /// The tools whose calls are counted. None: all tools.
        name: Option<OneOrSeveral<String>>,
        /// The least number of calls.
        #[schemars(range(max = 1_000_000))]
        min: Option<u32>,
        /// The greatest number of calls.
        #[schemars(range(max = 1_000_000))]
        max: Option<u32>,
        /// Calls must be of tools that the rollout declares, with arguments that fit their schemas.
        declared: Option<bool>,
    }

    /// A JSON Schema that must hold.
    struct JsonSchemaCheck {
        /// The reply, or the arguments of tool calls. Default: reply.
        of: Option<SchemaOf>,
        /// The tools whose arguments are checked. None: all tools.
        name: Option<OneOrSeveral<String>>,
        /// The schema (draft 2020-12, unless `$schema` says otherwise), without references to
        /// other documents.
        schema: SchemaDocument,
    }

    /// Two states in the context, which must agree.
    struct State {
        /// The state after the dialogue: `context.KEY`.
        #[schemars(regex(pattern = r"^context\.[^.]+(\.[^.]+)*$"))]
        actual: String,
        /// The expected state.
        #[schemars(regex(pattern = r"^context\.[^.]+(\.[^.]+)*$"))]
        expected: String,
        /// `contains` (the default): the actual state may have more keys. `equal`: it may not.
        compare: Option<StateComparison>,
    }

    /// Hits a turn shorter than `min` or longer than `max`.
    struct Length {
        /// The unit. Default: characters.
        of: Option<Measure>,
        /// The least length.
        #[schemars(range(max = 1_000_000))]
        min: Option<u32>,
        /// The greatest length.
        #[schemars(range(max = 1_000_000))]
        max: Option<u32>,
    }

    /// Hits if all numbers are given and `must` is false for them.
    struct Prices {
        /// The words that announce the number of each name.
        names: BTreeMap<String, Vec<String>>,
        /// Units of the numbers. None: any number.
        unit: Option<Vec<String>>,
        /// An expression over the names and `context.*`, such as `selling > net`.
        must: String,
    }

    /// Hits wrong sums.
    struct Arithmetic {
        /// The tolerated error, as a share of the result. Default: 0.001.
        #[schemars(range(min = 0, max = 1))]
        tolerance: Option<f64>,
    }

    /// Hits numbers without support in the dialogue or the context.
    struct UnsupportedNumbers {
        /// Units of the numbers. None: any number.
        unit: Option<Vec<String>>,
        /// Smaller numbers are ignored. Default: 0.
        least: Option<f64>,
    }

    /// Hits a repetition: `ngram` with `share`, or `sentence`. A token is a Chinese character or a
    /// word.
    struct Repetition {
        /// Compare with earlier turns of the same role, or within the turn.
        across: Across,
        /// Count runs of this number of tokens.
        #[schemars(range(min = 1, max = 1_000_000))]
        ngram: Option<u32>,
        /// The share of repeated runs, from 0 to 1, from which the rule hits.
        #[schemars(range(min = 0, max = 1))]
        share: Option<f64>,
        /// Turns of fewer tokens are ignored. Only with `ngram`. Default: 0.
        #[schemars(range(max = 1_000_000))]
        min: Option<u32>,
        /// Count whole sentences of at least this number of tokens.
        #[schemars(range(min = 1, max = 1_000_000))]
        sentence: Option<u32>,
    }

    /// Hits a turn if more than `share` of its letters belong to the script of the other language.
    struct LanguageMix {
        /// The language that the turn should be in. Default: `context.language`.
        language: Option<Language>,
        /// From 0 to 1.
        #[schemars(range(min = 0, max = 1))]
        share: f64,
        /// Fewer foreign letters do not hit. Default: 0.
        #[schemars(range(max = 1_000_000))]
        min: Option<u32>,
        /// Words that belong to no language, such as units and brands.
        allow: Option<Vec<String>>,
        /// Treat capitalised words as names, which belong to no language. Default: false.
        names: Option<bool>,
    }

    /// Texts that must hit and texts that must not.
    struct Examples {
        /// Texts that must hit.
        hits: Option<Vec<Example>>,
        /// Texts that must not hit.
        misses: Option<Vec<Example>>,
    }

    /// An example with its facts.
    struct FullExample {
        /// The text that the rule looks at. It may be left out next to `tool_calls`.
        text: Option<String>,
        /// Context values.
        context: Option<BTreeMap<String, Json>>,
        /// Messages before it, oldest first.
        before: Option<Vec<Message>>,
        /// Tool calls of the turn.
        tool_calls: Option<Vec<ExampleCall>>,
        /// The tools that the rollout declares.
        tools: Option<Vec<Json>>,
    }

    /// A message.
    struct Message {
        /// The role of the speaker.
        role: Role,
        /// The text of the message. It may be left out next to `tool_calls`.
        content: Option<String>,
        /// Tool calls of the message.
        tool_calls: Option<Vec<ExampleCall>>,
    }

    /// A tool call of an example.
    struct ExampleCall {
        /// The tool.
        name: String,
        /// The arguments; a text stands for itself, such as broken JSON.
        arguments: Option<Json>,
    }

    /// `reply` or `arguments`.
    #[schemars(rename_all = "snake_case")]
    enum SchemaOf { Reply, Arguments }

    /// `contains` or `equal`.
    #[schemars(rename_all = "snake_case")]
    enum StateComparison { Contains, Equal }

    /// A JSON Schema.
    #[schemars(untagged)]
    enum SchemaDocument { Bool(bool), Object(BTreeMap<String, Json>) }

    /// `whole`.
    #[schemars(rename_all = "snake_case")]
    enum Markup { Whole }

    /// `valid`.
    #[schemars(rename_all = "snake_case")]
    enum JsonCheck { Valid }

    /// `tokens`: a Chinese character or a word each.
    #[schemars(rename_all = "snake_case")]
    enum Measure { Characters, Tokens, Sentences }

    /// `hit` or `turn`.
    #[schemars(rename_all = "snake_case")]
    enum Per { Hit, Turn }

    /// `luhn`: payment cards. `mod11`: Chinese identity cards (ISO 7064 MOD 11-2).
    #[schemars(rename_all = "snake_case")]
    enum Checksum { Luhn, Mod11 }

    /// A way in which words are meant, other than as a statement of the speaker.
    #[schemars(rename_all = "snake_case")]
    enum SpeechAct { Negated, Question, Reported, Conditional, Past, Yours }

    /// The severity, for people.
    #[schemars(rename_all = "snake_case")]
    enum Severity { Info, Minor, Major, Critical }

    /// The role of the speaker.
    #[schemars(rename_all = "snake_case")]
    enum Role { Assistant, User, System, Tool }

    /// `current`: the scored turn, or the role's latest message before it. `previous`: the one
    /// before that. `any`: each so far, on its own. `dialogue`: all so far, as one text.
    #[schemars(rename_all = "snake_case")]
    enum Turn { Current, Previous, Any, Dialogue }

    /// `previous`: in earlier turns. `within`: in the turn itself.
    #[schemars(rename_all = "snake_case")]
    enum Across { Previous, Within }

    /// A language.
    #[schemars(rename_all = "snake_case")]
    enum Language { Zh, En }

    /// A text, or a text with its facts.
    #[schemars(untagged)]
    enum Example { Text(String), Full(FullExample) }

    /// The type of a fact, or the texts that it can be.
    #[schemars(untagged)]
    enum FactType { Named(FactTypeName), OneOf(#[schemars(length(min = 1))] Vec<String>) }

    /// The type of a fact.
    #[schemars(rename_all = "snake_case")]
    enum FactTypeName { Number, Text, Boolean, List, Object }

    /// A single value.
    #[schemars(untagged)]
    enum Scalar { Text(String), Number(f64), Bool(bool) }
}

/// A file of a rules folder.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum File {
    Pack(Pack),
    Library(Library),
}

/// One, or a list of at least one.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrSeveral<T> {
    One(T),
    Several(#[schemars(length(min = 1))] Vec<T>),
}

/// One, or a list.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::parse;
    use crate::syntax::parse::{predicate, tools};

    #[test]
    fn the_schema_and_the_parser_have_the_same_keys() {
        let schema: Json = serde_json::from_str(&json_schema()).unwrap();
        let keys = |shape: &Json| -> Vec<String> {
            let mut keys: Vec<String> =
                shape["properties"].as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        for (name, known) in [
            ("Pack", parse::PACK_KEYS),
            ("Library", parse::LIBRARY_KEYS),
            ("Rule", parse::RULE_KEYS),
            ("On", parse::ON_KEYS),
            ("Examples", parse::EXAMPLES_KEYS),
            ("FullExample", parse::EXAMPLE_KEYS),
            ("Message", parse::MESSAGE_KEYS),
            ("Match", predicate::MATCH_KEYS),
            ("Number", predicate::NUMBER_KEYS),
            ("Check", predicate::CHECK_KEYS),
            ("Length", predicate::LENGTH_KEYS),
            ("Repetition", predicate::REPETITION_KEYS),
            ("LanguageMix", predicate::LANGUAGE_MIX_KEYS),
            ("Prices", predicate::PRICES_KEYS),
            ("Arithmetic", predicate::ARITHMETIC_KEYS),
            ("UnsupportedNumbers", predicate::UNSUPPORTED_KEYS),
            ("ToolCall", tools::TOOL_CALL_KEYS),
            ("ToolCalls", tools::TOOL_CALLS_KEYS),
            ("JsonSchemaCheck", tools::JSON_SCHEMA_KEYS),
            ("State", tools::STATE_KEYS),
            ("ExampleCall", parse::CALL_KEYS),
        ] {
            let mut known = known.to_vec();
            known.sort_unstable();
            assert_eq!(keys(&schema["definitions"][name]), known, "{name}");
        }
    }
}
