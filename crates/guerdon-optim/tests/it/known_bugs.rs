//! Bugs of other trainers: each is reproduced next to the definition, on a batch for which the two
//! differ. Our result must agree with the definition and differ from the bug.
//!
//! The doc comments name the issue, as `owner/repository#number`.

use guerdon_optim::{
    Aggregation, ClipRange, Estimator, GaeBatch, GaeConfig, GroupBatch, GroupConfig, KlBatch,
    KlConfig, KlGradient, KlRewardConfig, Lambda, LogitsBatch, Normaliser, PolicyBatch,
    PolicyConfig, PpoConfig, RewardPart, RowMask, Surrogate, WhitenConfig, advantages, gae, gdpo,
    kl_penalty, moments, policy_loss, ppo_loss, returns_to_go, spread, standardise,
    token_advantages, token_logp, token_rewards, whiten,
};

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-9 * b.abs().max(1.0))
}

/// Asserts that `ours` equals `definition` and differs from `bug`, which may be NaN.
#[track_caller]
fn assert_not_affected(ours: &[f64], definition: &[f64], bug: &[f64]) {
    assert!(close(ours, definition), "ours {ours:?}, the definition {definition:?}");
    assert!(
        !close(ours, bug),
        "the batch does not distinguish the bug from the definition: {bug:?}"
    );
}

fn estimate(
    mask: RowMask<'_>,
    rewards: &[f64],
    values: &[f64],
    gamma: f64,
    lambda: f64,
) -> Vec<f64> {
    let (mut advantages, mut returns) = (vec![0.0; rewards.len()], vec![0.0; rewards.len()]);
    let config = GaeConfig { gamma, lambda: Lambda::Constant(lambda), ..GaeConfig::default() };
    gae(&config, &GaeBatch::new(mask, rewards, values), &mut advantages, &mut returns).unwrap();
    advantages
}

/// GAE over one row, given each token's next value.
fn by_hand(rewards: &[f64], values: &[f64], next: &[f64], gamma: f64, lambda: f64) -> Vec<f64> {
    let mut carry = 0.0;
    let mut out: Vec<f64> = (0..rewards.len())
        .rev()
        .map(|at| {
            carry = rewards[at] + gamma * next[at] - values[at] + gamma * lambda * carry;
            carry
        })
        .collect();
    out.reverse();
    out
}

/// alibaba/ROLL#447: the critic's value of a padded slot bootstrapped the last token.
#[test]
fn padded_values_do_not_bootstrap() {
    let mask = RowMask::lens(&[2], 3).unwrap();
    let (rewards, values) = ([0.0, 1.0, 0.0], [0.5, -0.5, 100.0]);
    let ours = estimate(mask, &rewards, &values, 1.0, 0.95);
    let with = |last| by_hand(&rewards[..2], &values[..2], &[-0.5, last], 1.0, 0.95);
    assert_not_affected(&ours[..2], &with(0.0), &with(100.0));
}

/// radixark/miles#1827: the rollout's reward was placed on the last slot, and was lost if that slot
/// was padding.
#[test]
fn reward_is_placed_on_the_last_valid_token() {
    let mask = RowMask::bytes(&[1, 1, 0], 1, 3).unwrap();
    let mut ours = [9.0; 3];
    let kl = KlBatch::new(mask, &[-1.0; 3], &[-1.0; 3]);
    token_rewards(&KlRewardConfig::default(), &kl, &[2.0], &mut ours).unwrap();
    assert_not_affected(&ours, &[0.0, 2.0, 0.0], &[0.0, 0.0, 2.0]);
}

/// volcengine/verl#1960, #1758, #1850, #50: the values were those after the token, not before it.
#[test]
fn values_precede_their_tokens() {
    let (rewards, values) = ([0.0, 0.0, 1.0], [0.2, 0.4, 0.7]);
    let ours = estimate(RowMask::full(1, 3), &rewards, &values, 0.9, 0.8);
    let right = by_hand(&rewards, &values, &[0.4, 0.7, 0.0], 0.9, 0.8);
    assert_not_affected(
        &ours,
        &right,
        &by_hand(&rewards, &[0.4, 0.7, 0.0], &[0.7, 0.0, 0.0], 0.9, 0.8),
    );
}

