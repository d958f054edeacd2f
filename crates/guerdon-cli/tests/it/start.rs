//! Errors of `guerdon serve` that are reported before models load. The model of these
//! configurations does not exist, so that a later error would name it.

use std::net::TcpListener;

use crate::{PACK, guerdon, transcript, write};

/// `guerdon serve` with `arguments` and a configuration whose model is missing.
fn refused(config: &str, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{config}\n[models.m]\npath = \"nowhere\"\n[profiles.p]\nmodel = \"m\"\n");
    write(folder.path(), "guerdon.toml", &text);
    let output = guerdon(folder.path(), &[&["serve"], arguments].concat());
    assert_eq!(output.status.code(), Some(1));
    transcript(&output)
}

#[test]
fn taken_port_is_reported_before_models_load() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    insta::assert_snapshot!(refused("", &["--listen", &address]).replace(&address, "ADDRESS"));
}

#[test]
fn invalid_address_is_reported_before_models_load() {
    for (address, words) in [
        ("8787", "has no port"),
        ("localhost:x", "not a number"),
        ("nobody.invalid:1", "cannot be resolved"),
        ("192.0.2.1:1", "no token is configured"),
        ("0.0.0.0:0", "no token is configured"),
    ] {
        let shown = refused("", &["--listen", address]);
        assert!(shown.contains(words), "{address}: {shown}");
    }
}

#[test]
fn misspelt_judge_is_reported_before_models_load() {
    let judge = "[judges.local]\nurl = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\n";
    insta::assert_snapshot!(refused(judge, &["--judge", "locla"]));
    let broken = judge.replace("http://", "htp://");
    let shown = refused(&broken, &["--judge", "local"]);
    assert!(!shown.contains("nowhere"), "{shown}");
}

#[test]
fn missing_token_is_reported_before_models_load() {
    let token =
        "[auth]\ntokens = [{ name = \"t\", env = \"UNSET_TOKEN\", scopes = [\"score\"] }]\n";
    assert!(refused(token, &[]).contains("UNSET_TOKEN"));
}

#[test]
fn name_of_this_machine_can_be_the_address() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "rules.yaml", PACK);
    let config = "[server]\nlisten = \"localhost:0\"\n[profiles.p]\nrules = [\"rules.yaml\"]\n\
                  fusion = { method = \"weighted_sum\" }\n";
    write(folder.path(), "guerdon.toml", config);
    let checked = guerdon(folder.path(), &["config", "show"]);
    assert!(transcript(&checked).contains("listen = \"127.0.0.1:0\""), "{}", transcript(&checked));
}
