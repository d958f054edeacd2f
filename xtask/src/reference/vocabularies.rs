//! The pages of problem codes, of reasons of abstentions, and of the codes of diagnostics.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use guerdon_types::ProblemCode;
use syn::Item;

use super::code_index::{CodeIndex, about};
use super::markdown::{GENERATED, cell, paragraph};
use crate::source::SourceFile;

const TYPES: &[&str] = &["crates/guerdon-types/src/"];

/// The page of problem codes.
///
/// # Errors
/// The code and its documentation disagree.
pub(super) fn problems(index: &CodeIndex) -> anyhow::Result<String> {
    let mut text = format!(
        "{GENERATED}# Problem codes\n\n\
         Errors are RFC 9457 documents (`application/problem+json`). `code` is one of the words below,\n\
         `type` is `urn:guerdon:problem:` and the code, `detail` describes the occurrence, `pointer` is a\n\
         JSON pointer into the request, and `hint` names the remedy. A rollout that cannot be scored has\n\
         such a document as its `error`; the other rollouts of the request are scored.\n\n\
         | code | status | title | meaning |\n|---|---|---|---|\n"
    );
    for variant in &index.enumeration("ProblemCode", TYPES)?.variants {
        let code: ProblemCode = serde_json::from_value(variant.name.clone().into())?;
        ensure!(code.as_str() == variant.name, "{} is written as {}", variant.name, code.as_str());
        writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            variant.name,
            code.status(),
            code.title(),
            cell(&variant.about)
        )?;
    }
    Ok(text)
}

/// The page of reasons of abstentions.
///
/// # Errors
/// A type is missing.
pub(super) fn abstentions(index: &CodeIndex) -> anyhow::Result<String> {
    let mut text = format!(
        "{GENERATED}# Reasons of abstentions\n\n\
         An entry of `turns[].abstained` names the source and `why` it gave no number or only a part of\n\
         one. [Missing signals](../explanation/missing-signals.md) describes the effect on the reward.\n\n"
    );
    for (title, key, name) in [
        ("Causes in general", "why", "AbstainWhy"),
        ("Details", "reason", "AbstainReason"),
        ("Effects", "effect", "AbstainEffect"),
    ] {
        let words = index.enumeration(name, TYPES)?;
        write!(text, "## {title}: `{key}`\n\n{}", paragraph(&words.about))?;
        writeln!(text, "| `{key}` | meaning |\n|---|---|")?;
        for variant in &words.variants {
            writeln!(text, "| `{}` | {} |", variant.name, cell(&variant.about))?;
        }
        text.push('\n');
    }
    for (title, name) in [
        ("Actions for infrastructure: `on_abstain.infrastructure`", "InfrastructureAction"),
        ("Actions for content: `on_abstain.content`", "ContentAction"),
    ] {
        let words = index.enumeration(name, TYPES)?;
        write!(text, "## {title}\n\n{}", paragraph(&words.about))?;
        writeln!(text, "| action | effect |\n|---|---|")?;
        for variant in &words.variants {
            writeln!(text, "| `{}` | {} |", variant.name, cell(&variant.about))?;
        }
        text.push('\n');
    }
    Ok(format!("{}\n", text.trim_end()))
}

/// The page of the codes of diagnostics about rule packs and judge prompts.
///
/// # Errors
/// A code has no documentation, or no codes are found.
pub(super) fn diagnostics(index: &CodeIndex, files: &[SourceFile]) -> anyhow::Result<String> {
    let mut text = format!(
        "{GENERATED}# Codes of diagnostics\n\n\
         Reports about rule packs and judge prompts name a code for each finding. An error keeps the set\n\
         from loading; a warning does not. A code keeps its meaning across versions.\n\n"
    );
    let mut packs = pack_codes(files, index)?;
    packs.sort();
    for (title, codes) in [("Rule packs", packs), ("Judge prompts", prompt_codes(files))] {
        ensure!(codes.len() > 10, "{title}: found only {} codes", codes.len());
        writeln!(text, "## {title}\n\n| code | severity | meaning |\n|---|---|---|")?;
        for CodeDoc { code, severity, meaning } in codes {
            ensure!(!meaning.is_empty(), "{code} has no documentation");
            writeln!(text, "| `{code}` | {severity} | {} |", cell(&meaning))?;
        }
        text.push('\n');
    }
    Ok(format!("{}\n", text.trim_end()))
}

/// A code of diagnostics.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CodeDoc {
    code: String,
    severity: String,
    meaning: String,
}

/// The codes of rule packs: documented variants, and a `match` with their codes.
fn pack_codes(files: &[SourceFile], index: &CodeIndex) -> anyhow::Result<Vec<CodeDoc>> {
    const FILE: &str = "crates/guerdon-rules/src/syntax/codes.rs";
    let file = files.iter().find(|file| file.path == FILE).with_context(|| FILE.to_owned())?;
    // `Pack::Syntax => Self::error("R001")`, without spaces.
    let text: String = file.text.split_whitespace().collect();
    let variants = &index.enumeration("PackCode", &[FILE])?.variants;
    let code_of = |variant: &super::code_index::VariantDoc| {
        let arm = format!("Pack::{}=>Self::", variant.ident);
        let (_, call) = text.split_once(&arm)?;
        let (severity, rest) = call.split_once("(\"")?;
        let (code, _) = rest.split_once('"')?;
        Some(CodeDoc {
            code: code.to_owned(),
            severity: severity.to_owned(),
            meaning: variant.about.clone(),
        })
    };
    variants
        .iter()
        .map(|variant| {
            code_of(variant).with_context(|| format!("{FILE}: no code of {}", variant.ident))
        })
        .collect()
}

/// The codes of judge prompts: documented constants, sorted by code.
fn prompt_codes(files: &[SourceFile]) -> Vec<CodeDoc> {
    const FILE: &str = "crates/guerdon-judge/src/rubric/codes.rs";
    let mut found = Vec::new();
    for item in files.iter().filter(|file| file.path == FILE).flat_map(|file| &file.syntax.items) {
        if let Item::Const(item) = item
            && let syn::Expr::Call(call) = &*item.expr
            && let syn::Expr::Path(function) = &*call.func
            && let Some(severity) = function.path.segments.last()
            && let Some(syn::Expr::Lit(literal)) = call.args.first()
            && let syn::Lit::Str(code) = &literal.lit
        {
            let severity = severity.ident.to_string();
            found.push(CodeDoc { code: code.value(), severity, meaning: about(&item.attrs) });
        }
    }
    found.sort();
    found
}