/// volcengine/verl#2337: observations were discounted like the policy's own tokens.
#[test]
fn observations_are_not_discount_steps() {
    let mask = RowMask::bytes(&[1, 0, 0, 1], 1, 4).unwrap();
    let (rewards, values) = ([0.0, 0.0, 0.0, 1.0], [0.1, 0.3, 0.2, 0.4]);
    let ours = estimate(mask, &rewards, &values, 0.9, 0.8);
    let right = by_hand(&[0.0, 1.0], &[0.1, 0.4], &[0.4, 0.0], 0.9, 0.8);
    let bug = by_hand(&rewards, &values, &[0.3, 0.2, 0.4, 0.0], 0.9, 0.8);
    assert_not_affected(&[ours[0], ours[3]], &right, &[bug[0], bug[3]]);
}

/// OpenRLHF/OpenRLHF#1240, volcengine/verl#6361: padding was multiplied by 0, and NaN * 0 is
/// NaN.
#[test]
fn nan_padding_does_not_affect_the_mean() {
    let (values, valid) = ([1.0, 3.0, f64::NAN], [1.0, 1.0, 0.0]);
    let mask = RowMask::lens(&[2], 3).unwrap();
    let bug: f64 = values.iter().zip(valid).map(|(value, valid)| value * valid).sum();
    assert_not_affected(&[moments(&mask, &values).unwrap().mean], &[2.0], &[bug / 2.0]);
}

fn group(estimator: Estimator, mask: RowMask<'_>, rewards: &[f64]) -> Vec<f64> {
    let mut out = vec![9.0; mask.slots()];
    let config = GroupConfig { estimator, ..GroupConfig::default() };
    let groups = vec![0; rewards.len()];
    token_advantages(&config, &GroupBatch::new(mask, rewards, &groups), &mut out).unwrap();
    out
}

/// OpenRLHF/OpenRLHF#1239: a sibling without tokens changed the baseline: the advantage of a
/// rollout with reward 1 became -49.5.
#[test]
fn empty_sibling_does_not_affect_the_baseline() {
    let mask = RowMask::lens(&[0, 1, 1], 1).unwrap();
    let mean = 103.0 / 3.0;
    let ours = group(Estimator::DrGrpo, mask, &[100.0, 1.0, 2.0]);
    assert_not_affected(&ours[1..], &[-0.5, 0.5], &[1.0 - mean, 2.0 - mean]);
}

/// NVIDIA-NeMo/RL#4158, #1423: `E[x^2] - mean^2` cancels.
#[test]
fn variance_does_not_cancel() {
    let values = [4096.0_f32, 4096.25, 4096.5];
    let n = 3.0_f32;
    let mean = values.iter().sum::<f32>() / n;
    let bug = (values.iter().map(|x| x * x).sum::<f32>() / n - mean * mean) * n / (n - 1.0);
    let ours = moments(&RowMask::full(1, 3), &values).unwrap().variance;
    assert_not_affected(&[ours], &[0.0625], &[f64::from(bug)]);
}

/// huggingface/trl#5773, #3857: one reward that is NaN, or equal ones, made the whole group
/// NaN.
#[test]
fn nan_or_equal_rewards_do_not_make_the_group_nan() {
    let ours = group(Estimator::DrGrpo, RowMask::full(3, 1), &[1.0, f64::NAN, 2.0]);
    assert_not_affected(&ours, &[-0.5, 0.0, 0.5], &[f64::NAN; 3]);
    let equal = advantages(Estimator::Grpo, &[Some(2.0); 3], &[0; 3]).unwrap();
    assert_not_affected(
        &equal.into_iter().flatten().collect::<Vec<_>>(),
        &[0.0; 3],
        &[0.0 / f64::from(0_u8); 3],
    );
}

/// The loss of rows of advantage 1 and on-policy log-probs: minus the sum of weights.
fn loss(lens: &[usize], width: usize, aggregation: Aggregation, norm: Option<Normaliser>) -> f64 {
    let mask = RowMask::lens(lens, width).unwrap();
    let (logp, ones) = (vec![-1.0; mask.slots()], vec![1.0; mask.slots()]);
    let config = PolicyConfig { aggregation, ..PolicyConfig::default() };
    let mut batch = PolicyBatch::new(mask, &logp, &logp, &ones);
    if let Some(norm) = norm {
        batch = batch.with_normaliser(norm);
    }
    policy_loss(&config, &batch, &mut vec![0.0; mask.slots()]).unwrap().loss
}

