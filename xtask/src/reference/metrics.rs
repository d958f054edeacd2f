//! The page of metrics. Names, help texts, types and labels come from the files that register them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Fields, Item};

use super::code_index::{about, spelling};
use super::markdown::{GENERATED, cell};
use crate::source::SourceFile;

const PLACE: &str = "crates/guerdon-server/src/observe/metrics/";

/// A metric as it is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MetricDoc {
    name: String,
    help: String,
    kind: &'static str,
    labels: Vec<(String, String)>,
}

/// The Markdown text of the page.
///
/// # Errors
/// The type of a metric is not found.
pub(super) fn page(files: &[SourceFile]) -> anyhow::Result<String> {
    let mut metrics = Vec::new();
    for file in files.iter().filter(|file| !file.is_test && file.path.starts_with(PLACE)) {
        let declarations = Declarations::of(&file.syntax);
        let mut found = Vec::new();
        collect(&file.tokens()?, None, &mut found);
        for site in found {
            metrics.push(declarations.metric(&site).with_context(|| file.path.clone())?);
        }
    }
    ensure!(metrics.len() > 20, "found only {} metrics in {PLACE}", metrics.len());
    let mut text = format!(
        "{GENERATED}# Metrics\n\n\
         `GET /metrics` returns these metrics in the OpenMetrics text format. A histogram has the suffixes\n\
         `_bucket`, `_sum` and `_count`. Values of labels come from closed sets and from names in the\n\
         configuration, so that the number of series is bounded.\n\n"
    );
    let of = |prefix: &str| -> Vec<&MetricDoc> {
        metrics.iter().filter(|one| one.name.starts_with(prefix)).collect()
    };
    let (models, judges) = (of("guerdon_model_"), of("guerdon_judge_"));
    let others: Vec<&MetricDoc> =
        metrics.iter().filter(|one| !models.contains(one) && !judges.contains(one)).collect();
    table(&mut text, &others)?;
    writeln!(text, "\n## Reward models\n")?;
    table(&mut text, &models)?;
    writeln!(text, "\n## Judges\n")?;
    table(&mut text, &judges)?;
    writeln!(text, "\n## Labels\n\n| label | values | metrics |\n|---|---|---|")?;
    let mut labels: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for metric in &metrics {
        for (label, about) in &metric.labels {
            ensure!(!about.is_empty(), "the label {label} of {} has no doc comment", metric.name);
            labels.entry((label, about)).or_default().push(&metric.name);
        }
    }
    for ((label, about), names) in &labels {
        let has_one_meaning = labels.keys().filter(|(other, _)| other == label).count() == 1;
        let names =
            if has_one_meaning { "all".to_owned() } else { format!("`{}`", names.join("`, `")) };
        writeln!(text, "| `{label}` | {} | {names} |", cell(about))?;
    }
    Ok(text)
}

fn table(text: &mut String, metrics: &[&MetricDoc]) -> std::fmt::Result {
    writeln!(text, "| metric | type | labels | meaning |\n|---|---|---|---|")?;
    for MetricDoc { name, help, kind, labels } in metrics {
        let labels: Vec<String> = labels.iter().map(|(label, _)| format!("`{label}`")).collect();
        writeln!(text, "| `{name}` | {kind} | {} | {} |", labels.join(", "), cell(help))?;
    }
    Ok(())
}

/// A call that registers a metric.
#[derive(Debug, PartialEq, Eq)]
struct RegisterSite {
    name: String,
    help: String,
    /// The field or variable that holds the metric.
    variable: String,
    has_seconds: bool,
    is_info: bool,
}

/// Collects the calls with a name and a help text next to each other. `variable` is the one that a
/// `let` before the call binds.
fn collect(tokens: &TokenStream, variable: Option<&str>, found: &mut Vec<RegisterSite>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (at, window) in tokens.windows(3).enumerate() {
        if let [TokenTree::Literal(name), TokenTree::Punct(comma), TokenTree::Literal(help)] =
            window
            && let (Some(name), Some(help)) = (string(name), string(help))
            && comma.as_char() == ','
            && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            && help.contains(' ')
        {
            let rest = &tokens[at + 3..];
            let words: Vec<String> = idents(rest);
            let own =
                words.iter().rfind(|word| !["clone", "Unit", "Seconds"].contains(&word.as_str()));
            let own = own.map(String::as_str).or(variable).unwrap_or_default();
            found.push(RegisterSite {
                name,
                help,
                variable: own.to_owned(),
                has_seconds: words.iter().any(|word| word == "Seconds"),
                is_info: words.iter().any(|word| word == "Info"),
            });
        }
    }
    let mut bound: Option<String> = None;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if word == "let" => {
                bound = match tokens.get(at + 1) {
                    Some(TokenTree::Ident(name)) => Some(name.to_string()),
                    _ => None,
                };
            }
            TokenTree::Punct(end) if end.as_char() == ';' => bound = None,
            TokenTree::Group(group) => {
                let inner = match group.delimiter() {
                    Delimiter::Parenthesis => bound.as_deref(),
                    _ => None,
                };
                collect(&group.stream(), inner, found);
            }
            _ => {}
        }
    }
}

