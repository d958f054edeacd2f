//! Resumed runs equal uninterrupted ones.

use std::path::Path;

use guerdon_tests::Server;
use guerdon_training_example::checkpoint::{Base, RunFolder};
use guerdon_training_example::metrics::MetricsRow;
use guerdon_training_example::policy::{DecoderConfig, Trunk};
use guerdon_training_example::rl::{Arm, RlSettings, train};
use guerdon_training_example::scene::{DataSplit, Scene};
use guerdon_training_example::score::connect;
use guerdon_training_example::sft;
use guerdon_training_example::tokens::DialogueTokenizer;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const SETTINGS: RlSettings = RlSettings {
    arm: Arm::Repo,
    seed: 7,
    updates: 4,
    prompts: 3,
    group: 2,
    epochs: 2,
    rate: 1e-2,
    kl: None,
    temperature: 1.0,
    limit: 6,
    look_every: 2,
    held_out: 4,
    save_every: 1,
    // An untrained policy has no fluency to guard; tests/it/guard.rs has the guard.
    fluency_quantile: 0.0,
    ..RlSettings::of(Arm::Repo)
};

/// An untrained policy.
pub(crate) fn untrained() -> Base {
    let mut rng = StdRng::seed_from_u64(1);
    let pairs: Vec<_> = (0..50)
        .map(|_| {
            let scene = Scene::draw(&mut rng, DataSplit::Train);
            let reply = scene.imitate(&mut rng, 0.5);
            (scene, reply)
        })
        .collect();
    let tokens = DialogueTokenizer::train(&pairs, 400).unwrap();
    let config = DecoderConfig {
        vocabulary: tokens.size(),
        width: 16,
        key_heads: 2,
        ..DecoderConfig::small(0)
    };
    let config = DecoderConfig { layers: 1, heads: 2, inner: 16, ..config };
    let weights = config.draw(&mut rng).unwrap();
    Base { tokens, config, weights, gguf: None, trunk: Trunk::new() }
}

/// The figures of a run, without times and without the trends of monitors, which start anew with
/// the process.
fn figures(folder: &Path) -> Vec<MetricsRow> {
    let mut rows = RunFolder(folder.to_owned()).rows().unwrap();
    for row in &mut rows {
        row.figures.retain(|name, _| !name.starts_with("seconds/") && !name.ends_with("/drift"));
        row.figures.remove("reward/rm_up_judge_down");
    }
    rows
}

/// The weights of a run's checkpoint.
fn weights(run: &RunFolder) -> Vec<(String, Vec<f32>)> {
    let weights = run.weights(run.state().unwrap().unwrap()).unwrap();
    let numbers = |(name, var): (&str, &candle_core::Var)| {
        (name.to_owned(), var.flatten_all().unwrap().to_vec1::<f32>().unwrap())
    };
    weights.iter().map(numbers).collect()
}

#[test]
fn imitation_resumed_from_a_checkpoint_gives_the_same_policy() {
    let settings = sft::SftSettings {
        seed: 3,
        steps: 22,
        batch: 1,
        rate: 2e-3,
        flawed: 0.4,
        vocabulary: 400,
        save_every: 10,
    };
    let folder = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| RunFolder(folder.path().join(name)));
    let base = sft::train(&settings, &whole.0, &mut |_| {}).unwrap();

    let killed = std::panic::catch_unwind(|| {
        sft::train(&settings, &parts.0, &mut |line| {
            assert!(!line.starts_with("step    20"), "killed")
        })
    });
    assert!(killed.is_err());
    assert_eq!(parts.state().unwrap().unwrap().update, 20);
    sft::train(&settings, &parts.0, &mut |_| {}).unwrap();
    assert_eq!(weights(&whole), weights(&parts));
    assert_eq!(
        parts.rows().unwrap().iter().map(|row| row.update).collect::<Vec<_>>(),
        (1..=22).collect::<Vec<_>>()
    );
    assert_eq!(base.weights.count(), Base::load(&parts.0).unwrap().weights.count());

    let other = sft::SftSettings { rate: 1e-3, ..settings };
    let error = sft::train(&other, &parts.0, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("other settings"), "{error}");
}

#[tokio::test]
async fn a_resumed_run_gives_the_same_figures_and_policy() {
    let server = Server::new().await;
    let client = connect(&server.url, None).await.unwrap();
    let (base, folder) = (untrained(), tempfile::tempdir().unwrap());
    let [whole, parts] = ["whole", "parts"].map(|name| RunFolder(folder.path().join(name)));
    let mut lines = Vec::new();
    let mut log = |line: &str| lines.push(line.to_owned());

    train(&whole, &base, &SETTINGS, &client, &mut log).await.unwrap();
    train(&parts, &base, &RlSettings { updates: 2, ..SETTINGS }, &client, &mut log).await.unwrap();
    assert_eq!(parts.state().unwrap().unwrap().update, 2);
    train(&parts, &base, &SETTINGS, &client, &mut log).await.unwrap();

    let rows = figures(&whole.0);
    assert_eq!(rows.iter().map(|row| row.update).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(rows[1].get("sampled/reward").is_some() && rows[2].get("held_out/reward").is_some());
    // The run of two updates evaluates held-out prompts at its end, where the other one does so
    // too.
    assert_eq!(rows, figures(&parts.0));
    assert_eq!(weights(&whole), weights(&parts));
    assert!(whole.0.join("curves.svg").exists());
    assert!(lines.iter().any(|line| line.starts_with("update    4 | reward")), "{lines:?}");

    let other = RlSettings { seed: 8, ..SETTINGS };
    let error = train(&whole, &base, &other, &client, &mut |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("other settings"), "{error}");
}
