//! The replies of a group in a question to a judge.

use serde_json::{Value, json};

/// The names and the texts of the replies in the body of a listwise question, in the order in which
/// they are shown. Empty if the question shows one reply.
#[must_use]
pub fn listed_replies(request: &Value) -> Vec<(String, String)> {
    let last = request["messages"].as_array().and_then(|messages| messages.last());
    let shown = last.and_then(|last| last["content"].as_str()).unwrap_or_default();
    let mut replies = Vec::new();
    for block in shown.split("<reply-").skip(1) {
        let Some((name, rest)) = block.split_once(">\n") else { continue };
        let Some((text, _)) = rest.split_once(&format!("\n</reply-{name}>")) else { continue };
        let lines: Vec<&str> =
            text.lines().map(|line| line.strip_prefix("> ").unwrap_or(line)).collect();
        replies.push((format!("reply-{name}"), lines.join("\n")));
    }
    replies
}

/// The content of an answer to a pairwise question about `criteria`: `judge` has a criterion and the
/// texts of the replies at the first and the second place, and returns the place of the better one;
/// `None` for a tie.
#[must_use]
pub fn paired_verdict(
    request: &Value,
    criteria: &[&str],
    judge: impl Fn(&str, [&str; 2]) -> Option<usize>,
) -> String {
    let replies = listed_replies(request);
    let text = |place: usize| replies.get(place).map(|(_, text)| text.as_str()).unwrap_or_default();
    let choice = |criterion: &&str| {
        let better = judge(criterion, [text(0), text(1)]);
        let name = better.and_then(|place| replies.get(place)).map(|(name, _)| name.as_str());
        ((*criterion).to_owned(), json!(name.unwrap_or("tie")))
    };
    let choices = criteria.iter().map(choice).collect::<serde_json::Map<String, Value>>();
    json!({ "preferred": choices }).to_string()
}

/// The content of an answer to a listwise question: `judge` has the place and the text of a reply,
/// and returns its criteria with their levels.
#[must_use]
pub fn listed_verdict(request: &Value, judge: impl Fn(usize, &str) -> Value) -> String {
    let replies = listed_replies(request);
    let judged = replies.iter().enumerate();
    let judged = judged.map(|(place, (name, text))| (name.clone(), judge(place, text)));
    json!({ "replies": judged.collect::<serde_json::Map<String, Value>>() }).to_string()
}