/// volcengine/verl#5625, #7200, #7321, #906: every micro-batch divided by its own number of
/// tokens.
#[test]
fn micro_batches_use_the_divisor_of_the_batch() {
    let whole = Normaliser::of(&RowMask::lens(&[4, 1], 4).unwrap());
    let part = |len, norm| loss(&[len], 4, Aggregation::TokenMean, norm);
    let ours = part(4, Some(whole)) + part(1, Some(whole));
    assert_not_affected(&[ours], &[-1.0], &[part(4, None) + part(1, None)]);
}

/// volcengine/verl#5366, #3741: Dr. GRPO divides by a constant, not by the length of the row.
#[test]
fn dr_grpo_divides_rows_by_a_constant() {
    let ours = loss(&[4, 1], 8, Aggregation::SeqMeanTokenSumNorm, None);
    assert_not_affected(&[ours], &[-5.0 / (2.0 * 8.0)], &[-(4.0 / 4.0 + 1.0) / 2.0]);
}

/// huggingface/trl#3138, #3256, #2995, #3187: rows had equal weights where tokens should have equal
/// weights.
#[test]
fn token_mean_weights_all_tokens_equally() {
    let mask = RowMask::lens(&[4, 1], 4).unwrap();
    let mut ours = [9.0; 8];
    Aggregation::TokenMean.weights(&mask, None, &mut ours).unwrap();
    assert_not_affected(&[ours[0], ours[4]], &[0.2, 0.2], &[1.0 / 8.0, 1.0 / 2.0]);
    Aggregation::SeqMeanTokenMean.weights(&mask, None, &mut ours).unwrap();
    assert_not_affected(&[ours[0], ours[4]], &[1.0 / 8.0, 1.0 / 2.0], &[0.2, 0.2]);
}

/// volcengine/verl#6497: GDPO whitened over tokens, so that a long answer counts more in the
/// mean.
#[test]
fn standardise_weights_all_rollouts_equally() {
    let mut ours = [Some(1.0), Some(3.0), Some(4.0)];
    standardise(&mut ours, 0.0);
    let variance = 7.0 / 3.0_f64;
    let right = [1.0, 3.0, 4.0].map(|x| (x - 8.0 / 3.0) / variance.sqrt());
    let mask = RowMask::lens(&[5, 1, 1], 5).unwrap();
    let mut tokens = [0.0; 15];
    spread(&mask, &[Some(1.0), Some(3.0), Some(4.0)], &mut tokens).unwrap();
    whiten(&WhitenConfig::default(), &mask, &mut tokens).unwrap();
    assert_not_affected(&ours.map(Option::unwrap), &right, &[tokens[0], tokens[5], tokens[10]]);
}

/// NovaSky-AI/SkyRL#2104: a group whose summed rewards are equal was dropped, although its
/// parts differ.
#[test]
fn gdpo_compares_parts_before_adding_them() {
    let (rm, judge) = ([Some(1.0), Some(0.0)], [Some(0.0), Some(1.0)]);
    let parts =
        [RewardPart { weight: 2.0, rewards: &rm }, RewardPart { weight: 1.0, rewards: &judge }];
    let config = GroupConfig { estimator: Estimator::DrGrpo, ..GroupConfig::default() };
    let ours = gdpo(&config, &parts, &[0, 0]).unwrap();
    assert_not_affected(&ours.into_iter().flatten().collect::<Vec<_>>(), &[0.5, -0.5], &[0.0, 0.0]);
}

/// NovaSky-AI/SkyRL#1305: the mean counted padding, the variance did not.
#[test]
fn whitening_mean_ignores_padding() {
    let mask = RowMask::lens(&[2], 4).unwrap();
    let mut ours = [1.0, 3.0, 0.0, 0.0];
    whiten(&WhitenConfig { eps: 1e-300, ..WhitenConfig::default() }, &mask, &mut ours).unwrap();
    let std = 2.0_f64.sqrt();
    assert_not_affected(&ours[..2], &[-1.0 / std, 1.0 / std], &[0.0, 2.0 / std]);
}

fn slopes(gradient: KlGradient) -> Vec<f64> {
    let (mut kl, mut slope) = ([9.0; 2], [9.0; 2]);
    let batch = KlBatch::new(RowMask::full(1, 2), &[-1.0, -2.0], &[-1.5, -1.0]);
    kl_penalty(&KlConfig { gradient, ..KlConfig::default() }, &batch, &mut kl, &mut slope).unwrap();
    slope.to_vec()
}

