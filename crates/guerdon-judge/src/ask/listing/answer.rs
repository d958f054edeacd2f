//! Reads an answer about several replies. Every reply must be judged exactly once on every
//! criterion, under the name of its block.

use serde_json::{Value, json};

use super::Listing;
use crate::ask::reply::{AnswerError, CriterionFinding, ParsedAnswer, level_of, read_with};
use crate::rubric::Criterion;

/// The conditions that an answer about several replies must meet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListingContract<'a> {
    pub(crate) listing: &'a Listing,
    pub(crate) criteria: &'a [&'a Criterion],
}

impl ListingContract<'_> {
    /// Reads `text`, or returns the reason why it is not an answer. Two answers that disagree are
    /// none: no reply knows the names, so a second answer is the judge's own.
    pub(crate) fn read(self, text: &str) -> Result<ParsedAnswer, String> {
        read_with(text, |value| self.findings(value)).map_err(|error| match error {
            AnswerError::Ambiguous => "the answer judges a reply twice".to_owned(),
            AnswerError::Malformed(detail) => detail,
        })
    }

    /// One finding for each block and criterion, in the order of the blocks.
    fn findings(self, value: &Value) -> Result<Vec<CriterionFinding>, String> {
        let given = match value.get("replies") {
            Some(Value::Object(map)) => {
                map.iter().map(|(name, reply)| (name.as_str(), reply)).collect()
            }
            Some(Value::Array(items)) => {
                let name = |item| Value::get(item, "reply").and_then(Value::as_str);
                items.iter().map(|item| (name(item).unwrap_or_default(), item)).collect()
            }
            _ => Vec::new(),
        };
        if given.is_empty() {
            return Err("the answer has no `replies`".to_owned());
        }
        let blocks = self.listing.blocks();
        let is_block = |name: &str| blocks.iter().any(|block| block.tag == name);
        if let Some((name, _)) = given.iter().find(|(name, _)| !is_block(name)) {
            let name = guerdon_text::quote(name);
            return Err(format!("the answer judges a reply {name}, which does not exist"));
        }
        let mut findings = Vec::with_capacity(blocks.len() * self.criteria.len());
        for block in blocks {
            let mut own = given.iter().filter(|(name, _)| *name == block.tag);
            let tag = &block.tag;
            let Some((_, reply)) = own.next() else {
                return Err(format!("the answer does not judge the reply `{tag}`"));
            };
            if own.next().is_some() {
                return Err(format!("the answer judges the reply `{tag}` twice"));
            }
            let place = u32::try_from(block.reply).ok();
            let known = |id: &str| {
                id == "reply" || self.criteria.iter().any(|criterion| criterion.id == id)
            };
            if let Some(id) = reply.as_object().and_then(|reply| reply.keys().find(|id| !known(id)))
            {
                let id = guerdon_text::quote(id);
                return Err(format!("the rubric has no criterion {id}"));
            }
            for criterion in self.criteria {
                let finding = match reply.get(&criterion.id) {
                    Some(level @ Value::String(_)) => {
                        level_of(&json!({ "level": level }), criterion)
                    }
                    Some(finding) => level_of(finding, criterion),
                    None => Err(format!("criterion `{}` is not judged", criterion.id)),
                };
                let finding = finding.map_err(|detail| format!("reply `{tag}`: {detail}"))?;
                findings.push(CriterionFinding { reply: place, ..finding });
            }
        }
        Ok(findings)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ask::listing::ListedReply;
    use crate::ask::listing::tests::reply;
    use crate::ask::nonce::Nonce;
    use crate::ask::verdict::tests::rubric;

    fn listing(count: usize) -> Listing {
        let replies: Vec<ListedReply> = (0..count).map(|one| reply(&one.to_string())).collect();
        let replies: Vec<&ListedReply> = replies.iter().collect();
        Listing::new(&replies, &[1; 32], 0, &Nonce::for_show())
    }

    fn judged(level: &str) -> Value {
        json!({"d": level, "g": "pass", "b": {"level": "no", "evidence": null}, "v": "no"})
    }

    fn answer(listing: &Listing, levels: &[&str]) -> Value {
        let replies: serde_json::Map<String, Value> = listing
            .blocks()
            .iter()
            .map(|block| (block.tag.clone(), judged(levels[block.reply])))
            .collect();
        json!({ "replies": replies })
    }

    fn levels(listing: &Listing, text: &str) -> Result<Vec<String>, String> {
        let rubric = rubric();
        let criteria: Vec<&Criterion> = rubric.criteria.iter().collect();
        let contract = ListingContract { listing, criteria: &criteria };
        let mut found: Vec<(Option<u32>, String)> = contract
            .read(text)?
            .findings
            .into_iter()
            .filter(|finding| finding.id == "d")
            .map(|finding| (finding.reply, finding.level))
            .collect();
        found.sort();
        Ok(found.into_iter().map(|(_, level)| level).collect())
    }

    #[test]
    fn an_answer_that_is_not_exact_is_malformed() {
        let listing = listing(3);
        let good = answer(&listing, &["no", "bit", "yes"]);
        assert_eq!(levels(&listing, &good.to_string()).unwrap(), ["no", "bit", "yes"]);
        let tag = &listing.blocks()[0].tag;
        let edited = |edit: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut bad = good.clone();
            edit(bad["replies"].as_object_mut().unwrap());
            levels(&listing, &bad.to_string()).unwrap_err()
        };
        let missing = edited(&|map| drop(map.remove(tag)));
        assert!(missing.contains("does not judge"), "{missing}");
        let unknown = edited(&|map| drop(map.insert("reply-00000000".to_owned(), judged("no"))));
        assert!(unknown.contains("does not exist"), "{unknown}");
        let level = edited(&|map| drop(map.insert(tag.clone(), judged("maybe"))));
        assert!(level.contains("has no level"), "{level}");
        let criterion = edited(&|map| drop(map[tag].as_object_mut().unwrap().remove("g")));
        assert!(criterion.contains("`g` is not judged"), "{criterion}");
        let other = edited(&|map| map[tag]["x"] = json!("no"));
        assert!(other.contains("no criterion"), "{other}");
        let twice = good.to_string().replacen(
            &format!("\"{tag}\":"),
            &format!("\"{tag}\":{},\"{tag}\":", judged("no")),
            1,
        );
        assert!(levels(&listing, &twice).unwrap_err().contains("twice"), "{twice}");
        for nothing in ["", "{}", "null", "{\"replies\": {}}", "{\"replies\": 3}"] {
            assert!(levels(&listing, nothing).is_err(), "{nothing}");
        }
    }

    #[test]
    fn a_list_and_fences_are_read_as_well() {
        let listing = listing(3);
        let wanted = ["yes", "no", "bit"];
        let items: Vec<Value> = listing
            .blocks()
            .iter()
            .map(|block| {
                let mut item = judged(wanted[block.reply]);
                item["reply"] = json!(block.tag);
                item
            })
            .collect();
        let list = json!({ "replies": items }).to_string();
        assert_eq!(levels(&listing, &list).unwrap(), wanted);
        let mut twice = items.clone();
        twice.push(items[0].clone());
        let twice = json!({ "replies": twice }).to_string();
        assert!(levels(&listing, &twice).unwrap_err().contains("twice"));
        let fenced = format!("```json\n{list}\n```");
        assert_eq!(levels(&listing, &fenced).unwrap(), wanted);
    }

    proptest! {
        #[test]
        fn every_exact_answer_is_read_as_it_was_given(given in prop::collection::vec(0..3_usize, 1..12)) {
            let listing = listing(given.len());
            let wanted: Vec<&str> = given.iter().map(|one| ["no", "bit", "yes"][*one]).collect();
            let text = answer(&listing, &wanted).to_string();
            prop_assert_eq!(levels(&listing, &text).unwrap(), wanted);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[\\{\\}\\[\\]\":, a-z`<>/]{0,200}") {
            let _ = levels(&listing(2), &text);
        }
    }
}
