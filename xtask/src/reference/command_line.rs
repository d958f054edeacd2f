//! The page of commands and flags, from their definitions.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use super::markdown::{GENERATED, cell, paragraph};

/// The Markdown text of the page.
///
/// # Errors
/// Formatting fails, which does not happen for a `String`.
pub(super) fn page(mut command: Command) -> anyhow::Result<String> {
    command.build();
    let mut text = format!(
        "{GENERATED}# Command line\n\n\
         `guerdon COMMAND --help` prints the same texts, `guerdon man --out FOLDER` writes manual pages, and\n\
         `guerdon completions SHELL` prints the completions of a shell.\n\n"
    );
    command_text(&mut text, &command, "guerdon")?;
    Ok(format!("{}\n", text.trim_end()))
}

fn command_text(text: &mut String, command: &Command, path: &str) -> std::fmt::Result {
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    write!(text, "## `{path}`\n\n{}", paragraph(&sentence(&about)))?;
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    write!(text, "```text\n{usage}\n```\n\n")?;
    let listed = |argument: &&Arg| {
        !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
    };
    let arguments: Vec<&Arg> = command.get_arguments().filter(listed).collect();
    if !arguments.is_empty() {
        writeln!(text, "| argument | meaning |\n|---|---|")?;
        for argument in arguments {
            writeln!(text, "| {} | {} |", cell(&spelling(argument)), cell(&meaning(argument)))?;
        }
        text.push('\n');
    }
    let after = command.get_after_long_help().or_else(|| command.get_after_help());
    if let Some(after) = after {
        text.push_str(&after_help(&after.to_string()));
    }
    for inner in
        command.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help")
    {
        command_text(text, inner, &format!("{path} {}", inner.get_name()))?;
    }
    Ok(())
}

/// The argument as it is typed.
fn spelling(argument: &Arg) -> String {
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let names = argument.get_value_names().into_iter().flatten();
    let values: Vec<String> = names.map(ToString::to_string).collect();
    let value = if values.is_empty() {
        argument.get_id().as_str().to_uppercase()
    } else {
        values.join(" ")
    };
    let repeated = argument.get_num_args().is_some_and(|count| count.max_values() > 1);
    let value = if repeated { format!("{value}...") } else { value };
    match (argument.get_long(), argument.get_short()) {
        (None, None) => format!("`{value}`"),
        (long, short) => {
            let flags: Vec<String> = long
                .map(|long| format!("--{long}"))
                .into_iter()
                .chain(short.map(|short| format!("-{short}")))
                .collect();
            let flags = flags.join("`, `");
            if takes_value { format!("`{flags} {value}`") } else { format!("`{flags}`") }
        }
    }
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let mut text = sentence(&help.map(ToString::to_string).unwrap_or_default());
    let possible = argument.get_possible_values();
    let words: Vec<&str> =
        possible.iter().filter(|word| !word.is_hide_set()).map(|word| word.get_name()).collect();
    if !words.is_empty() && matches!(argument.get_action(), ArgAction::Set | ArgAction::Append) {
        text.push_str(&format!(" One of `{}`.", words.join("`, `")));
    }
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if !defaults.is_empty() && matches!(argument.get_action(), ArgAction::Set | ArgAction::Append) {
        text.push_str(&format!(" Default: `{}`.", defaults.join(" ")));
    }
    if let Some(variable) = argument.get_env() {
        text.push_str(&format!(" Environment: `{}`.", variable.to_string_lossy()));
    }
    if argument.is_required_set() && argument.get_long().is_some() {
        text.push_str(" Required.");
    }
    text
}

/// The text with a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', ':', '!', '?']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// The text after the arguments: indented lines are examples.
fn after_help(text: &str) -> String {
    let mut shown = String::new();
    let mut in_code = false;
    for line in text.lines() {
        let is_code = line.starts_with("  ");
        if is_code != in_code && !(in_code && line.trim().is_empty()) {
            shown.push_str(if is_code { "\n```text\n" } else { "```\n\n" });
            in_code = is_code;
        }
        shown.push_str(line.strip_prefix("  ").filter(|_| in_code).unwrap_or(line));
        shown.push('\n');
    }
    let end = if in_code { "```\n\n" } else { "\n" };
    format!("{}\n{end}", shown.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_after_the_arguments_become_code() {
        let shown = after_help("Text.\n\nExamples:\n  guerdon serve\n\n  guerdon score a\nEnd.");
        assert_eq!(
            shown,
            "Text.\n\nExamples:\n\n```text\nguerdon serve\n\nguerdon score a\n```\n\nEnd.\n\n"
        );
    }

    #[test]
    fn arguments_are_spelt_as_they_are_typed() {
        let flag = Arg::new("out").long("out").short('o').value_name("FILE").action(ArgAction::Set);
        assert_eq!(spelling(&flag), "`--out`, `-o FILE`");
        assert_eq!(spelling(&Arg::new("input").action(ArgAction::Set)), "`INPUT`");
    }
}
