//! Compiles packs to a [`RulePlan`]: compiles regexes, expressions and literals, compares ids and
//! runs examples. Every pack is read to its end even if another one has errors, so that one report
//! lists all errors.

mod rule;
mod work;

use std::collections::{BTreeSet, HashMap, HashSet};

use guerdon_text::{Finding, Report};
use rule::Compiler;
pub use work::WorkBounds;
use work::WorkCount;

use crate::engine::pattern::CompileBudget;
use crate::engine::plan::RulePlan;
use crate::engine::scan_limit::ScanLimit;
use crate::engine::{examples, lint};
use crate::syntax::codes::PackCode;
use crate::syntax::expiry::ExpiryPolicy;
use crate::syntax::files::PackFilesRef;
use crate::syntax::pack::Pack;
use crate::syntax::parse::{self, ParsedText};

/// Parsed and compiled packs. The plan may be used only if no finding is an error.
#[derive(Debug)]
pub(crate) struct CompiledPacks {
    pub(crate) packs: Vec<ParsedPack>,
    pub(crate) plan: RulePlan,
}

/// The pack of a file, if it has one, and the files that it imports.
pub(crate) type ParsedFile = (Option<Pack>, BTreeSet<usize>);

/// One pack and its findings.
#[derive(Debug)]
pub(crate) struct ParsedPack {
    pub(crate) pack: Option<Pack>,
    pub(crate) findings: Vec<Finding>,
    /// The files that it imports, by their index.
    pub(crate) imported: BTreeSet<usize>,
    /// Unset if a declaration that it uses has errors or is missing.
    pub(crate) is_complete: bool,
    /// The index of each rule in the plan, unless the rule has errors.
    pub(crate) places: Vec<Option<usize>>,
}

