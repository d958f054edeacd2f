//! Tests of the diagnostics about judge prompts: their positions and texts.

use guerdon_text::{Report, SourceText};

use crate::Prompts;

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
    let texts = [SourceText::new("judge-prompts/manners.md", text)];
    Prompts::compile(&texts).map(|(_, report)| report)
}

/// Compiles [`GOOD`] with `from` replaced by `to`, which must cause exactly one error. Returns the
/// error's line and column, and the report.
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
fn valid_prompt_compiles_without_diagnostics() {
    assert_eq!(compiled(GOOD).unwrap().to_string(), "");
    assert!(compiled(&GOOD.replace('\n', "\r\n")).is_ok());
}

#[test]
fn a_file_that_was_saved_on_another_system_is_the_same_rubric() {
    let windows = GOOD.replace('\n', "\r\n");
    let saved = [windows.clone(), format!("\u{feff}{GOOD}"), format!("\u{feff}{windows}")];
    let rubric = |text: &str| {
        let texts = [SourceText::new("judge-prompts/manners.md", text)];
        let (prompts, report) = Prompts::check(&texts).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(report.to_string(), "");
        std::sync::Arc::clone(&prompts.rubrics()[0])
    };
    let shown = GOOD.replace("You judge.", "{% for c in criteria %}\n{{ c.about }}\n{% endfor %}");
    let plain = rubric(&shown);
    for text in saved {
        let text =
            text.replace("You judge.", "{% for c in criteria %}\n{{ c.about }}\n{% endfor %}");
        let text = if text.contains('\r') {
            text.replace("\r\n", "\n").replace('\n', "\r\n")
        } else {
            text
        };
        let other = rubric(&text);
        assert_eq!((&other.hash, &other.asked), (&plain.hash, &plain.asked), "{text:?}");
        for (wrong, line) in
            [("{{ dialog }}", 21), ("{{ c.x }", 21), ("{{ dialogue }}{{ 1 / 'a' }}", 21)]
        {
            let report = compiled(&text.replace("{{ dialogue }}", wrong)).unwrap_err();
            let found = &report.diagnostics()[0];
            assert_eq!(found.line, line, "{report}");
        }
    }
}

#[test]
fn a_body_that_builds_ever_larger_values_is_refused_at_its_line() {
    for step in ["n.x + n.x", "[n.x, n.x]", "n.x|chain(n.x)"] {
        let body = format!(
            "{{% set n = namespace(x=[1]) %}}\n{{% for i in range(60) %}}\n{{% set n.x = {step} %}}\n\
             {{% endfor %}}\n{{{{ dialogue }}}}"
        );
        let (line, _, text) = error("{{ dialogue }}", &body);
        assert_eq!(line, 21, "{text}");
        assert!(text.contains("`x` is made of itself"), "{text}");
        assert_eq!(error("You judge.", &body.replace("{{ dialogue }}", "")).0, 19);
    }
}

