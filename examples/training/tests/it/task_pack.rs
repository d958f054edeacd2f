//! The rule pack of the study gives points to good replies and deducts them for flawed ones.

use guerdon_tests::Server;
use guerdon_training_example::rl::Arm;
use guerdon_training_example::scene::{DataSplit, Scene};
use guerdon_training_example::score::{connect, score};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

#[tokio::test]
async fn good_replies_gain_points_and_flawed_ones_lose_them() {
    let config = Server::config().replace(
        r#"["rules.yaml"]"#,
        r#"["@REPOSITORY@/rules", "@REPOSITORY@/examples/training/rules"]"#,
    );
    let server = Server::from_config(&config, &[]).await;
    let client = connect(&server.url, None).await.unwrap();
    let mut points = [0.0, 0.0];
    for (flawed, points) in [0.0, 1.0].into_iter().zip(&mut points) {
        let mut rng = StdRng::seed_from_u64(3);
        let rollouts = (0..400)
            .map(|_| {
                let scene = Scene::draw(&mut rng, DataSplit::HeldOut);
                let reply = scene.imitate(&mut rng, flawed);
                scene.rollout(&reply)
            })
            .collect();
        let scores = score(&client, rollouts, Arm::Repo.fusion()).await.unwrap();
        let failed = scores.iter().filter(|score| score.failed).count();
        assert_eq!(failed > 200, flawed > 0.5, "{failed} of 400 failed a rule");
        *points = scores.iter().map(|score| score.rules.unwrap()).sum::<f64>() / 400.0;
    }
    let [good, flawed] = points;
    assert!(good > 40.0 && flawed < 0.0, "good {good}, flawed {flawed}");
}