impl CompiledPacks {
    /// Parses and compiles `packs` without running their examples.
    #[cfg(any(test, feature = "reference"))]
    pub(crate) fn new<'f>(files: impl Into<PackFilesRef<'f>>, expiry: ExpiryPolicy) -> Self {
        Self::within(CompileBudget::default(), &WorkBounds::default(), files.into(), expiry)
    }

    /// Like [`CompiledPacks::new`], until `bounds` are reached. The rule at which they are reached
    /// gets an error, and later rules are not compiled.
    pub(crate) fn bounded(
        bounds: &WorkBounds<'_>,
        files: PackFilesRef<'_>,
        expiry: ExpiryPolicy,
    ) -> Self {
        Self::within(CompileBudget::default(), bounds, files, expiry)
    }

    fn within(
        budget: CompileBudget,
        bounds: &WorkBounds<'_>,
        files: PackFilesRef<'_>,
        expiry: ExpiryPolicy,
    ) -> Self {
        let packs = files.texts;
        let mut compiler = Compiler { budget, ..Compiler::default() };
        let mut work = WorkCount::new(bounds);
        let mut read: Vec<ParsedPack> = parse::parse_all(files)
            .into_iter()
            .map(|ParsedText { pack, findings, imported, is_complete }| ParsedPack {
                pack,
                findings,
                imported,
                is_complete,
                places: Vec::new(),
            })
            .collect();
        let mut ids: HashMap<String, &str> = HashMap::new();
        for (source, parsed) in packs.iter().zip(&mut read) {
            let ParsedPack { pack, findings, places, is_complete, .. } = parsed;
            let Some(pack) = pack else { continue };
            if let Some(other) = ids.insert(pack.id.value.clone(), &source.name) {
                let message = format!("pack `{}` is already in {other}", pack.id.value);
                let finding = Finding::new(PackCode::DuplicateId, pack.id.span.clone(), message);
                findings.push(finding.help("give it another id"));
            }
            // Without its declarations, a pack has warnings and failing examples that mean nothing.
            if *is_complete {
                findings.extend(lint::pack(pack, expiry));
            }
            compiler.facts = pack.facts.clone().filter(|_| *is_complete);
            let mut rules: HashSet<&str> = HashSet::new();
            for rule in &pack.rules {
                if !rules.insert(&rule.id.value) {
                    let message = format!("a second rule `{}`", rule.id.value);
                    let finding =
                        Finding::new(PackCode::DuplicateId, rule.id.span.clone(), message);
                    findings.push(finding.help("give it another id"));
                }
                if let Some(exceeded) = work.add(rule) {
                    findings.push(exceeded);
                    compiler.exhausted = true;
                }
                let compiled = compiler.rule(&pack.id.value, rule);
                findings.append(&mut compiler.findings);
                places.push((compiled && *is_complete).then(|| compiler.plan.rules.len() - 1));
            }
        }
        if compiler.exhausted {
            // Nothing is built and no example runs: the packs cannot be used.
            read.iter_mut().for_each(|read| read.places.clear());
            return Self { packs: read, plan: compiler.plan };
        }
        let built = compiler.plan.build();
        let known: Vec<&Pack> = read.iter().filter_map(|read| read.pack.as_ref()).collect();
        let mut overlaps = lint::overlaps(&known).into_iter();
        for read in &mut read {
            if read.pack.is_some() {
                read.findings.extend(overlaps.next().unwrap_or_default());
            }
            if let Err(error) = &built {
                let message = format!("the packs do not fit: {error}");
                read.findings.push(Finding::new(PackCode::TooLarge, 0..0, message));
            }
        }
        Self { packs: read, plan: compiler.plan }
    }

    /// Runs the examples of every rule without errors, until `limit` is over. The rule whose
    /// examples were not run gets an error.
    pub(crate) fn run_examples(&mut self, limit: ScanLimit<'_>) {
        for ParsedPack { pack, findings, places, .. } in &mut self.packs {
            let rules = pack.iter().flat_map(|pack| &pack.rules).zip(places.iter());
            for (rule, place) in rules {
                let Some(index) = place else { continue };
                let runs = examples::run(&self.plan, *index, rule, limit);
                let failures: Vec<Finding> = runs.filter_map(|run| run.failure).collect();
                if limit.is_over() {
                    findings.push(work::out_of_time(rule));
                    return;
                }
                findings.extend(failures);
            }
        }
    }

    /// The parsed files with the files that they import, the plan and the report.
    pub(crate) fn finish<'f>(
        self,
        files: impl Into<PackFilesRef<'f>>,
    ) -> (Vec<ParsedFile>, RulePlan, Report) {
        let files = files.into();
        let mut report = files.report();
        let mut parsed = Vec::new();
        for (source, read) in files.texts.iter().zip(self.packs) {
            report.extend(source, read.findings);
            parsed.push((read.pack, read.imported));
        }
        (parsed, self.plan, report)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use guerdon_text::SourceText;

    use super::*;

    #[test]
    fn the_rule_that_does_not_fit_is_named_and_later_ones_are_not_compiled() {
        let mut text = String::from("pack: p\nrules:\n");
        for index in 0..20 {
            text += &format!(
                "  - {{ id: r{index}, points: -1, match: {{ regex: 'a{index}[^x]{{0,40}}b' }} }}\n"
            );
        }
        let packs = [SourceText { name: "p.yaml".into(), text }];
        let expiry = ExpiryPolicy::load(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        let compiled = |bytes| {
            let bounds = WorkBounds::default();
            CompiledPacks::within(CompileBudget::of(bytes), &bounds, (&packs).into(), expiry)
        };
        let one = compiled(usize::MAX).plan.rules.first().map_or(0, |rule| rule.matcher.memory());
        let all = compiled(one * 5);
        assert!((3..=6).contains(&all.plan.rules.len()), "{}", all.plan.rules.len());
        let (_, _, report) = all.finish(&packs);
        let report = report.to_string();
        assert!(report.contains("R013") && report.contains("rule `r"), "{report}");
        assert_eq!(report.matches("R013").count(), 1, "{report}");
    }

    #[test]
    fn a_pattern_of_astronomic_size_is_refused_before_it_is_compiled() {
        let regex = "deal(?:(?:(?:(?:[a-y]{900}){900}){900}){900}){900}";
        let text = format!(
            "pack: p\nrules:\n  - {{ id: a, points: -1, match: {{ regex: '{regex}' }} }}\n"
        );
        let packs = [SourceText { name: "p.yaml".into(), text }];
        let expiry = ExpiryPolicy::load(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        let report = CompiledPacks::new(&packs, expiry).finish(&packs).2.to_string();
        assert!(report.contains("needs more than 2048 KiB when compiled"), "{report}");
    }
}