#[test]
fn unknown_key_is_reported_with_nearest_key() {
    let (line, column, text) = error("version = 1", "verison = 1");
    assert_eq!((line, column), (4, 1), "{text}");
    insta::assert_snapshot!(text);
    let (line, _, text) = error("points = -10", "pionts = -10");
    assert_eq!(line, 13, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn unknown_kind_is_reported_with_nearest_kind() {
    let (line, column, text) = error("\"deduct\"", "\"deducts\"");
    assert_eq!((line, column), (8, 8), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn toml_syntax_error_is_reported_at_its_line() {
    assert_eq!(error("version = 1", "version 1").0, 4);
}

#[test]
fn rubric_that_an_empty_reply_passes_is_refused() {
    insta::assert_snapshot!(error("fails_empty = true\n", "").2);
    let (_, _, text) = error("points = -10", "points = 0");
    insta::assert_snapshot!(text);
}

#[test]
fn points_with_wrong_sign_are_refused() {
    let (line, _, text) =
        error("points = -10", "points = -10, anchor = \"y\" },\n  { name = \"more\", points = 5");
    insta::assert_snapshot!(text);
    assert!(line >= 13, "{text}");
}

#[test]
fn id_must_match_file_name() {
    let (line, column, text) = error("id = \"manners\"", "id = \"manner\"");
    assert_eq!((line, column), (2, 6), "{text}");
}

#[test]
fn body_without_sections_is_refused() {
    insta::assert_snapshot!(error("# user\n", "").2);
    insta::assert_snapshot!(error("+++\nid", "id").2);
}

#[test]
fn unknown_slot_is_reported_with_nearest_slot() {
    let (line, column, text) = error("{{ dialogue }}", "{{ dialog }}");
    assert_eq!((line, column), (19, 4), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn undefined_name_inside_loop_is_found_at_load() {
    let (line, _, text) =
        error("{{ dialogue }}", "{% for c in criteria %}{{ c.abuot }}{% endfor %}");
    assert_eq!(line, 19, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn turn_must_be_shown_exactly_once_in_user_message() {
    insta::assert_snapshot!(error("{{ turn }}", "").2);
    insta::assert_snapshot!(error("{{ turn }}", "{{ turn }}{{ turn }}").2);
    insta::assert_snapshot!(error("You judge.", "You judge {{ turn }}.").2);
}

#[test]
fn unbounded_work_is_refused_at_load() {
    let nested = |count: &str, inner: &str| {
        format!(
            "{{% for i in range({count}) %}}{{% for j in range({count}) %}}{inner}{{% endfor %}}{{% endfor %}}"
        )
    };
    let doubled = |operation: &str| {
        format!(
            "{{% set n = namespace(y='ab') %}}\
             {{% for i in range(99) %}}{{% set n.{operation} %}}{{% endfor %}}"
        )
    };
    let bodies = [
        nested("9000", ""),
        nested("9000", "x"),
        nested("90000", "{{ criteria|length }}"),
        nested("9000", "{% set x = 'abc'|upper %}"),
        doubled("y = n.y ~ n.y"),
        doubled("y = n.y + n.y"),
        "{{ 'abc' * 1000000000 }}".to_owned(),
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}"
            .to_owned(),
        "{% for i in range(90000) %}{{ range(90000)|list|length }}{% endfor %}".to_owned(),
        "{% for i in range(90000) %}{{ range(90000)|join|length }}{% endfor %}".to_owned(),
    ];
    for body in bodies {
        for (from, to) in [("You judge.", &body), ("{{ turn }}", &format!("{body}{{{{ turn }}}}"))]
        {
            for more in ["", "{% if context.x is defined %}{% endif %}"] {
                let report = compiled(&GOOD.replacen(from, &format!("{more}{to}"), 1)).unwrap_err();
                assert_eq!(report.diagnostics().len(), 1, "{report}");
                let text = report.to_string();
                let named = text.contains("too many steps") || text.contains("is made of itself");
                assert!(named && text.contains("manners.md"), "{text}");
            }
        }
    }
}

#[test]
fn an_operation_that_always_fails_is_refused_at_load() {
    for operation in [
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{{ 1 / 'a' }}",
        "{{ criteria * criteria }}",
        "{{ turn|int }}{{ turn - 1 }}",
    ] {
        let (line, _, text) = error("{{ dialogue }}", &format!("{{{{ dialogue }}}}{operation}"));
        assert_eq!(line, 19, "{text}");
    }
}

#[test]
fn edited_text_with_unchanged_version_is_refused() {
    let sealed = Prompts::sealed(GOOD);
    assert_eq!(compiled(&sealed).unwrap().to_string(), "");
    let report = compiled(&sealed.replace("You judge.", "You judge mildly.")).unwrap_err();
    let shown = report.to_string();
    insta::assert_snapshot!(shown);
    let bumped = Prompts::sealed(&sealed.replace("You judge.", "You judge mildly."));
    assert!(bumped.contains("version = 2") && compiled(&bumped).is_ok(), "{bumped}");
}

#[test]
fn least_kappa_requires_current_and_sufficient_measurement() {
    let asking = GOOD.replace("version = 1", "version = 1\nleast_kappa = 0.6");
    insta::assert_snapshot!(compiled(&asking).unwrap_err().to_string());
    let measured = |kappa, hash: &str| crate::rubric::version::KappaStamp {
        kappa,
        model: "m".to_owned(),
        gold: "g".to_owned(),
        hash: hash.to_owned(),
    };
    let hash = crate::rubric::version::content_hash(&asking);
    let stamped =
        |kappa, hash: &str| crate::rubric::version::stamped(&asking, &measured(kappa, hash));
    assert!(compiled(&stamped(0.61, &hash)).is_ok());
    insta::assert_snapshot!(compiled(&stamped(0.59, &hash)).unwrap_err().to_string());
    insta::assert_snapshot!(compiled(&stamped(0.9, "sha256:0")).unwrap_err().to_string());
}

#[test]
fn examples_must_name_existing_levels_and_probes_must_not_be_examples() {
    let with =
        |more: &str| compiled(&GOOD.replace("+++\n# system", &format!("{more}+++\n# system")));
    let example = "[[examples]]\nturn = \"Go away.\"\nlevels = { rude = \"yes\" }\n";
    assert!(with(example).is_ok());
    let wrong = with(&example.replace("\"yes\"", "\"yess\"")).unwrap_err().to_string();
    insta::assert_snapshot!(wrong);
    let probe = "[[probes]]\nname = \"p\"\nturn = \"Go away.\"\nlevels = { rude = \"yes\" }\n";
    assert!(with(probe).is_ok());
    insta::assert_snapshot!(with(&format!("{example}{probe}")).unwrap_err().to_string());
}

#[test]
fn positive_temperature_is_a_warning() {
    let report = compiled(&GOOD.replace("version = 1", "version = 1\ntemperature = 0.7")).unwrap();
    insta::assert_snapshot!(report);
    assert!(!report.has_errors());
}
