//! Reads an answer about two replies. Every criterion must have exactly one choice: the name of one
//! of the two blocks, or a tie.

use serde_json::Value;

use super::{PREFERRED, TIE};
use crate::ask::listing::Listing;
use crate::ask::reply::{AnswerError, CriterionFinding, ParsedAnswer, read_with};
use crate::rubric::Criterion;

/// The conditions that an answer about two replies must meet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PairContract<'a> {
    pub(crate) listing: &'a Listing,
    pub(crate) criteria: &'a [&'a Criterion],
}

impl PairContract<'_> {
    /// Reads `text`, or returns the reason why it is not an answer. Two answers that disagree are
    /// none: no reply knows the names, so a second answer is the judge's own.
    pub(crate) fn read(self, text: &str) -> Result<ParsedAnswer, String> {
        read_with(text, |value| self.findings(value)).map_err(|error| match error {
            AnswerError::Ambiguous => "the answer makes a choice twice".to_owned(),
            AnswerError::Malformed(detail) => detail,
        })
    }

    /// One finding for each criterion, in their order.
    fn findings(self, value: &Value) -> Result<Vec<CriterionFinding>, String> {
        let Some(Value::Object(given)) = value.get("preferred") else {
            return Err("the answer has no `preferred`".to_owned());
        };
        let is_asked = |id: &String| self.criteria.iter().any(|criterion| criterion.id == *id);
        if let Some(id) = given.keys().find(|id| !is_asked(id)) {
            let id = guerdon_text::quote(id);
            return Err(format!("the rubric has no criterion {id}"));
        }
        let choice = |criterion: &&Criterion| {
            let id = &criterion.id;
            match given.get(id) {
                Some(Value::String(choice)) => self.finding(id, choice.trim()),
                Some(_) => Err(format!("the choice of criterion `{id}` is not a name")),
                None => Err(format!("criterion `{id}` is not judged")),
            }
        };
        self.criteria.iter().map(choice).collect()
    }

    fn finding(self, id: &str, choice: &str) -> Result<CriterionFinding, String> {
        let finding = |level: &str, reply| CriterionFinding {
            id: id.to_owned(),
            level: level.to_owned(),
            evidence: None,
            weights: None,
            reply,
        };
        if choice == TIE {
            return Ok(finding(TIE, None));
        }
        let block = self.listing.blocks().iter().find(|block| block.tag == choice);
        let Some(block) = block else {
            let choice = guerdon_text::quote(choice);
            return Err(format!(
                "criterion `{id}`: the answer prefers a reply {choice}, which does not exist"
            ));
        };
        Ok(finding(PREFERRED, u32::try_from(block.reply).ok()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::ask::listing::ListedReply;
    use crate::ask::listing::tests::reply;
    use crate::ask::nonce::Nonce;
    use crate::ask::pairing::PairSchema;
    use crate::ask::verdict::tests::rubric;

    const IDS: [&str; 4] = ["d", "g", "b", "v"];

    fn listing(sample: u32) -> Listing {
        let replies = [reply("one"), reply("other")];
        let replies: Vec<&ListedReply> = replies.iter().collect();
        Listing::new(&replies, &[1; 32], sample, &Nonce::for_show())
    }

    /// An answer with the choices of each criterion: the place of a reply, or `None` for a tie.
    fn answer(listing: &Listing, choices: &[Option<u32>]) -> Value {
        let name = |choice: &Option<u32>| {
            choice.and_then(|place| Some(listing.block_of(place)?.tag.clone()))
        };
        let named = IDS.iter().zip(choices);
        let named = named.map(|(id, choice)| {
            ((*id).to_owned(), json!(name(choice).unwrap_or_else(|| TIE.to_owned())))
        });
        json!({ "preferred": named.collect::<serde_json::Map<_, _>>() })
    }

    fn read(listing: &Listing, text: &str) -> Result<Vec<Option<u32>>, String> {
        let rubric = rubric();
        let criteria: Vec<&Criterion> = rubric.criteria.iter().collect();
        let read = PairContract { listing, criteria: &criteria }.read(text)?;
        Ok(read.findings.into_iter().map(|finding| finding.reply).collect())
    }

    #[test]
    fn an_answer_that_is_not_exact_is_malformed() {
        let listing = listing(0);
        let good = answer(&listing, &[Some(0), Some(1), None, None]);
        assert_eq!(read(&listing, &good.to_string()).unwrap(), [Some(0), Some(1), None, None]);
        let edited = |edit: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut bad = good.clone();
            edit(bad["preferred"].as_object_mut().unwrap());
            read(&listing, &bad.to_string()).unwrap_err()
        };
        let missing = edited(&|map| drop(map.remove("b")));
        assert!(missing.contains("`b` is not judged"), "{missing}");
        let unknown = edited(&|map| map["d"] = json!("reply-00000000"));
        assert!(unknown.contains("does not exist"), "{unknown}");
        let number = edited(&|map| map["d"] = json!(1));
        assert!(number.contains("not a name"), "{number}");
        let other = edited(&|map| drop(map.insert("x".to_owned(), json!(TIE))));
        assert!(other.contains("no criterion"), "{other}");
        let twice = good.to_string().replacen("\"d\":", "\"d\":\"tie\",\"d\":", 1);
        assert!(read(&listing, &twice).unwrap_err().contains("twice"), "{twice}");
        for nothing in ["", "{}", "null", "{\"preferred\": {}}", "{\"preferred\": \"tie\"}"] {
            assert!(read(&listing, nothing).is_err(), "{nothing}");
        }
    }

    #[test]
    fn the_schema_has_a_choice_of_both_names_and_a_tie_for_each_criterion() {
        let (listing, rubric) = (listing(1), rubric());
        let criteria: Vec<&Criterion> = rubric.criteria.iter().collect();
        let schema = PairSchema { listing: &listing, criteria: &criteria, reasons: true };
        let json = serde_json::to_value(schema).unwrap();
        assert_eq!(json["required"], json!(["reasons", "preferred"]));
        let choices = &json["properties"]["preferred"];
        assert_eq!(choices["required"], json!(IDS));
        let tags: Vec<&str> = listing.blocks().iter().map(|block| block.tag.as_str()).collect();
        assert_eq!(choices["properties"]["g"]["enum"], json!([tags[0], tags[1], TIE]));
        assert!(schema.closing().contains(tags[0]) && schema.form().contains("\"v\": "));
    }

    proptest! {
        /// A choice names a reply, not a place: in either order it is read as it was meant.
        #[test]
        fn every_exact_answer_is_read_as_it_was_given(
            choices in prop::collection::vec(prop::option::of(0..2_u32), 4),
            sample in 0..2_u32,
        ) {
            let listing = listing(sample);
            let text = answer(&listing, &choices).to_string();
            prop_assert_eq!(read(&listing, &text).unwrap(), choices);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[\\{\\}\\[\\]\":, a-z`<>/]{0,200}") {
            let _ = read(&listing(0), &text);
        }
    }
}
