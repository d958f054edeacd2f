//! Batches of many blocks: repeating the rollouts does not change the means, and a NaN in any block
//! is reported.

use guerdon_optim::{
    ClipRange, GaeBatch, GaeConfig, KlBatch, KlRewardConfig, OptimError, PolicyBatch, PolicyConfig,
    RowMask, Surrogate, ValueBatch, ValueConfig, gae, moments, policy_loss, returns_to_go,
    token_rewards, value_loss,
};

const LENS: [usize; 8] = [257, 1, 64, 0, 200, 65, 129, 256];
const WIDTH: usize = 257;
/// Repetitions; the batch has many blocks.
const TILES: usize = 12;

/// The same numbers for every repetition.
fn slots(tiles: usize, seed: f64) -> Vec<f64> {
    (0..tiles * LENS.len() * WIDTH)
        .map(|at| ((at % (LENS.len() * WIDTH)) as f64 * seed).sin() - 0.5)
        .collect()
}

fn close(name: &str, one: f64, many: f64) {
    assert!(
        (one - many).abs() <= 1e-12 * one.abs().max(1.0),
        "{name}: {one} of one, {many} of many"
    );
}

/// The figures of every stage for this number of repetitions.
fn means(tiles: usize) -> Vec<(&'static str, f64)> {
    let lens = LENS.repeat(tiles);
    let mask = RowMask::lens(&lens, WIDTH).unwrap();
    let [logp, old, advantages, values] = [0.7, 1.3, 2.9, 0.31].map(|seed| slots(tiles, seed));
    let mut out = vec![0.0; mask.slots()];

    let clip = ClipRange { low: 0.2, high: 0.3 };
    let config = PolicyConfig {
        surrogate: Surrogate::Ppo { clip, dual: Some(1.1) },
        ..PolicyConfig::default()
    };
    let policy =
        policy_loss(&config, &PolicyBatch::new(mask, &logp, &old, &advantages), &mut out).unwrap();
    let config = ValueConfig { clip: Some(0.4), ..ValueConfig::default() };
    let value =
        value_loss(&config, &ValueBatch::new(mask, &values, &old, &advantages), &mut out).unwrap();
    let rewards: Vec<f64> = (0..lens.len()).map(|row| (row % LENS.len()) as f64).collect();
    let kl = token_rewards(
        &KlRewardConfig::default(),
        &KlBatch::new(mask, &logp, &old),
        &rewards,
        &mut out,
    )
    .unwrap();
    let spread = moments(&mask, &values).unwrap();
    let tiled = tiles as f64;
    assert_eq!(policy.tokens, tiles * LENS.iter().sum::<usize>());
    assert_eq!(value.tokens, policy.tokens);
    vec![
        ("policy loss", policy.loss),
        ("clip fraction", policy.clip_fraction),
        ("dual clip fraction", policy.dual_clip_fraction),
        ("approximate KL", policy.approx_kl),
        ("approximate KL, k3", policy.approx_kl_k3),
        ("greatest ratio", policy.max_ratio),
        ("value loss", value.loss),
        ("value clip fraction", value.clip_fraction),
        ("mean error", value.mean_error),
        ("explained variance", value.explained_variance),
        ("KL a token", kl.token_mean),
        ("KL a row", kl.row_mean),
        ("rows without a place", kl.unplaced as f64 / tiled),
        ("mean", spread.mean),
        ("squares", spread.variance * (spread.tokens as f64 - 1.0) / tiled),
    ]
}

#[test]
fn repeating_the_rollouts_does_not_change_the_means() {
    for ((name, one), (_, many)) in means(1).into_iter().zip(means(TILES)) {
        // A share of 0 would be the same even if it were wrong.
        assert!(one != 0.0, "{name} is 0");
        close(name, one, many);
    }
}

#[test]
fn a_nan_in_any_block_is_reported() {
    let lens = LENS.repeat(TILES);
    let mask = RowMask::lens(&lens, WIDTH).unwrap();
    let values = slots(TILES, 0.31);
    let mut out = [vec![0.0; mask.slots()], vec![0.0; mask.slots()]];
    for row in [0, 4, TILES * LENS.len() / 2, TILES * LENS.len() - 1] {
        let mut rewards = slots(TILES, 0.7);
        rewards[row * WIDTH + lens[row] - 1] = f64::NAN;
        let named = |error: OptimError| matches!(error, OptimError::NonFinite { row: found, .. } if found == row);
        let [first, second] = &mut out;
        assert!(named(returns_to_go(0.9, &mask, &rewards, first).unwrap_err()));
        let config = GaeConfig { value_lambda: Some(0.5), ..GaeConfig::default() };
        for batch in
            [GaeBatch::new(mask, &rewards, &values), GaeBatch::new(mask, &values, &rewards)]
        {
            assert!(named(gae(&config, &batch, first, second).unwrap_err()));
            assert!(named(gae(&GaeConfig::default(), &batch, first, second).unwrap_err()));
        }
        assert!(named(moments(&mask, &rewards).unwrap_err()));
    }
}
