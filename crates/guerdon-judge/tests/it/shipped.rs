//! The rubrics that are shipped: sealed, in both languages, and such that silence never pays.

use std::path::{Path, PathBuf};

use guerdon_judge::{Prompts, SourceText};
use guerdon_types::{Message, Role, Rollout};

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
    let (prompts, report) =
        Prompts::compile(&shipped()).unwrap_or_else(|report| panic!("{report}"));
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
