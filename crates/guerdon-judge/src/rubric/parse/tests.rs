//! What an author is told, and where.

use crate::{PromptText, Prompts, Report};

const GOOD: &str = "+++
id = \"manners\"
about = \"Manners.\"
version = 1

[[criteria]]
id = \"rude\"
kind = \"deduct\"
about = \"It is rude.\"
fails_empty = true
levels = [
  { name = \"no\", points = 0, anchor = \"no\" },
  { name = \"yes\", points = -10, anchor = \"yes\" },
]
+++
# system
You judge.
# user
{{ dialogue }}
{{ turn }}
";

fn compiled(text: &str) -> Result<Report, Report> {
    let texts = [PromptText { name: "judge-prompts/manners.md".to_owned(), text: text.to_owned() }];
    Prompts::compile(&texts).map(|(_, report)| report)
}

/// The one error of the good prompt with `from` replaced by `to`: its place, and everything it says.
#[track_caller]
fn error(from: &str, to: &str) -> (usize, usize, String) {
    assert!(GOOD.contains(from), "{from}");
    let report = compiled(&GOOD.replacen(from, to, 1)).unwrap_err();
    assert_eq!(report.diagnostics().len(), 1, "{report}");
    let found = &report.diagnostics()[0];
    assert!(report.to_string().contains("judge-prompts/manners.md"), "{report}");
    (found.line, found.column, report.to_string())
}

#[test]
fn a_good_prompt_compiles_without_a_word() {
    assert_eq!(compiled(GOOD).unwrap().to_string(), "");
    assert!(compiled(&GOOD.replace('\n', "\r\n")).is_ok());
}

#[test]
fn a_misspelt_key_points_at_itself_and_names_its_neighbour() {
    let (line, column, text) = error("version = 1", "verison = 1");
    assert_eq!((line, column), (4, 1), "{text}");
    assert!(text.contains("did you mean `version`?"), "{text}");
    let (line, _, text) = error("points = -10", "pionts = -10");
    assert_eq!(line, 13, "{text}");
    assert!(text.contains("did you mean `points`?"), "{text}");
}

#[test]
fn a_misspelt_kind_names_its_neighbour() {
    let (line, column, text) = error("\"deduct\"", "\"deducts\"");
    assert_eq!((line, column), (8, 8), "{text}");
    assert!(text.contains("did you mean `deduct`?"), "{text}");
}

#[test]
fn broken_toml_points_at_the_break() {
    assert_eq!(error("version = 1", "version 1").0, 4);
}

#[test]
fn a_rubric_that_silence_passes_is_refused() {
    assert!(error("fails_empty = true\n", "").2.contains("silence would be the best reply"));
    let (_, _, text) = error("points = -10", "points = 0");
    assert!(text.contains("changes anything"), "{text}");
}

#[test]
fn points_with_the_wrong_sign_are_refused_where_they_stand() {
    let (line, _, text) =
        error("points = -10", "points = -10, anchor = \"y\" },\n  { name = \"more\", points = 5");
    assert!(text.contains("wrong sign"), "{text}");
    assert!(line >= 13, "{text}");
}

#[test]
fn an_id_that_differs_from_the_files_name_is_refused() {
    let (line, column, text) = error("id = \"manners\"", "id = \"manner\"");
    assert_eq!((line, column), (2, 6), "{text}");
}

#[test]
fn a_body_without_its_sections_is_refused() {
    assert!(error("# user\n", "").2.contains("no `# user` line"));
    assert!(error("+++\nid", "id").2.contains("opens with a `+++` line"));
}

#[test]
fn a_slot_that_does_not_exist_names_its_neighbour() {
    let (line, column, text) = error("{{ dialogue }}", "{{ dialog }}");
    assert_eq!((line, column), (19, 4), "{text}");
    assert!(text.contains("did you mean `dialogue`?"), "{text}");
}

#[test]
fn a_name_misspelt_inside_a_loop_is_found_when_the_prompt_is_loaded() {
    let (line, _, text) =
        error("{{ dialogue }}", "{% for c in criteria %}{{ c.abuot }}{% endfor %}");
    assert_eq!(line, 19, "{text}");
    assert!(text.contains("undefined"), "{text}");
}

#[test]
fn the_turn_is_shown_once_and_to_the_user_only() {
    assert!(error("{{ turn }}", "").2.contains("shows the turn 0 times"));
    assert!(error("{{ turn }}", "{{ turn }}{{ turn }}").2.contains("shows the turn 2 times"));
    assert!(
        error("You judge.", "You judge {{ turn }}.")
            .2
            .contains("`# system` shows the turn 1 times")
    );
}

#[test]
fn an_edited_text_under_an_unchanged_number_is_refused() {
    let sealed = Prompts::sealed(GOOD);
    assert_eq!(compiled(&sealed).unwrap().to_string(), "");
    let report = compiled(&sealed.replace("You judge.", "You judge mildly.")).unwrap_err();
    let shown = report.to_string();
    assert!(shown.contains("its version is still 1"), "{shown}");
    assert!(shown.contains("guerdon judge bump judge-prompts/manners.md"), "{shown}");
    let bumped = Prompts::sealed(&sealed.replace("You judge.", "You judge mildly."));
    assert!(bumped.contains("version = 2") && compiled(&bumped).is_ok(), "{bumped}");
}

#[test]
fn a_rubric_that_asks_for_agreement_does_not_load_without_it() {
    let asking = GOOD.replace("version = 1", "version = 1\nleast_kappa = 0.6");
    assert!(compiled(&asking).unwrap_err().to_string().contains("nothing was measured"));
    let measured = |kappa, hash: &str| crate::rubric::version::Measured {
        kappa,
        model: "m".to_owned(),
        gold: "g".to_owned(),
        hash: hash.to_owned(),
    };
    let hash = crate::rubric::version::content_hash(&asking);
    let stamped =
        |kappa, hash: &str| crate::rubric::version::calibrated(&asking, &measured(kappa, hash));
    assert!(compiled(&stamped(0.61, &hash)).is_ok());
    assert!(compiled(&stamped(0.59, &hash)).unwrap_err().to_string().contains("less than the 0.6"));
    assert!(compiled(&stamped(0.9, "sha256:0")).unwrap_err().to_string().contains("another text"));
}

#[test]
fn an_example_speaks_of_levels_that_exist_and_a_probe_is_not_shown() {
    let with =
        |more: &str| compiled(&GOOD.replace("+++\n# system", &format!("{more}+++\n# system")));
    let example = "[[examples]]\nturn = \"Go away.\"\nlevels = { rude = \"yes\" }\n";
    assert!(with(example).is_ok());
    let wrong = with(&example.replace("\"yes\"", "\"yess\"")).unwrap_err().to_string();
    assert!(
        wrong.contains("`yess` is no level") && wrong.contains("did you mean `yes`?"),
        "{wrong}"
    );
    let probe = "[[probes]]\nname = \"p\"\nturn = \"Go away.\"\nlevels = { rude = \"yes\" }\n";
    assert!(with(probe).is_ok());
    assert!(
        with(&format!("{example}{probe}")).unwrap_err().to_string().contains("is told its verdict")
    );
}

#[test]
fn a_temperature_is_warned_of_and_does_not_stop_the_prompt() {
    let report = compiled(&GOOD.replace("version = 1", "version = 1\ntemperature = 0.7")).unwrap();
    assert_eq!(report.diagnostics().len(), 1);
    assert!(!report.has_errors());
}
