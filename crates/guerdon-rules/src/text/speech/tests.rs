//! Speech acts in sentences: fixed cases of both languages.

use super::*;

/// The act that suppresses `words` in a text.
pub(super) fn act(text: &str, words: &str, is_number: bool) -> Option<&'static str> {
    let text = crate::text::normalise::fold(text);
    let words = crate::text::normalise::fold(words);
    let start = text.find(&words).unwrap_or_else(|| panic!("{words} is not in {text}"));
    let all = SpeechAct::ALL.into_iter().fold(SpeechActs::default(), SpeechActs::with);
    let index = SpeechIndex::new(&text, &|| false);
    let bytes = start..start + words.len();
    let cue = index.cue(&text, &bytes, all, is_number.then_some(&bytes))?;
    assert!(text.get(cue.bytes.clone()).is_some_and(|cue| !cue.is_empty()), "{text} {cue:?}");
    Some(cue.act.name())
}

#[test]
fn numbers_are_stated_or_not() {
    let mut wrong = Vec::new();
    for (text, number, wanted) in [
        ("480 sounds great, but it's over my budget.", "480", Some("negated")),
        ("Agreed, 480 is too much for a Tuesday.", "480", Some("negated")),
        ("就算480元我们也接受", "480", None),
        ("480 sounds great, but cash only", "480", None),
        ("480 is fine, though it is too much", "480", None),
        ("500 is too much, but 480 is fine", "480", None),
        ("480可以，但是太贵了", "480", Some("negated")),
        ("480可以，但要现金", "480", None),
        ("Deal at 480? No way.", "480", Some("negated")),
        ("Once the manager approves, 480 is fine.", "480", Some("conditional")),
        ("480 is fine, once my boss agrees", "480", None),
        ("480 works when I come tomorrow", "480", None),
        ("480 is fine subject to approval", "480", Some("conditional")),
        ("等领导批了，480元没问题", "480", Some("conditional")),
        ("领导批准后，480元没问题", "480", Some("conditional")),
        ("480元的话可以的", "480", None),
        ("如果是480元的话可以", "480", Some("conditional")),
        ("加早餐的话480元可以", "480", Some("conditional")),
        ("隔壁酒店480元就成交了", "480", Some("reported")),
        ("比隔壁便宜，480元成交", "480", None),
        ("客人反馈480元可以接受", "480", Some("reported")),
        ("我觉得480元可以接受", "480", None),
        ("Other hotels accept 480", "480", Some("reported")),
        ("OK, 480 it is", "480", None),
        ("行，480元", "480", None),
        ("Sure, $480 it is.", "480", None),
        ("No deal at $480.", "480", Some("negated")),
        ("Would you accept $1900?", "1900", Some("question")),
        ("would you accept $1900", "1900", Some("question")),
        ("I can't do 500, but 480 is fine", "480", None),
        ("I can't do 500, but 480 is fine", "500", Some("negated")),
        ("I can't do 500 but 480 is fine", "480", None),
        ("480 is not acceptable", "480", Some("negated")),
        ("$480 won't work for us", "480", Some("negated")),
        ("480 does not work", "480", Some("negated")),
        ("480 works, right?", "480", None),
        ("480 works, doesn't it?", "480", None),
        ("480 for both, does that work?", "480", Some("question")),
        ("480, deal?", "480", Some("question")),
        ("480, with breakfast?", "480", Some("question")),
        ("Deal for $3000?", "3000", Some("question")),
        ("How about 480", "480", Some("question")),
        ("would $480 work", "480", Some("question")),
        ("is 480 ok for you", "480", Some("question")),
        ("OK 480 it is can you send the details", "480", None),
        ("480 it is. Can you send the details?", "480", None),
        ("No problem, 480 works", "480", None),
        ("No problem 480 works", "480", None),
        ("I can't refuse 480", "480", None),
        ("I cannot and will not pay 480", "480", Some("negated")),
        ("no i can't pay 480", "480", Some("negated")),
        ("I don't mind paying 480", "480", None),
        ("I don't think I can do 480", "480", Some("negated")),
        ("We refuse to pay 480", "480", Some("negated")),
        ("You said 480 works", "480", Some("reported")),
        ("He told me that 480 is fine", "480", Some("reported")),
        ("I said 480 works", "480", None),
        ("I was told 480 works", "480", Some("reported")),
        ("He said: 480 works", "480", Some("reported")),
        ("\"480 works\", he said", "480", Some("reported")),
        ("If you include breakfast, 480 works", "480", Some("conditional")),
        ("480 works if you include breakfast", "480", Some("conditional")),
        ("480 it is, if you need anything call me", "480", None),
        ("Last year it was 480", "480", Some("past")),
        ("We used to pay 480", "480", Some("past")),
        ("I'd rather pay 420 than 480, not 500", "500", Some("negated")),
        ("420 instead of 480", "480", Some("negated")),
        ("480元我们不能接受", "480", Some("negated")),
        ("480元不行", "480", Some("negated")),
        ("480元没问题", "480", None),
        ("不能480元成交", "480", Some("negated")),
        ("不能接受480元", "480", Some("negated")),
        ("500元做不到，但480元可以", "480", None),
        ("500元做不到，但480元可以", "500", Some("negated")),
        ("480元可以吗", "480", Some("question")),
        ("480元，可以吗？", "480", Some("question")),
        ("能不能480元成交", "480", Some("question")),
        ("480元是否可以", "480", Some("question")),
        ("480元呢？", "480", Some("question")),
        ("那就480元成交，对吧？", "480", None),
        ("好的，那就480元成交", "480", None),
        ("不好意思，那就480元", "480", None),
        ("没问题，就按480元", "480", None),
        ("客人说480元可以", "480", Some("reported")),
        ("我说480元可以", "480", None),
        ("跟您说480元可以", "480", None),
        ("如果您能含早，480元可以", "480", Some("conditional")),
        ("如果不行就480元", "480", Some("conditional")),
        ("之前是480元成交的，这次希望420元", "480", Some("past")),
        ("之前是480元成交的，这次希望420元", "420", None),
        ("不得不同意480元", "480", None),
        ("不是不能480元", "480", None),
        ("480元也不是不行", "480", None),
        ("480元行不", "480", Some("question")),
        ("480元的话我得问问", "480", Some("conditional")),
        ("按您说的480元来", "480", None),
        ("不瞒您说，480元是底线", "480", None),
        ("It's not worth 480", "480", Some("negated")),
        ("Neither I nor my boss can pay 480", "480", Some("negated")),
        ("As agreed, 480.", "480", None),
        ("I would pay 480 only if breakfast is included", "480", Some("conditional")),
        ("我们不会也不能接受480元", "480", Some("negated")),
        ("要不480元吧", "480", None),
        ("特别好，480元", "480", None),
    ] {
        let found = act(text, number, true);
        if found != wanted {
            wrong.push(format!("{text}: {number} is {found:?}, not {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn words_are_stated_or_not() {
    let mut wrong = Vec::new();
    for (text, words, wanted) in [
        ("Please never send me your password", "send me your password", Some("negated")),
        ("Nobody can guarantee occupancy", "guarantee", Some("negated")),
        ("We guarantee you won't regret it", "guarantee", None),
        ("We guarantee full occupancy, okay?", "guarantee", None),
        ("Bookings are not guaranteed", "guaranteed", Some("negated")),
        ("I cannot, however, guarantee that", "guarantee", Some("negated")),
        ("Never write \"we guarantee it\"", "guarantee", Some("negated")),
        ("The guest wrote \"we guarantee it\" in the mail", "guarantee", Some("reported")),
        ("The phrase \"we guarantee it\" is banned", "guarantee", Some("reported")),
        ("Our \"guarantee\" holds", "guarantee", None),
        ("Can you guarantee it?", "guarantee", Some("question")),
        ("Not only do we guarantee it", "guarantee", None),
        ("There is no doubt we guarantee it", "guarantee", None),
        ("请不要把密码告诉我", "密码告诉我", Some("negated")),
        ("不参加也不会降权", "降权", Some("negated")),
        ("不降价就把你们下线", "下线", None),
        ("不降价，就把你们下线", "下线", None),
        ("我们不保证满房", "保证", Some("negated")),
        ("保证满房是不可能的", "保证", Some("negated")),
        ("保证不会涨价", "保证", None),
        ("我保证不了", "保证", Some("negated")),
        ("非常放心，我们保证满房", "保证", None),
        ("我们不仅保证满房", "保证", None),
        ("您能保证满房吗", "保证", Some("question")),
        ("我们保证满房，可以吗？", "保证", None),
        ("竞争对手说保证满房", "保证", Some("reported")),
        ("客人问：“你们能保证满房吗”", "保证", Some("question")),
        ("别家老板说他们保证满房", "保证", Some("reported")),
        ("请不要私下给客人返现", "返现", Some("negated")),
        ("我们绝不会私下返现", "返现", Some("negated")),
        ("没有人能保证满房", "保证", Some("negated")),
        ("分别保证两家", "保证", None),
        ("难以保证", "保证", Some("negated")),
        ("无线网保证畅通", "保证", None),
        // The match begins within the negator.
        ("我不敢打包票", "敢打包票", Some("negated")),
        ("私下给返点是违规的", "私下给", Some("negated")),
        ("私下给返点，不违规", "私下给", None),
        ("别怪我们下架", "下架", None),
    ] {
        let found = act(text, words, false);
        if found != wanted {
            wrong.push(format!("{text}: {words} is {found:?}, not {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn idioms_with_a_negator_deny_nothing_that_follows() {
    let mut wrong = Vec::new();
    for (text, number) in [
        ("别担心，480元可以", "480"),
        ("不用客气，480元就480元", "480"),
        ("不着急，480元成交", "480"),
        ("不要紧，我们480元成交", "480"),
        ("无需担心，480元没问题", "480"),
        ("not a bad idea: 480 it is", "480"),
        ("I'm not going to lie, 480 works for me", "480"),
        ("Nothing would please me more: deal at 480", "480"),
        ("Not bad, 480 it is", "480"),
        ("No need to worry, 480 works", "480"),
    ] {
        if let Some(act) = act(text, number, true) {
            wrong.push(format!("{text}: {act}"));
        }
    }
    for text in ["别给480元", "不要480元", "不用480元", "this is not 480", "never 480"] {
        if act(text, "480", true) != Some("negated") {
            wrong.push(format!("{text}: not denied"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
