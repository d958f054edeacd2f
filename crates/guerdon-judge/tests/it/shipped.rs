//! The rubrics that are shipped: sealed, the same in both languages, within the bound of the shipped
//! configuration, and such that silence never pays.

use std::path::{Path, PathBuf};

use guerdon_judge::{Gold, Prompts, SourceText};
use guerdon_types::{Message, Role, Rollout};
use toml::{Table, Value};

fn shipped() -> Vec<SourceText> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../judge-prompts");
    let mut files: Vec<PathBuf> = [root.clone(), root.join("zh")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| {
            path.extension().is_some_and(|e| e == "md")
                && path.file_stem().is_some_and(|s| s != "README")
        })
        .collect();
    files.sort();
    #[expect(clippy::disallowed_methods, reason = "a test reads the rubrics that are shipped")]
    let read = |path: &PathBuf| SourceText {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        text: std::fs::read_to_string(path).unwrap(),
    };
    files.iter().map(read).collect()
}

#[test]
fn every_rubric_compiles_without_a_word_and_is_sealed_to_its_version() {
    let (prompts, report) = Prompts::check(&shipped()).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(report.to_string(), "");
    let ids: Vec<String> = prompts.summaries().iter().map(|prompt| prompt.id.clone()).collect();
    for subject in ["empathy", "sop", "negotiation", "overpromise", "silence"] {
        assert!(ids.iter().any(|id| id == subject), "{subject}");
        assert!(ids.iter().any(|id| *id == format!("{subject}_zh")), "{subject}");
    }
    for prompt in prompts.summaries() {
        assert!(prompt.sealed, "{} is a draft", prompt.id);
        assert!(prompt.criteria.len() <= 6, "{}", prompt.id);
    }
}

#[test]
fn the_judge_is_told_the_rubric_first_and_sees_examples_but_no_probe_and_no_points() {
    let (prompts, _) = Prompts::compile(&shipped()).unwrap_or_else(|report| panic!("{report}"));
    let serde_json::Value::Object(context) = serde_json::json!({"sop_stage": "negotiate"}) else {
        panic!()
    };
    let messages = vec![Message::new(Role::User, "480?"), Message::new(Role::Assistant, "好的。")];
    let rollout = Rollout { messages, context, ..Rollout::default() };
    let shown = prompts.preview(&rollout, 1).unwrap();
    for pair in shown.chunks(2) {
        let (system, user) = (&pair[0].content, &pair[1].content);
        let examples = if pair[0].prompt.ends_with("_zh") { "示例" } else { "Examples:" };
        assert!(system.contains(examples), "{system}");
        assert!(
            !system.contains("480?") && !system.contains("好的。"),
            "nothing of the dialogue: {system}"
        );
        assert!(user.find("<dialogue>").unwrap() < user.find("<turn-").unwrap());
        assert!(!user.contains("-30") && !system.contains("-30"), "{user}");
        assert!(!system.contains("known_") && !user.contains("known_"));
    }
}

/// The front matter of a rubric.
fn front(text: &str) -> Table {
    text.split("+++").nth(1).unwrap().parse().unwrap()
}

/// The part of a front matter that both languages share: all but words.
fn skeleton(front: &Table) -> String {
    let level = |level: &Value| {
        let field = |name: &str| level.get(name).map(ToString::to_string);
        format!("{:?} {:?} {:?}", field("name"), field("points"), field("fires"))
    };
    let criteria = front["criteria"].as_array().unwrap().iter().map(|criterion| {
        let field = |name: &str| criterion.get(name).map(ToString::to_string);
        let levels: Vec<String> =
            criterion["levels"].as_array().unwrap().iter().map(level).collect();
        format!("{:?} {:?} {:?} {levels:?}", field("id"), field("kind"), field("quote"))
    });
    let labels = |list: &str| {
        let list = front[list].as_array().unwrap().iter();
        list.map(|one| format!("{:?} {}", one.get("name"), one["levels"])).collect::<Vec<_>>()
    };
    let criteria: Vec<String> = criteria.collect();
    let number = |name: &str| front[name].to_string();
    format!(
        "{} {} {criteria:#?} {:#?} {:#?}",
        number("empty_points"),
        number("max_tokens"),
        labels("examples"),
        labels("probes")
    )
}

#[test]
fn both_languages_have_the_same_criteria_levels_points_examples_and_probes() {
    let texts = shipped();
    let named = |name: &str| texts.iter().find(|text| text.name == name).unwrap();
    let english: Vec<&SourceText> =
        texts.iter().filter(|text| !text.name.ends_with("_zh.md")).collect();
    assert_eq!(texts.len(), 2 * english.len());
    for text in english {
        let chinese = named(&text.name.replace(".md", "_zh.md"));
        assert_eq!(skeleton(&front(&text.text)), skeleton(&front(&chinese.text)), "{}", text.name);
    }
}

fn points(level: &Value) -> f64 {
    level["points"]
        .as_float()
        .or(level["points"].as_integer().map(|p| f64::from(p as i32)))
        .unwrap()
}

