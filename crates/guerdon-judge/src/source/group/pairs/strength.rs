//! From comparisons to the share of a criterion's points that each reply gets, with its standard
//! error.
//!
//! **Bradley-Terry** (Bradley and Terry, "Rank analysis of incomplete block designs", 1952). A reply
//! has a strength, and is preferred to another with the logistic function of the difference. A tie
//! is half a preference for each. The two orders of a pair are one comparison with their mean,
//! because a judge that repeats itself is not two judges. Strengths have a normal prior
//! ([`PRIOR_DEVIATION`]), so that a reply that was always preferred has a finite one, and replies
//! without a chain of comparisons between them are comparable. The maximum of the posterior is found
//! by Newton's method; its curvature (Laplace's approximation) gives the errors. The share of a reply
//! is its mean probability to be preferred to each of the others.
//!
//! **Mean wins.** The share of the comparisons in which a reply was preferred; its error is that of
//! a Beta distribution with Jeffreys' prior.

use crate::rubric::Estimate;

/// Standard deviation of the prior of strengths, in logits.
const PRIOR_DEVIATION: f64 = 2.0;
/// Upper bound of Newton steps. Ten are many.
const MOST_STEPS: usize = 100;

/// Two replies that were compared: `outcome` is 1 if `first` was preferred, 0 if `second` was, and
/// between them for ties and orders that disagree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Comparison {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) outcome: f64,
}

/// The part of a range of points that a reply gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Share {
    /// From 0 to 1.
    pub(super) value: f64,
    /// The standard error; 0 if there was nothing to compare with.
    pub(super) error: f64,
}

/// The shares of `count` replies. A reply that was never compared has a half.
pub(super) fn shares(count: usize, compared: &[Comparison], estimate: Estimate) -> Vec<Share> {
    if count < 2 {
        return vec![Share { value: 0.5, error: 0.0 }; count];
    }
    match estimate {
        Estimate::BradleyTerry => bradley_terry(count, compared),
        Estimate::MeanWins => mean_wins(count, compared),
    }
}

fn mean_wins(count: usize, compared: &[Comparison]) -> Vec<Share> {
    let mut sums = vec![(0.0, 0.0); count];
    for Comparison { first, second, outcome } in compared {
        for (reply, won) in [(first, *outcome), (second, 1.0 - outcome)] {
            if let Some((wins, games)) = sums.get_mut(*reply) {
                *wins += won;
                *games += 1.0;
            }
        }
    }
    let share = |(wins, games): (f64, f64)| {
        let value = if games > 0.0 { wins / games } else { 0.5 };
        let (a, b) = (wins + 0.5, games - wins + 0.5);
        let error = (a * b / ((a + b).powi(2) * (a + b + 1.0))).sqrt();
        Share { value: value.clamp(0.0, 1.0), error }
    };
    sums.into_iter().map(share).collect()
}

