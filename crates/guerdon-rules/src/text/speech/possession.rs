//! Things that belong to the addressee or were given by them: `您的邮箱…`, `the address you sent`. To
//! repeat them gives nothing away.

use std::ops::Range;

/// The greatest distance between the cue and the match, in bytes.
const REACH: usize = 64;

/// The greatest number of words between `your` and the match.
const MAX_WORDS: usize = 4;

/// Chinese second persons. The longest ones come first.
const SECOND: [&str; 6] = ["您们", "你们", "贵司", "贵店", "您", "你"];
/// Verbs by which the addressee gave something, as they end before its name.
const GIVEN: [&str; 18] = [
    "给我的",
    "给我们的",
    "发我的",
    "发我们的",
    "留的",
    "发的",
    "填的",
    "给的",
    "说的",
    "写的",
    "提供的",
    "预留的",
    "登记的",
    "绑定的",
    "注册的",
    "发来的",
    "发过来的",
    "提交的",
];
/// Words with which a clause is about the speaker or another person after all: `您的专属客服`.
const OTHERS: [&str; 14] = [
    "我",
    "咱",
    "本店",
    "客服",
    "专属",
    "经理",
    "顾问",
    "管家",
    "对接",
    "业务员",
    "同事",
    "老师",
    "负责人",
    "专员",
];
/// The names of contact details: `您的邮箱`. Without one, 您的 belongs to something else: `感谢您的信任`.
const DETAILS: [&str; 12] = [
    "邮箱",
    "邮件",
    "手机",
    "电话",
    "号码",
    "微信",
    "身份证",
    "卡号",
    "账号",
    "地址",
    "联系方式",
    "名片",
];
/// The same in English.
const ENGLISH_DETAILS: [&str; 12] = [
    "email", "mail", "address", "phone", "number", "mobile", "cell", "wechat", "whatsapp",
    "account", "contact", "card",
];
/// Verbs by which the addressee gave something: `the address you sent`.
const GIVING: &[&str] = &[
    "sent",
    "send",
    "gave",
    "given",
    "provided",
    "mentioned",
    "listed",
    "left",
    "shared",
    "wrote",
    "written",
    "registered",
    "used",
    "entered",
    "submitted",
    "supplied",
    "told",
    "quoted",
];

/// English words that lead from `your` to someone else or to another place.
const LEADING: [&str; 18] = [
    "to",
    "at",
    "me",
    "my",
    "our",
    "us",
    "with",
    "and",
    "call",
    "contact",
    "agent",
    "manager",
    "support",
    "representative",
    "rep",
    "host",
    "assistant",
    "advisor",
];

/// The cue of the possession in the part of a clause before a match, in bytes of that part.
pub(super) fn find(before: &str) -> Option<Range<usize>> {
    find_with(before, false)
}

/// Like [`find`], for what the addressee gave: `the address you sent`, but not `your trust`.
pub(super) fn find_given(before: &str) -> Option<Range<usize>> {
    find_with(before, true)
}

fn find_with(before: &str, given_only: bool) -> Option<Range<usize>> {
    let mut from = before.len().saturating_sub(REACH);
    while !before.is_char_boundary(from) {
        from += 1;
    }
    let near = before.get(from..)?;
    let found = chinese(near, given_only).or_else(|| english(near, given_only))?;
    Some(from + found.start..from + found.end)
}

fn chinese(near: &str, given_only: bool) -> Option<Range<usize>> {
    let ends = |word: &str| near.rfind(word).map(|at| (at + word.len(), at));
    let (end, start) = SECOND.iter().filter_map(|word| ends(word)).max()?;
    let rest = near.get(end..)?;
    if let Some((given, word)) =
        GIVEN.iter().filter_map(|word| rest.rfind(word).map(|at| (at, word))).max_by_key(|of| of.0)
    {
        let after = rest.get(given + word.len()..)?;
        return (!mentions_other(after)).then_some(start..end);
    }
    let named = DETAILS.iter().any(|detail| {
        rest.trim_start().starts_with(detail) || (rest.starts_with('的') && rest.contains(detail))
    });
    (named && !given_only && !mentions_other(rest)).then_some(start..end)
}

fn mentions_other(text: &str) -> bool {
    OTHERS.iter().any(|word| text.contains(word))
}

fn english(near: &str, given_only: bool) -> Option<Range<usize>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '\'';
    let mut words: Vec<(usize, &str)> = Vec::new();
    let mut start = 0;
    for word in near.split(|c| !is_word(c)) {
        if !word.is_empty() {
            words.push((start, word));
        }
        let after = near.get(start + word.len()..).and_then(|rest| rest.chars().next());
        start += word.len() + after.map_or(0, char::len_utf8);
    }
    let at = words.iter().rposition(|(_, word)| matches!(*word, "your" | "yours" | "you"))?;
    let (start, word) = *words.get(at)?;
    let mut rest = words.get(at + 1..)?;
    if given_only && word != "you" {
        return None;
    }
    if word == "you" {
        let verb = rest.iter().position(|(_, word)| GIVING.contains(word)).filter(|at| *at < 3)?;
        rest = rest.get(verb + 1..)?;
        // `the address you gave me`
        if rest.first().is_some_and(|(_, word)| matches!(*word, "me" | "us")) {
            rest = rest.get(1..)?;
        }
    }
    let named = word == "you" || rest.iter().any(|(_, word)| ENGLISH_DETAILS.contains(word));
    let leads = rest.iter().any(|(_, word)| LEADING.contains(word));
    (named && rest.len() <= MAX_WORDS && !leads).then_some(start..start + word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_of_the_addressee_are_told_from_those_of_others() {
        for own in [
            "您之前发的邮箱",
            "我收到了您发过来的邮箱",
            "您的邮箱是",
            "已发到您的邮箱",
            "您邮箱",
            "你给我的电话",
            "贵店登记的手机号",
            "i have your email address",
            "we sent it to your address",
            "the address you gave us is",
            "you wrote",
            "you have sent me",
        ] {
            assert!(find(own).is_some(), "{own}");
        }
        for other in [
            "请发到我的邮箱",
            "感谢您的信任 ",
            "thanks for your trust ",
            "您可以发到",
            "您可以打电话",
            "您把资料发我邮箱",
            "您的专属客服电话是",
            "您打我的电话",
            "您留的问题请打我电话",
            "加我微信",
            "you can reach me at",
            "send your order to",
            "your account manager is",
            "email me at",
            "you can mail your form to us at",
            "",
        ] {
            assert!(find(other).is_none(), "{other}");
        }
        assert!(find_given("the address you gave us, ").is_some());
        assert!(find_given("thanks for your trust, ").is_none());
        assert!(find_given("感谢您的信任，").is_none());
    }
}
