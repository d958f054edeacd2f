//! The fluency guard in a run: replies that imitation would not say are not paid, and a run of them
//! ends with the last policy that passed.

use guerdon_tests::Server;
use guerdon_training_example::checkpoint::RunFolder;
use guerdon_training_example::rl::{Arm, FluencyGuard, RlSettings, load_samples, train};
use guerdon_training_example::score::connect;

use crate::resume::untrained;

const SETTINGS: RlSettings = RlSettings {
    seed: 3,
    updates: 6,
    prompts: 3,
    group: 2,
    // Steps so large that the policy leaves any language.
    rate: 0.5,
    limit: 6,
    look_every: 2,
    held_out: 8,
    save_every: 2,
    ..RlSettings::of(Arm::Repo)
};

#[tokio::test]
async fn a_run_that_loses_its_language_is_stopped_and_keeps_the_last_good_policy() {
    let server = Server::new().await;
    let client = connect(&server.url, None).await.unwrap();
    let (base, folder) = (untrained(), tempfile::tempdir().unwrap());
    let run = RunFolder(folder.path().join("run"));
    let mut lines = Vec::new();
    let mut log = |line: &str| lines.push(line.to_owned());
    train(&run, &base, &SETTINGS, &client, &mut log).await.unwrap();
    let stops = |lines: &[String]| lines.iter().filter(|line| line.starts_with("stopped")).count();
    assert_eq!(stops(&lines), 1, "{lines:?}");
    let done = run.state().unwrap().unwrap().update;
    assert!(done < SETTINGS.updates);

    let guard = FluencyGuard::load(&run.0.join("guard.json")).unwrap().unwrap();
    assert!(guard.limit > 0.0);
    let samples = load_samples(&run.0.join("samples.jsonl")).unwrap();
    assert_eq!(samples.len(), 2 * SETTINGS.held_out, "two looks, each with every reply");
    assert!(samples.iter().all(|sample| !sample.line.is_empty()));
    let rows = run.rows().unwrap();
    assert!(rows.iter().all(|row| row.get("held_out/not_fluent").is_none_or(|share| share <= 1.0)));
    // The first look is the imitation's, and passes by its own measure.
    assert!(rows[0].get("held_out/not_fluent").unwrap() <= 0.05 + 1.0 / 8.0);

    // Asked again, the run stays stopped.
    let mut again = Vec::new();
    train(&run, &base, &SETTINGS, &client, &mut |line| again.push(line.to_owned())).await.unwrap();
    assert_eq!((stops(&again), run.state().unwrap().unwrap().update), (1, done));
}