fn bradley_terry(count: usize, compared: &[Comparison]) -> Vec<Share> {
    let strengths = strengths(count, compared);
    let curvature = Cholesky::of(curvature(&strengths, compared), count);
    let others = others(count);
    let share = |reply: usize| {
        let mut gradient = vec![0.0; count];
        let mut value = 0.0;
        for other in (0..count).filter(|other| *other != reply) {
            let chance = logistic(at(&strengths, reply) - at(&strengths, other));
            value += chance / others;
            let slope = chance * (1.0 - chance) / others;
            add(&mut gradient, other, -slope);
            add(&mut gradient, reply, slope);
        }
        // The variance of a linear function: its gradient times the covariance, twice.
        let variance = curvature.inverse_form(&gradient);
        // No number between 0 and 1 has a greater deviation than a half.
        let error = variance.max(0.0).sqrt().min(0.5);
        Share { value: value.clamp(0.0, 1.0), error }
    };
    (0..count).map(share).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a group has far fewer than 2^53 replies")]
fn others(count: usize) -> f64 {
    count.saturating_sub(1).max(1) as f64
}

/// The strengths with the greatest posterior density.
fn strengths(count: usize, compared: &[Comparison]) -> Vec<f64> {
    let mut strengths = vec![0.0; count];
    let mut density = log_density(&strengths, compared);
    for _ in 0..MOST_STEPS {
        let gradient = gradient(&strengths, compared);
        let step = Cholesky::of(curvature(&strengths, compared), count).solve(&gradient);
        // The density is concave: a step that is short enough always raises it.
        let mut scale = 1.0;
        let (next, raised) = loop {
            let next: Vec<f64> = strengths.iter().zip(&step).map(|(s, d)| s + scale * d).collect();
            let raised = log_density(&next, compared);
            if raised >= density || scale < 1e-9 {
                break (next, raised);
            }
            scale *= 0.5;
        };
        let moved = step.iter().fold(0.0_f64, |most, one| most.max(one.abs())) * scale;
        (strengths, density) = (next, raised);
        if moved < 1e-10 {
            break;
        }
    }
    strengths
}

const PRECISION: f64 = 1.0 / (PRIOR_DEVIATION * PRIOR_DEVIATION);

fn log_density(strengths: &[f64], compared: &[Comparison]) -> f64 {
    let prior: f64 = strengths.iter().map(|one| one * one).sum::<f64>() * PRECISION / 2.0;
    let likelihood = |one: &Comparison| {
        let difference = at(strengths, one.first) - at(strengths, one.second);
        one.outcome * log_logistic(difference) + (1.0 - one.outcome) * log_logistic(-difference)
    };
    compared.iter().map(likelihood).sum::<f64>() - prior
}

fn gradient(strengths: &[f64], compared: &[Comparison]) -> Vec<f64> {
    let mut gradient: Vec<f64> = strengths.iter().map(|one| -one * PRECISION).collect();
    for Comparison { first, second, outcome } in compared {
        let expected = logistic(at(strengths, *first) - at(strengths, *second));
        add(&mut gradient, *first, outcome - expected);
        add(&mut gradient, *second, expected - outcome);
    }
    gradient
}

/// The negative second derivatives of the density, by rows.
fn curvature(strengths: &[f64], compared: &[Comparison]) -> Vec<f64> {
    let count = strengths.len();
    let mut matrix = vec![0.0; count * count];
    for reply in 0..count {
        add(&mut matrix, reply * count + reply, PRECISION);
    }
    for Comparison { first, second, .. } in compared {
        let chance = logistic(at(strengths, *first) - at(strengths, *second));
        let weight = chance * (1.0 - chance);
        add(&mut matrix, first * count + first, weight);
        add(&mut matrix, second * count + second, weight);
        add(&mut matrix, first * count + second, -weight);
        add(&mut matrix, second * count + first, -weight);
    }
    matrix
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn log_logistic(x: f64) -> f64 {
    if x > 0.0 { -(-x).exp().ln_1p() } else { x - x.exp().ln_1p() }
}

fn at(numbers: &[f64], index: usize) -> f64 {
    numbers.get(index).copied().unwrap_or_default()
}

fn add(numbers: &mut [f64], index: usize, number: f64) {
    if let Some(own) = numbers.get_mut(index) {
        *own += number;
    }
}

/// A positive definite matrix as the product of a lower triangle and its transpose.
struct Cholesky {
    /// By rows.
    lower: Vec<f64>,
    count: usize,
}

impl Cholesky {
    /// The factors of `matrix`, whose eigenvalues are at least [`PRECISION`].
    fn of(matrix: Vec<f64>, count: usize) -> Self {
        let mut lower = matrix;
        for row in 0..count {
            for column in 0..=row {
                let mut sum = at(&lower, row * count + column);
                for before in 0..column {
                    sum -= at(&lower, row * count + before) * at(&lower, column * count + before);
                }
                let value = if row == column {
                    sum.max(f64::MIN_POSITIVE).sqrt()
                } else {
                    sum / at(&lower, column * count + column)
                };
                if let Some(own) = lower.get_mut(row * count + column) {
                    *own = value;
                }
            }
        }
        Self { lower, count }
    }

    /// The solution `y` of `L y = b`.
    fn forward(&self, b: &[f64]) -> Vec<f64> {
        let mut solved = Vec::with_capacity(self.count);
        for row in 0..self.count {
            let known: f64 = solved.iter().zip(self.row(row)).map(|(y, l): (&f64, _)| y * l).sum();
            solved.push((at(b, row) - known) / at(self.row(row), row));
        }
        solved
    }

    /// The solution `x` of `L L' x = b`.
    fn solve(&self, b: &[f64]) -> Vec<f64> {
        let mut solved = self.forward(b);
        for row in (0..self.count).rev() {
            let value = at(&solved, row) / at(self.row(row), row);
            if let Some(own) = solved.get_mut(row) {
                *own = value;
            }
            for before in 0..row {
                add(&mut solved, before, -at(self.row(row), before) * value);
            }
        }
        solved
    }

    /// The product of `b`, the inverse of the matrix, and `b`.
    fn inverse_form(&self, b: &[f64]) -> f64 {
        self.forward(b).iter().map(|one| one * one).sum()
    }

    fn row(&self, row: usize) -> &[f64] {
        self.lower.get(row * self.count..(row + 1) * self.count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ESTIMATES: [Estimate; 2] = [Estimate::BradleyTerry, Estimate::MeanWins];

    fn compared(first: usize, second: usize, outcome: f64) -> Comparison {
        Comparison { first, second, outcome }
    }

    /// Every pair of `count` replies with these outcomes.
    fn all_pairs(count: usize, outcome: impl Fn(usize, usize) -> f64) -> Vec<Comparison> {
        let pairs =
            (0..count).flat_map(|first| (first + 1..count).map(move |second| (first, second)));
        pairs.map(|(first, second)| compared(first, second, outcome(first, second))).collect()
    }

    fn values(shares: &[Share]) -> Vec<f64> {
        shares.iter().map(|share| share.value).collect()
    }

    #[test]
    fn two_replies_have_the_strengths_of_the_closed_form() {
        // The posterior of the difference d has its maximum at 1 - logistic(d) = d / (2 * 4).
        let strengths = strengths(2, &[compared(0, 1, 1.0)]);
        let difference = strengths[0] - strengths[1];
        assert!((1.0 - logistic(difference) - difference * PRECISION / 2.0).abs() < 1e-9);
        assert!((strengths[0] + strengths[1]).abs() < 1e-9);
    }

    #[test]
    fn nothing_compared_is_a_half_with_a_large_error() {
        for estimate in ESTIMATES {
            assert_eq!(values(&shares(1, &[], estimate)), [0.5]);
            assert_eq!(shares(0, &[], estimate), []);
            let unknown = shares(3, &[], estimate);
            let known = shares(3, &all_pairs(3, |_, _| 0.5), estimate);
            for (unknown, known) in unknown.iter().zip(&known) {
                assert!((unknown.value - 0.5).abs() < 1e-12 && (known.value - 0.5).abs() < 1e-12);
                assert!(unknown.error > known.error && known.error > 0.0);
            }
        }
    }

    /// A number between 0 and 1 from a seed.
    fn uniform(state: &mut u64) -> f64 {
        let digits = u32::try_from(crate::rubric::order::below(1 << 30, state)).unwrap();
        (f64::from(digits) + 0.5) / f64::from(1_u32 << 30)
    }

    proptest! {
        /// The names of the replies do not matter.
        #[test]
        fn a_permutation_permutes_the_shares(
            outcomes in prop::collection::vec(0..5_u8, 28),
            seed in any::<u32>(),
        ) {
            let order = crate::rubric::order::shuffled(8, "x", seed);
            let pairs = all_pairs(8, |first, second| f64::from(outcomes[(first * 7 + second) % 28]) / 4.0);
            let renamed: Vec<Comparison> = pairs
                .iter()
                .map(|one| compared(order[one.first], order[one.second], one.outcome))
                .collect();
            for estimate in ESTIMATES {
                let (own, other) = (shares(8, &pairs, estimate), shares(8, &renamed, estimate));
                for reply in 0..8 {
                    let (own, other) = (own[reply], other[order[reply]]);
                    prop_assert!((own.value - other.value).abs() < 1e-7, "{:?} {:?}", own, other);
                    prop_assert!((own.error - other.error).abs() < 1e-7);
                }
            }
        }

        /// Shares and errors are finite and within bounds, whatever was compared.
        #[test]
        fn shares_are_within_bounds(
            pairs in prop::collection::vec((0..12_usize, 0..12_usize, 0.0..=1.0_f64), 0..120),
        ) {
            let pairs: Vec<Comparison> = pairs
                .into_iter()
                .filter(|(first, second, _)| first != second)
                .map(|(first, second, outcome)| compared(first, second, outcome))
                .collect();
            for estimate in ESTIMATES {
                for share in shares(12, &pairs, estimate) {
                    prop_assert!((0.0..=1.0).contains(&share.value), "{:?}", share);
                    prop_assert!(share.error > 0.0 && share.error <= 0.5, "{:?}", share);
                }
            }
        }

        /// A reply that wins against every other one has the larger share; the mean of all shares is a half.
        #[test]
        fn winners_have_more_and_the_mean_is_a_half(count in 2..20_usize) {
            let pairs = all_pairs(count, |_, _| 1.0);
            for estimate in ESTIMATES {
                let values = values(&shares(count, &pairs, estimate));
                prop_assert!(values.windows(2).all(|two| two[0] > two[1]), "{:?}", values);
                let mean = values.iter().sum::<f64>() / others(count + 1);
                prop_assert!((mean - 0.5).abs() < 1e-9);
            }
        }

    }

    /// A judge whose choices follow the model with known strengths: the order is recovered well
    /// above chance, and two standard errors hold most true shares.
    #[test]
    fn a_known_order_is_recovered_under_noise() {
        let (runs, count, mut state) = (100, 12, 7);
        // Neighbours are 0.6 apart, so they are told apart in 65 % of the comparisons.
        let truth: Vec<f64> = (0..12_u8).map(|place| 0.6 * (5.5 - f64::from(place))).collect();
        let true_share = |reply: usize| {
            let others_of = (0..count).filter(|other| *other != reply);
            let chances = others_of.map(|other| logistic(truth[reply] - truth[other]));
            chances.sum::<f64>() / others(count)
        };
        let (mut right, mut covered) = (0, 0);
        for _ in 0..runs {
            let draws: Vec<f64> = (0..count * count).map(|_| uniform(&mut state)).collect();
            let pairs = all_pairs(count, |first, second| {
                let chance = logistic(truth[first] - truth[second]);
                f64::from(u8::from(draws[first * count + second] < chance))
            });
            let shares = shares(count, &pairs, Estimate::BradleyTerry);
            let ordered = |one: &&Comparison| shares[one.first].value > shares[one.second].value;
            right += all_pairs(count, |_, _| 0.0).iter().filter(ordered).count();
            let distance = |reply: usize| (shares[reply].value - true_share(reply)).abs();
            covered += (0..count).filter(|one| distance(*one) <= 2.0 * shares[*one].error).count();
        }
        // By chance a half would be right.
        assert!(right > runs * 66 * 8 / 10, "{right} of {}", runs * 66);
        assert!(covered > runs * count * 9 / 10, "{covered} of {}", runs * count);
    }
}
