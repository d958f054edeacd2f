//! Numbers that no rubric means: points far outside a reward's range, and room for answers that no
//! answer fits or needs.

use std::ops::Range;

use guerdon_text::{Finding, Report, SourceText};
use guerdon_types::Finite;

use super::places::PartPlaces;
use crate::rubric::{Criterion, Grouping, codes};

/// The greatest number of points of a level. The shipped configuration bounds all parts together
/// to 100.
const MOST_POINTS: f64 = 1000.0;
/// The least number of points that is not 0.
const LEAST_POINTS: f64 = 0.01;
/// The greatest number of tokens of an answer.
const MOST_TOKENS: u32 = 131_072;
/// More bytes than a token of an answer has in any common vocabulary, on average.
const BYTES_PER_TOKEN: usize = 6;

/// The numbers of a rubric's front matter with their places.
#[derive(Debug)]
pub(crate) struct AskedNumbers<'a> {
    pub(crate) criteria: &'a [Criterion],
    pub(crate) empty_points: Option<(Finite, Range<usize>)>,
    pub(crate) max_tokens: (u32, Range<usize>),
    /// The distribution of criteria over calls; `None` if an answer is one letter.
    pub(crate) grouping: Option<Grouping>,
}

/// Adds the findings about numbers.
pub(crate) fn check_numbers(
    source: &SourceText,
    asked: &AskedNumbers<'_>,
    places: &PartPlaces,
    report: &mut Report,
) {
    let mut findings = Vec::new();
    for (criterion, places) in asked.criteria.iter().zip(&places.points) {
        for (level, place) in criterion.levels.iter().zip(places) {
            let name = format!("level `{}` has", level.name);
            findings.extend(odd_points(&name, level.points, place));
        }
    }
    if let Some((points, place)) = &asked.empty_points {
        findings.extend(odd_points("`empty_points` has", *points, place));
    }
    findings.extend(asked.odd_room());
    report.extend(source, findings);
}

fn odd_points(subject: &str, points: Finite, place: &Range<usize>) -> Option<Finding> {
    let size = points.get().abs();
    (points != Finite::ZERO && !(LEAST_POINTS..=MOST_POINTS).contains(&size)).then(|| {
        let message = format!("{subject} {points:e} points", points = points.get());
        let help = format!(
            "write 0, or a number whose size is between {LEAST_POINTS} and {MOST_POINTS}; a \
             profile's `bound` is 100 unless it is configured"
        );
        Finding::new(codes::RANGE, place.clone(), message).help(help)
    })
}

impl AskedNumbers<'_> {
    /// A limit of the answer that is too small for every answer, or larger than any answer.
    fn odd_room(&self) -> Option<Finding> {
        let (room, place) = &self.max_tokens;
        let least = self.least_tokens();
        let (message, help) = if *room > 0 && (*room as usize) < least {
            (
                format!(
                    "`max_tokens` is {room}, and the shortest answer takes about {least} tokens"
                ),
                "an answer that is cut off is asked for once more and then abstains; the default is 512",
            )
        } else if *room > MOST_TOKENS {
            (
                format!("`max_tokens` is {room}, more than {MOST_TOKENS}"),
                "budgets and quotas reserve this number of tokens for each question; the default is 512",
            )
        } else {
            return None;
        };
        Some(Finding::new(codes::RANGE, place.clone(), message).help(help))
    }

    /// A lower estimate of the tokens of the shortest answer.
    fn least_tokens(&self) -> usize {
        /// The bytes around the findings: the block's name and the braces.
        const AROUND: usize = r#"{"turn":"turn-000000000000","findings":{}}"#.len();
        const FINDING: usize = r#""":{"level":"","evidence":null},"#.len();
        let bytes = |criterion: &Criterion| {
            let level = criterion.levels.iter().map(|level| level.name.len()).min();
            FINDING + criterion.id.len() + level.unwrap_or_default()
        };
        let findings: usize = match self.grouping {
            None => return 1,
            Some(Grouping::Rubric) => self.criteria.iter().map(bytes).sum(),
            Some(Grouping::Criterion) => self.criteria.iter().map(bytes).max().unwrap_or_default(),
        };
        (AROUND + findings).div_ceil(BYTES_PER_TOKEN)
    }
}