/// The bound of guerdon.toml. A turn with every fault reaches it; fewer faults leave a gradient.
const BOUND: f64 = 100.0;

#[test]
fn all_faults_together_fit_the_bound_and_silence_is_worse_than_most() {
    for language in ["_zh.md", ".md"] {
        let mut worst = 0.0;
        let mut single = 0.0_f64;
        for text in shipped() {
            if text.name.ends_with("_zh.md") != (language == "_zh.md") {
                continue;
            }
            let front = front(&text.text);
            for criterion in front["criteria"].as_array().unwrap() {
                let levels = criterion["levels"].as_array().unwrap();
                let least = levels.iter().map(points).fold(0.0, f64::min);
                worst += least;
                single = single.min(least);
                let yes_or_no =
                    |level: &Value| matches!(level["name"].as_str(), Some("yes" | "no"));
                assert!(!levels.iter().any(yes_or_no), "{}: named by what is seen", text.name);
            }
            let empty = front["empty_points"].as_integer().unwrap();
            assert!((empty as f64) > -BOUND && (empty as f64) < 4.0 * single, "{empty}");
        }
        assert!((worst + BOUND).abs() < 1e-9, "all faults of {language} together: {worst}");
    }
}

/// The messages of every shipped rubric about a dialogue.
fn rendered(before: &str, turn: &str) -> Vec<(String, String)> {
    let (prompts, _) = Prompts::compile(&shipped()).unwrap_or_else(|report| panic!("{report}"));
    let serde_json::Value::Object(context) = serde_json::json!({"sop_stage": "negotiate"}) else {
        panic!()
    };
    let messages = vec![Message::new(Role::User, before), Message::new(Role::Assistant, turn)];
    let shown = prompts.preview(&Rollout { messages, context, ..Rollout::default() }, 1).unwrap();
    let whole =
        |pair: &[guerdon_judge::Preview]| format!("{}\n{}", pair[0].content, pair[1].content);
    shown.chunks(2).map(|pair| (pair[0].prompt.clone(), whole(pair))).collect()
}

/// The share of the text that is the same for every dialogue and that an endpoint's prefix cache
/// can reuse, because it comes before the dialogue. docs/reference/benchmarks.md states it.
#[test]
fn nearly_all_static_text_comes_before_the_dialogue() {
    let (one, other) = (rendered("480?", "No."), rendered("Hello.", "Yes, at once."));
    for ((id, one), (_, other)) in one.iter().zip(&other) {
        let shared = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
        let fixed = one.chars().count() - "480?".len() - "No.".len();
        let share = shared as f64 / fixed as f64;
        println!("{id}: {shared} of {fixed} static characters, {:.0} %", 100.0 * share);
        assert!(share >= 0.8, "{id}: {share}");
    }
}

/// The gold file of a shipped rubric.
fn gold(id: &str) -> String {
    let folder = if id.ends_with("_zh") { "gold/zh" } else { "gold" };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../judge-prompts");
    #[expect(clippy::disallowed_methods, reason = "a test reads the labels that are shipped")]
    std::fs::read_to_string(root.join(folder).join(format!("{id}.jsonl"))).unwrap()
}

#[test]
fn gold_labels_cover_every_level_of_both_languages_twice() {
    let mut cases = [0, 0];
    for text in shipped() {
        let (prompts, _) = Prompts::compile(std::slice::from_ref(&text)).unwrap();
        let id = text.name.trim_end_matches(".md");
        let lines = gold(id);
        cases[usize::from(id.ends_with("_zh"))] += lines.lines().count();
        let labels = prompts.label_agreement(&Gold::read(&lines).unwrap()).unwrap();
        let criteria = &prompts.summaries()[0].criteria;
        assert_eq!(labels.len(), criteria.len(), "{id}");
        for one in &labels {
            println!("{id} {}: n {}, kappa {:?}", one.name, one.items, one.kappa.value);
            assert_eq!(
                one.items,
                lines.lines().count(),
                "{id} {}: all are labelled twice",
                one.name
            );
            assert!(one.kappa.value.is_some_and(|kappa| kappa >= 0.6), "{id} {one:?}");
        }
        for criterion in front(&text.text)["criteria"].as_array().unwrap() {
            for level in criterion["levels"].as_array().unwrap() {
                let (id, level) = (&criterion["id"], &level["name"]);
                let label = format!("{id}: {level}").replace('\'', "\"");
                let found = lines.lines().filter(|line| line.contains(&label)).count();
                assert!(found >= 2, "{} {label}: {found}", text.name);
            }
        }
    }
    assert!(cases.iter().all(|count| *count >= 60), "{cases:?}");
}

#[test]
fn label_that_the_rubric_lacks_is_named_with_its_line() {
    let text = shipped().into_iter().find(|text| text.name == "silence.md").unwrap();
    let (prompts, _) = Prompts::compile(&[text]).unwrap();
    let lines = gold("silence").replacen("acts_on_yes", "acts_on_maybe", 1);
    let error = prompts.label_agreement(&Gold::read(&lines).unwrap()).unwrap_err().to_string();
    assert!(error.contains("gold line 1") && error.contains("acts_on_maybe"), "{error}");
}
