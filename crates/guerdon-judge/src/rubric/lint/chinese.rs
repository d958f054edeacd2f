//! Reads the assertions of a Chinese sentence about a reply, as far as a list of words knows them.

use super::predicate::{Assertions, Sense};

const FAULTY: &[&str] = &[
    "编造",
    "捏造",
    "虚构",
    "杜撰",
    "承诺",
    "夸大",
    "误导",
    "欺骗",
    "撒谎",
    "隐瞒",
    "施压",
    "催促",
    "逼迫",
    "强迫",
    "威胁",
    "指责",
    "责怪",
    "嘲讽",
    "嘲笑",
    "贬低",
    "羞辱",
    "侮辱",
    "打断",
    "忽视",
    "忽略",
    "无视",
    "漏掉",
    "遗漏",
    "跳过",
    "跳到",
    "重复",
    "索要",
    "让步",
    "放弃",
    "收回",
    "反悔",
    "重开",
    "冒犯",
    "敷衍",
    "回避",
    "推脱",
    "抱怨",
    "辱骂",
    "冷落",
    "泄露",
    "透露",
    "答非所问",
    "跑题",
    "冷漠",
    "生硬",
    "粗鲁",
    "含糊",
    "傲慢",
    "啰嗦",
    "刻薄",
    "不耐烦",
    "咄咄逼人",
    "纠缠",
    "曲解",
    "误解",
    "套话",
    "猜测",
    "臆测",
    "乞求",
    "说教",
];
const GOOD: &[&str] = &[
    "回答", "回应", "承接", "处理", "说明", "解释", "致谢", "感谢", "问候", "道歉", "尊重", "守住",
    "坚守", "遵守", "履行", "兑现", "确认", "核实", "理解", "安慰", "关心", "倾听", "体谅", "礼貌",
    "客气", "耐心", "诚实", "清楚", "准确", "具体", "友好", "专业", "澄清", "总结", "复述", "共情",
];
/// Words that describe a good reply, regardless of the words that follow.
const NORMS: &[&str] =
    &["应该", "应当", "必须", "不应", "不要", "不得", "不可以", "切勿", "切忌", "务必", "请勿"];
const NEGATIONS: &[&str] = &[
    "不再", "不会", "没有", "从不", "从未", "并未", "避免", "拒绝", "未", "没", "不", "勿", "别",
    "无",
];
/// Words that may stand between a negation and what it negates.
const BETWEEN: &[&str] = &[
    "就", "再", "因此", "会", "能", "得", "对方", "对", "为", "去", "任何", "轻易", "随意", "随便",
    "主动", "直接", "先", "地", "当",
];
/// Words of a sentence about the world that denies an equation: 沉默不是同意.
const PRINCIPLES: &[&str] = &["不是", "并非", "不等于"];
const JOINTS: &[&str] = &["并且", "而且", "以及", "同时还", "又"];
const SUBJECTS: &[&str] = &["回复", "该句", "这句", "话术", "客服", "销售"];

/// The assertions of `about`.
pub(super) fn assertions(about: &str) -> Assertions {
    let is_end = |c: char| matches!(c, '。' | '；' | '！' | '？' | '.' | ';' | '：' | ':');
    let mut groups = Vec::new();
    for sentence in about.split(is_end).filter(|sentence| !sentence.trim().is_empty()) {
        let clauses: Vec<&str> = sentence.split(['，', ',']).collect();
        // The clause about the reply; without such a clause, the last one that asserts something,
        // because conditions come first.
        let own =
            clauses.iter().rposition(|clause| SUBJECTS.iter().any(|word| clause.contains(word)));
        let of_partner = |clause: &&str| clause.trim_start().starts_with("对方");
        let principle = |clause: &str| PRINCIPLES.iter().any(|word| clause.contains(word));
        if let Some(clause) = own.and_then(|at| clauses.get(at)) {
            groups.extend(parts(clause).iter().filter_map(|part| sense(part)));
        } else if let Some(clause) = clauses.iter().rev().find(|clause| {
            !of_partner(clause)
                && (principle(clause) || parts(clause).iter().any(|part| sense(part).is_some()))
        }) {
            if principle(clause) {
                groups.push(Sense::Virtue);
            } else {
                groups.extend(parts(clause).iter().filter_map(|part| sense(part)));
            }
        }
        // What follows a colon explains the sentence before.
        if about.contains(['：', ':']) && !groups.is_empty() {
            break;
        }
    }
    Assertions { groups }
}

/// The parts of a clause that words such as "and" join.
fn parts(clause: &str) -> Vec<String> {
    let mut marked = clause.to_owned();
    for joint in JOINTS {
        marked = marked.replace(joint, "\n");
    }
    // 并 joins, unless it stresses a negation or belongs to another word.
    let mut parts = String::with_capacity(marked.len());
    let mut rest = marked.chars().peekable();
    while let Some(c) = rest.next() {
        let stresses = rest.peek().is_some_and(|next| "不没未非列行存".contains(*next));
        parts.push(if c == '并' && !stresses { '\n' } else { c });
    }
    parts.split('\n').map(str::to_owned).filter(|part| !part.is_empty()).collect()
}

/// The sense of the first known word of `part`.
fn sense(part: &str) -> Option<Sense> {
    if NORMS.iter().any(|norm| part.contains(norm)) {
        return Some(Sense::Virtue);
    }
    let first = |words: &[&str], sense: Sense| {
        let places = words.iter().filter_map(|word| Some((part.find(word)?, word.len(), sense)));
        places.min_by_key(|(at, length, _)| (*at, usize::MAX - length))
    };
    let found = [first(FAULTY, Sense::Fault), first(GOOD, Sense::Virtue)];
    let (at, length, sense) =
        found.into_iter().flatten().min_by_key(|(at, length, _)| (*at, usize::MAX - length))?;
    let before = part.get(..at).unwrap_or_default();
    let after = part.get(at + length..).unwrap_or_default();
    // The word belongs to a description of something else: 对方重复的问题, 承诺的事.
    if after.starts_with('的') {
        return None;
    }
    Some(sense.negated_if(is_negated(before)))
}

/// True if `before` ends with a negation, perhaps with a few small words behind it.
fn is_negated(before: &str) -> bool {
    let mut rest = before.trim_end();
    loop {
        if NEGATIONS.iter().any(|negation| rest.ends_with(negation)) {
            return true;
        }
        let Some(shorter) = BETWEEN.iter().find_map(|word| rest.strip_suffix(word)) else {
            return false;
        };
        rest = shorter;
    }
}
