//! Configurations that do not load. Each error names the place, the fault and the fix.

use std::collections::BTreeMap;
use std::sync::Arc;

use guerdon_server::Engine;
use guerdon_server::config::ConfigSource;
use guerdon_tests::Server;

use super::{HEAD, pack};

/// The error of a configuration.
fn fault(profile: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", &pack("a", "a", -1, false));
    write("guerdon.toml", &Server::resolved(&format!("{HEAD}{profile}")));
    let source = ConfigSource {
        file: Some(folder.path().join("guerdon.toml")),
        environment: Arc::new(BTreeMap::new()),
        overrides: Vec::new(),
    };
    Engine::load(source).map(|_| profile.to_owned()).unwrap_err().to_string()
}

const RM: &str = "[profiles.p.sources.rm]\nkind = \"model\"\nmodel = \"tiny\"\n";

/// An ensemble of members as they are written in TOML.
fn ensemble(name: &str, of: &str) -> String {
    format!("[profiles.p.sources.{name}]\nkind = \"ensemble\"\nof = [{of}]\n")
}

#[test]
fn faults_of_sources_name_the_place_and_the_fix() {
    for (profile, wanted) in [
        (
            format!("{RM}[profiles.p.sources.b]\nkind = \"model\"\nmodel = \"tiny\"\n"),
            &[
                "[profiles.p] 2 sources have the role `base`: `b`, `rm`",
                "kind = \"ensemble\", of = [\"b\", \"rm\"]",
            ][..],
        ),
        (
            "[profiles.p.sources.a]\nkind = \"rules\"\nrules = [\"a.yaml\"]\n".to_owned(),
            &["[profiles.p] the fusion modulates", "give a source the role `base`"],
        ),
        (
            format!("[profiles.p]\nmodel = \"tiny\"\n{RM}"),
            &["[profiles.p.sources.rm] the shorthand", "remove `model`"],
        ),
        (
            RM.replace("\"tiny\"", "\"tinny\""),
            &["`model = \"tinny\"` is not defined under [models]", "did you mean `tiny`?"],
        ),
        (
            format!("{RM}role = \"gate\"\n"),
            &["[profiles.p.sources.rm]", "gives no veto", "choose the role"],
        ),
        (
            format!("{RM}role = \"member\"\n"),
            &["[profiles.p.sources.rm]", "name this source in `of` of an ensemble"],
        ),
        (
            format!("{RM}on_abstain = \"skip\"\n"),
            &["[profiles.p.sources.rm] `on_abstain` has no effect", "remove it"],
        ),
        (format!("{RM}weight = -1\n"), &["`weight` is -1", "reverse"]),
        (
            format!("{RM}normalise_state = \"rm.json\"\n"),
            &["source `rm`: `normalise_state` is set", "online = true"],
        ),
        (
            format!(
                "{RM}normalise_state = \"no/rm.json\"\nnormalise = {{ kind = \"running\", online = true }}\n"
            ),
            &["source `rm`: `normalise_state`: there is no folder", "make it"],
        ),
        (
            RM.replace("sources.rm", "sources.\"r m\""),
            &["[profiles.p.sources.r m] a source's name has 1 to 64 letters"],
        ),
        (RM.replace("model = \"tiny\"", ""), &["missing field `model`"]),
        (format!("{RM}wieght = 2\n"), &["unknown field `wieght`", "did you mean `weight`?"]),
        (
            RM.replace("\"model\"", "\"modle\""),
            &["unknown variant `modle`", "did you mean `model`?"],
        ),
        (
            "[profiles.p.sources.a]\nkind = \"rules\"\nrules = [\"a.yaml\"]\nrole = \"audit\"\n\
             [profiles.p.fusion]\nmethod = \"weighted_sum\"\n"
                .to_owned(),
            &["[profiles.p]", "none of the sources has a number that is fused"],
        ),
        (
            format!("{RM}{}", ensemble("e", "'rm', 'rmm'")),
            &["[profiles.p.sources.e] `of` names `rmm`", "did you mean `rm`?"],
        ),
        (format!("{RM}{}", ensemble("e", "")), &["[profiles.p.sources.e] `of` is empty"]),
        (
            format!("{RM}{}", ensemble("e", "'rm', 'rm'")),
            &["[profiles.p.sources.e] `of` names `rm` twice"],
        ),
        (
            format!("{}{}", ensemble("e", "'f'"), ensemble("f", "'e'")),
            &["[profiles.p.sources.e] ensembles name each other in a circle: `e` -> `f` -> `e`"],
        ),
        (
            format!("{RM}role = \"points\"\n{}", ensemble("e", "'rm'")),
            &["[profiles.p.sources.rm]", "member of the ensemble `e`", "remove `role`"],
        ),
        (
            format!("{RM}{}combine = \"soft_min\"\nbeta = 0\n", ensemble("e", "'rm'")),
            &["[profiles.p.sources.e]", "beta", "positive"],
        ),
        (
            format!(
                "[profiles.p.calibration]\nkind = \"raw\"\n{RM}normalise = {{ kind = \"standardised\", mean = 0, std = 0 }}\n"
            ),
            &["source `rm`", "`normalise.std` is 0"],
        ),
        (
            format!(
                "[profiles.p.calibration]\nkind = \"centred\"\nmean = 1\n{RM}normalise = \"raw\"\n"
            ),
            &["both `calibration` and `normalise`", "remove `calibration`"],
        ),
        (
            "[profiles.p.sources.j]\nkind = \"judge\"\njudge = \"loc\"\nprompts = [\"p\"]\n\
             [judges.local]\nurl = \"http://127.0.0.1:1/v1\"\nmodel = \"m\"\n"
                .to_owned(),
            &["`judge = \"loc\"` is not defined under [judges]", "`local`"],
        ),
    ] {
        let error = fault(&profile);
        for part in wanted {
            assert!(error.contains(part), "{profile}\n{error}");
        }
    }
}

#[test]
fn fault_of_a_source_is_reported_with_its_line() {
    let error = fault(&format!("{RM}wieght = 2\n"));
    assert!(error.contains("guerdon.toml") && error.contains("line "), "{error}");
}