/// NVIDIA-NeMo/RL#2506, huggingface/trl#4967, #4638, #6503, THUDM/slime#1004: the derivative of
/// `k1` is 1 for every policy, so it has no effect as a loss.
#[test]
fn straight_through_kl_gradient_depends_on_the_log_ratio() {
    assert_not_affected(
        &slopes(KlGradient::StraightThrough),
        &[0.5, -1.0],
        &slopes(KlGradient::Formula),
    );
}

/// huggingface/trl#1161, #1180: `k3` was reported although `k1` was charged. #1005: `k1` is
/// negative half of the time.
#[test]
fn reported_kl_is_the_charged_kl() {
    let kl = KlBatch::new(RowMask::full(1, 2), &[-2.0, -1.0], &[-1.0, -1.5]);
    let mut out = [9.0; 2];
    let report = token_rewards(&KlRewardConfig::default(), &kl, &[0.0], &mut out).unwrap();
    let k3 = |d: f64| (-d).exp() - 1.0 + d;
    assert_not_affected(&[report.token_mean], &[-0.25], &[(k3(-1.0) + k3(0.5)) / 2.0]);
    assert!(close(&out, &[0.05, -0.025]));
}

/// rllm-org/rllm#81: clip-higher was read, but the lower range was used on both sides.
#[test]
fn clip_higher_limits_the_upper_side() {
    let config = PpoConfig { clip_low: 0.2, clip_high: 0.4, ..PpoConfig::default() };
    let (logp, mut slope) = ([1.5_f64.ln()], [9.0]);
    let batch = PolicyBatch::new(RowMask::full(1, 1), &logp, &[0.0], &[1.0]);
    assert_not_affected(&[ppo_loss(&config, &batch, &mut slope).unwrap().loss], &[-1.4], &[-1.2]);
}

/// radixark/miles#1383: returns ran across the end of a row.
#[test]
fn returns_do_not_leak_into_the_previous_row() {
    let mut ours = [9.0; 4];
    returns_to_go(1.0, &RowMask::full(2, 2), &[1.0, 2.0, 4.0, 8.0], &mut ours).unwrap();
    assert_not_affected(&ours, &[3.0, 2.0, 12.0, 8.0], &[15.0, 14.0, 12.0, 8.0]);
}

/// areal-project/AReaL#1346: the mean log-ratio of a row counted its padding.
#[test]
fn sequence_ratio_ignores_padding() {
    let mask = RowMask::lens(&[1], 2).unwrap();
    let surrogate = Surrogate::Gspo { clip: ClipRange::default() };
    let config = PolicyConfig { surrogate, ..PolicyConfig::default() };
    let batch = PolicyBatch::new(mask, &[-0.9, 0.0], &[-1.0, 0.0], &[1.0; 2]);
    let ours = policy_loss(&config, &batch, &mut [0.0; 2]).unwrap().loss;
    assert_not_affected(&[ours], &[-0.1_f64.exp()], &[-0.05_f64.exp()]);
}

/// allenai/open-instruct#756: the entropy of padding was part of the mean.
#[test]
fn entropy_ignores_padding() {
    let (logits, mut logp, mut entropy) = ([0.0, 0.0, 0.0, 9.0], [9.0; 2], [9.0; 2]);
    let ln_2 = 2.0_f64.ln();
    let batch = LogitsBatch::new(&logits, &[0, 0], 2);
    token_logp(&batch, &mut logp, &mut entropy).unwrap();
    let bug = entropy[0] + entropy[1];
    token_logp(&batch.with_valid(&[1, 0]), &mut logp, &mut entropy).unwrap();
    assert_not_affected(&[entropy[0] + entropy[1]], &[ln_2], &[bug]);
}

/// OpenRLHF/OpenRLHF#1319: log-probs used the sampling temperature, but the entropy used 1.
#[test]
fn entropy_uses_the_sampling_temperature() {
    let (mut logp, mut entropy) = ([9.0], [9.0]);
    let batch = LogitsBatch::new(&[0.0, 2.0], &[1], 2);
    let of = |z: f64| {
        let p = (1.0 + z.exp()).recip();
        -p * p.ln() - (1.0 - p) * (1.0 - p).ln()
    };
    token_logp(&batch.with_temperature(2.0), &mut logp, &mut entropy).unwrap();
    assert_not_affected(&entropy, &[of(1.0)], &[of(2.0)]);
}
