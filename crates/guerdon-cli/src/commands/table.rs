//! Results as a table: one row per turn, one column per part.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use guerdon_types::{Finite, RolloutResult, TurnResult};
use terminal_size::{Width, terminal_size_of};

pub(super) fn table(results: &[RolloutResult]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    // Without a width, as in a pipe, lines are as long as their content.
    if let Some((Width(columns), _)) = terminal_size_of(std::io::stdout()) {
        table.set_width(columns);
    }
    table.set_header(["rollout", "turn", "reward", "rm", "judge", "rules", "adv.", "why"]);
    for column in table.column_iter_mut().skip(1).take(6) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for result in results {
        let advantage = number(result.advantage);
        if result.turns.is_empty() {
            let why = result.error.as_ref().map(|error| error.detail.clone()).unwrap_or_default();
            let none = || "-".to_owned();
            table.add_row([
                result.id.to_string(),
                none(),
                none(),
                none(),
                none(),
                none(),
                advantage.clone(),
                why,
            ]);
        }
        for turn in &result.turns {
            table.add_row([
                result.id.to_string(),
                turn.index.to_string(),
                number(turn.reward),
                number(turn.rm.as_ref().map(|part| part.score)),
                number(turn.judge.as_ref().map(|part| part.points)),
                number(turn.rules.as_ref().map(|part| part.points)),
                advantage.clone(),
                why(turn),
            ]);
        }
    }
    table
}

fn number(value: Option<Finite>) -> String {
    value.map_or_else(
        || "-".to_owned(),
        |value| format!("{:.3}", value.get()).trim_end_matches(".000").to_owned(),
    )
}

fn why(turn: &TurnResult) -> String {
    let mut why = Vec::new();
    for hit in turn.rules.iter().flat_map(|part| &part.hits) {
        why.push(format!(
            "{}/{} {}{}",
            hit.pack,
            hit.rule,
            hit.points,
            if hit.veto { " veto" } else { "" }
        ));
    }
    for criterion in turn.judge.iter().flat_map(|part| &part.criteria) {
        why.push(format!("{}/{} {}", criterion.prompt, criterion.id, criterion.points));
    }
    // The sources with these names have columns of their own.
    let others =
        turn.parts.iter().filter(|(name, _)| !["rm", "judge", "rules"].contains(&name.as_str()));
    for (name, part) in others {
        let veto = if part.veto { " veto" } else { "" };
        why.push(format!("{name} {}{veto}", number(Some(part.value))));
    }
    for abstained in &turn.abstained {
        why.push(format!("{} abstained: {}", abstained.source, abstained.why.as_str()));
    }
    if turn.rm.as_ref().is_some_and(|part| part.truncated) {
        why.push("earlier turns cut".to_owned());
    }
    why.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_source_without_a_column_is_among_the_reasons() {
        let turn = r#"{"index": 1, "reward": 1, "enhancement": null, "abstained": [], "parts": {
            "rm": {"kind": "model", "value": 1},
            "price": {"kind": "http", "value": -12.5, "veto": true}}}"#;
        assert_eq!(why(&serde_json::from_str(turn).unwrap()), "price -12.500 veto");
    }

    #[test]
    fn whole_number_has_no_decimals_and_missing_number_is_a_dash() {
        assert_eq!(number(Some(Finite::from(-20))), "-20");
        assert_eq!(number(Finite::new(1.7568).ok()), "1.757");
        assert_eq!(number(None), "-");
    }
}