/// All identifiers, those in parentheses included.
fn idents(tokens: &[TokenTree]) -> Vec<String> {
    let mut words = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(word) => words.push(word.to_string()),
            TokenTree::Group(group) => {
                words.extend(idents(&group.stream().into_iter().collect::<Vec<_>>()));
            }
            _ => {}
        }
    }
    words
}

fn string(literal: &proc_macro2::Literal) -> Option<String> {
    match syn::Lit::new(literal.clone()) {
        syn::Lit::Str(text) => Some(text.value()),
        _ => None,
    }
}

/// The fields, labels and type aliases of one file.
#[derive(Debug, Default)]
struct Declarations {
    /// The types of fields that hold a metric.
    fields: BTreeMap<String, String>,
    /// The labels of a struct, with their documentation.
    labels: BTreeMap<String, Vec<(String, String)>>,
    aliases: BTreeMap<String, String>,
}

impl Declarations {
    fn of(file: &syn::File) -> Self {
        let mut declarations = Self::default();
        for item in &file.items {
            match item {
                Item::Type(alias) => {
                    declarations.aliases.insert(alias.ident.to_string(), spelling(&alias.ty));
                }
                Item::Struct(item) => {
                    let Fields::Named(fields) = &item.fields else { continue };
                    let named = fields
                        .named
                        .iter()
                        .filter_map(|field| Some((field.ident.as_ref()?.to_string(), field)));
                    if item.ident.to_string().ends_with("Labels") {
                        let labels = named.map(|(name, field)| (name, about(&field.attrs)));
                        declarations.labels.insert(item.ident.to_string(), labels.collect());
                    } else {
                        let kinds = named.map(|(name, field)| (name, spelling(&field.ty)));
                        declarations.fields.extend(kinds);
                    }
                }
                _ => {}
            }
        }
        declarations
    }

    fn metric(&self, site: &RegisterSite) -> anyhow::Result<MetricDoc> {
        let help = site.help.clone();
        if site.is_info {
            let labels = vec![("version".to_owned(), "The version of the server.".to_owned())];
            return Ok(MetricDoc {
                name: format!("guerdon_{}_info", site.name),
                help,
                kind: "info",
                labels,
            });
        }
        let kind = self.fields.get(&site.variable);
        let mut kind = kind
            .with_context(|| format!("{}: no field is called {}", site.name, site.variable))?
            .clone();
        for (alias, full) in &self.aliases {
            if kind == *alias || kind.contains(&format!(",{alias}>")) {
                kind = kind.replace(alias.as_str(), full);
            }
        }
        let (word, suffix) = ["Counter", "Gauge", "Histogram"]
            .into_iter()
            .zip([("counter", "_total"), ("gauge", ""), ("histogram", "")])
            .find(|(name, _)| kind.contains(name))
            .map(|(_, found)| found)
            .with_context(|| format!("{}: {kind} is no type of a metric", site.name))?;
        let labels = match kind.strip_prefix("Family<").and_then(|rest| rest.split_once(',')) {
            Some((labels, _)) => self
                .labels
                .get(labels)
                .cloned()
                .with_context(|| format!("{}: no struct is called {labels}", site.name))?,
            None => Vec::new(),
        };
        let unit = if site.has_seconds { "_seconds" } else { "" };
        Ok(MetricDoc {
            name: format!("guerdon_{}{unit}{suffix}", site.name),
            help,
            kind: word,
            labels,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(text: &str) -> Vec<MetricDoc> {
        let declarations = Declarations::of(&syn::parse_str(text).unwrap());
        let mut found = Vec::new();
        collect(&text.parse().unwrap(), None, &mut found);
        found.iter().map(|site| declarations.metric(site).unwrap()).collect()
    }

    #[test]
    fn metrics_are_read_from_calls_and_macros() {
        let found = metrics(
            r#"
            type Seconds = Family<RouteLabels, Histogram, fn() -> Histogram>;
            struct RouteLabels {
                /// A pattern.
                route: String,
            }
            struct All { took: Seconds, open: Gauge, a: Family<RouteLabels, Counter> }
            fn new() {
                registry.register_with_unit("took", "Time of it", Unit::Seconds, took.clone());
                registry.register("open", "Open ones", metrics.open.clone());
                let a = register!(Family::default(), "a_b", "Number of a");
                registry.register("build", "The version", Info::new(version.to_vec()));
            }"#,
        );
        let labels = vec![("route".to_owned(), "A pattern.".to_owned())];
        let shown: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.kind)).collect();
        let names = [
            ("guerdon_took_seconds", "histogram"),
            ("guerdon_open", "gauge"),
            ("guerdon_a_b_total", "counter"),
            ("guerdon_build_info", "info"),
        ];
        assert_eq!(shown, names);
        assert_eq!([&found[0].labels, &found[2].labels], [&labels, &labels]);
    }
}
