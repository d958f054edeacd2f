//! A rule pack, compiled within bounds and evaluated.

use guerdon_rules::{RulePacks, SourceText, WorkBounds};
use guerdon_types::{Message, Role, Rollout};

/// Compiles `data` as a pack of a stranger, and evaluates it on a dialogue.
///
/// # Panics
/// A refusal has no error, or a hit lies outside the text.
pub fn rule_pack(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut bounds = WorkBounds::default();
    (bounds.max_bytes, bounds.max_rules, bounds.max_words) = (16 << 10, 64, 512);
    let packs = [SourceText::new("fuzz.yaml", text)];
    match RulePacks::check_within(&packs, &bounds) {
        Ok((packs, report)) => {
            assert!(!report.has_errors());
            let reply = "Ｗork order: 480元/晚, 420 work  order\u{200b} — we guarantee 3% off! 价格四百二 e\u{301} <b>x</b>";
            let messages = vec![
                Message::new(Role::User, "480 is our best price."),
                Message::new(Role::Assistant, reply),
            ];
            let part = packs.evaluate(&Rollout { messages, ..Rollout::default() }, 1);
            let length = reply.chars().count();
            for hit in part.hits.iter().chain(&part.shadow) {
                for [start, end] in &hit.spans {
                    assert!(start <= end && *end <= length, "{hit:?}");
                }
            }
        }
        Err(report) => {
            assert!(report.has_errors());
            assert!(!report.to_string().is_empty());
        }
    }
}
