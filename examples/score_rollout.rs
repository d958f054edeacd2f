//! Scores ten hotel negotiations on a running server and prints each reward with all its parts.
//!
//! ```text
//! guerdon serve                                                      # in another terminal
//! cargo run -p guerdon-examples --example score_rollout              # or: ... -- http://host:8787 PROFILE
//! ```
//!
//! For each rollout it prints the reward. For each scored turn it prints the parts of the reward model,
//! the judge and the rules with their evidence, and the sources that abstained with the reason. At the end
//! it prints the versions and the cost:
//!
//! ```text
//! zh-westlake-460-c                       reward +0.133
//!   turn 6                                reward +0.133, enhancement -40.000
//!     rm      +0.222 (raw +0.167, 194 tokens, earlier turns dropped)
//!     rules      -40
//!                -40 guardrails/internal-words at 4..6 "工单" at 7..10 "目标价" at 19..22 "目标价"
//! ```

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use guerdon_client::{Client, Rollout, RolloutResult, ScoreRequest, ScoredBatch, TurnResult};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut client =
        Client::builder(args.next().unwrap_or_else(|| "http://127.0.0.1:8787".to_owned()));
    if let Some(profile) = args.next() {
        client = client.profile(profile);
    }
    let request = ScoreRequest { rollouts: guerdon_examples::hotel()?, ..ScoreRequest::default() };
    let scored = client.build()?.score(&request).await?;
    for (rollout, result) in request.rollouts.iter().zip(&scored.results) {
        print_result(rollout, result);
    }
    print_versions(&scored)
}

fn print_result(rollout: &Rollout, result: &RolloutResult) {
    let reward = result.reward.map_or("none".to_owned(), |reward| format!("{:+.3}", reward.get()));
    println!("{:<40}reward {reward}", result.id.as_str());
    if let Some(error) = &result.error {
        println!("  {}: {}", error.code.as_str(), error.detail);
    }
    for turn in &result.turns {
        let said = rollout.messages.get(turn.index).map_or("", |message| &message.content);
        print_turn(turn, said);
    }
}

fn print_turn(turn: &TurnResult, said: &str) {
    let number = |n: Option<guerdon_client::Finite>| {
        n.map_or("none".to_owned(), |n| format!("{:+.3}", n.get()))
    };
    let place = format!("  turn {}", turn.index);
    println!("{place:<40}reward {}, enhancement {}", number(turn.reward), number(turn.enhancement));
    if let Some(rm) = &turn.rm {
        let cut = if rm.truncated { ", earlier turns dropped" } else { "" };
        println!(
            "    rm    {:>+8.3} (raw {:+.3}, {} tokens{cut})",
            rm.score.get(),
            rm.raw,
            rm.tokens
        );
    }
    if let Some(judge) = &turn.judge {
        let cached = if judge.cached { ", cached" } else { "" };
        println!("    judge {:>+8} ({}{cached})", judge.points.get(), judge.model);
        for verdict in &judge.criteria {
            let evidence = verdict.evidence.as_deref().unwrap_or("nothing in particular");
            println!(
                "          {:>+8} {}/{}: {evidence:?}",
                verdict.points.get(),
                verdict.prompt,
                verdict.id
            );
        }
    }
    if let Some(rules) = &turn.rules {
        println!("    rules {:>+8}", rules.points.get());
        for hit in &rules.hits {
            println!(
                "          {:>+8} {}/{}{}",
                hit.points.get(),
                hit.pack,
                hit.rule,
                quotes(said, &hit.spans)
            );
        }
        for rule in &rules.abstained {
            println!("        undecided {}/{}: {}", rule.pack, rule.rule, rule.detail);
        }
    }
    for abstained in &turn.abstained {
        println!(
            "    {:<8}abstained: {}, {}",
            abstained.source.as_str(),
            abstained.why.as_str(),
            abstained.detail
        );
    }
}

/// Formats the text of the spans, which count Unicode scalar values, like `char`.
fn quotes(said: &str, spans: &[[usize; 2]]) -> String {
    let quote = |[from, to]: &[usize; 2]| {
        let text: String = said.chars().take(*to).skip(*from).collect();
        format!(" at {from}..{to} {text:?}")
    };
    spans.iter().map(quote).collect()
}

fn print_versions(scored: &ScoredBatch) -> anyhow::Result<()> {
    for versions in &scored.versions {
        println!("\nmade by {}", serde_json::to_string_pretty(versions)?);
    }
    println!("\nusage {}", serde_json::to_string(&scored.usage)?);
    Ok(())
}
