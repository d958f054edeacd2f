//! Speech acts in generated sentences: frames of each act around statements, between openings and
//! endings that change nothing.

use super::tests::act;

const STATEMENTS: [&str; 4] =
    ["guarantee full occupancy", "accept 480", "send the password", "pay him a kickback"];
const OPENINGS: [&str; 6] = [
    "",
    "Hi, ",
    "Thanks for the call. ",
    "I understand, but ",
    "The room is nice; ",
    "Is that all? ",
];
const ENDINGS: [&str; 5] = ["", ".", ", thanks", ". Have a nice day!", " for this room"];

const STATED: [&str; 26] = [
    "we {}",
    "ok, we {}",
    "sure, we will {}",
    "no problem, we {}",
    "no, we will {}",
    "no worries we can {}",
    "don't worry, we {}",
    "not only do we {}",
    "without a doubt we {}",
    "we can't help there, but we {}",
    "we can't help there but we will {}",
    "he cannot do that, so we {}",
    "it isn't cheap and we {}",
    "you asked for less, but we {}",
    "if you need anything call us, but we {}",
    "as I said, we {}",
    "I said we {}",
    "let me be clear: we {}",
    "we cannot refuse to {}",
    "even if it rains we {}",
    "we {} and that is no lie",
    "we {}, I am not lying",
    "I do not doubt that we {}",
    "we wish you well, we {}",
    "people who know us agree: we {}",
    "this is legal and we {}",
];
const NEGATED: [&str; 32] = [
    "we can't {}",
    "we cannot {}",
    "we can not {}",
    "we will never {}",
    "we do not {}",
    "we don't {}",
    "we won't ever {}",
    "nobody can {}",
    "no one can {}",
    "it is impossible to {}",
    "we are unable to {}",
    "we refuse to {}",
    "there is no way we can {}",
    "please never {}",
    "please don't ever {}",
    "I don't think that we can {}",
    "we neither want to {}",
    "we cannot, unfortunately, {}",
    "we cannot and will not {}",
    "we are not allowed to {}",
    "I doubt that we {}",
    "I wish we could {}",
    "I wish that I could {}",
    "anyone who would {} is lying",
    "to {} is illegal",
    "to {} is against our rules",
    "to {} would get me fired",
    "to {} would cost me my job",
    "to {} is out of the question",
    "we {} only over my dead body",
    "if we said we {}, I'd be lying",
    "to {} gets people fired",
];
const ASKED: [&str; 16] = [
    "can you {}?",
    "could we {}?",
    "would you {}",
    "so would you {}?",
    "do you want to {}?",
    "is it possible to {}?",
    "will they {}?",
    "ok, can you {}?",
    "are you able to {}?",
    "why would we {}?",
    "when can you {}",
    "how could I {}?",
    "any chance you could {}",
    "I wonder if you could {}",
    "let me know if you can {}",
    "they want to {}?",
];
const REPORTED: [&str; 16] = [
    "other hotels {}",
    "the other platform will {}",
    "our competitors {}",
    "he said they {}",
    "he said that they {}",
    "the guest told us they {}",
    "you said you would {}",
    "your colleague claimed they {}",
    "I was told they {}",
    "I heard they {}",
    "according to him they {}",
    "they have always said they {}",
    "the mail says: we {}",
    "he asked us to {}",
    "the guest wrote \"we {}\" in his mail",
    "if anyone tells you they {}, report it",
];
const CONDITIONAL: [&str; 12] = [
    "once the manager approves, we {}",
    "when my boss agrees, we {}",
    "as soon as he confirms, we {}",
    "if you agree, we {}",
    "if you agree we {}",
    "if you agree, then we {}",
    "we {} if you agree",
    "unless you agree, we {}",
    "we {} as long as you agree",
    "provided that you agree, we {}",
    "in case you agree, we {}",
    "assuming you agree, we {}",
];
const PAST: [&str; 4] = [
    "last year we had to {}",
    "we used to {}",
    "previously we would {}",
    "in the past we had to {}",
];

const ZH_STATEMENTS: [&str; 3] = ["保证满房", "接受480元", "私下返现"];
const ZH_OPENINGS: [&str; 5] = ["", "您好，", "感谢您的来电。", "我理解，但", "房间不错！"];
const ZH_ENDINGS: [&str; 4] = ["", "。", "，谢谢", "。祝您愉快！"];

const ZH_STATED: [&str; 25] = [
    "我们{}",
    "好的，我们{}",
    "没问题，我们{}",
    "不好意思，我们{}",
    "不用担心，我们{}",
    "我们不仅{}",
    "非常高兴，我们{}",
    "毫无疑问我们{}",
    "别的做不到，但我们{}",
    "那个不行，不过我们{}",
    "我们不得不{}",
    "我们不会不{}",
    "特别推荐，我们{}",
    "对方没同意，所以我们{}",
    "即使淡季我们也{}",
    "跟您说，我们{}",
    "我们{}，不骗您",
    "我们{}，绝不食言",
    "我们{}，不会让您失望",
    "就算亏本我们也{}",
    "哪怕淡季，我们也{}",
    "不做别的，我们{}",
    "我们{}，没人会后悔",
    "我们{}，不同意就下架",
    "我们{}，别说出去",
];
const ZH_NEGATED: [&str; 35] = [
    "我们不{}",
    "我们不能{}",
    "我们无法{}",
    "我们不会{}",
    "我们绝不{}",
    "我们从不{}",
    "没有人能{}",
    "谁也不能{}",
    "难以{}",
    "请不要{}",
    "请勿{}",
    "别{}",
    "我们没办法{}",
    "公司禁止{}",
    "我们拒绝{}",
    "我们不会也不能{}",
    "我们没法给您{}",
    "未必{}",
    "{}这种事我们不做",
    "{}这种话我不会说",
    "{}的做法我们不接受",
    "{}的事，我们不参与",
    "{}的，一律拒绝",
    "{}？我们不做",
    "有人{}的话，别信",
    "如果我们{}，那是骗您",
    "{}的可能性不大",
    "{}太难了",
    "{}是骗人的",
    "{}的事不存在",
    "怎么可能{}",
    "哪能{}",
    "有些平台{}，我们不会",
    "{}违反平台规定",
    "{}这种事公司严禁",
];
const ZH_ASKED: [&str; 12] = [
    "您能{}吗？",
    "您能{}吗",
    "您能不能{}",
    "能否{}",
    "是否{}",
    "您是不是{}",
    "可不可以{}？",
    "您愿意{}么？",
    "为什么要{}",
    "怎么{}？",
    "请问{}",
    "您会{}？",
];
const ZH_REPORTED: [&str; 10] = [
    "隔壁酒店{}",
    "其他平台都{}",
    "同行也{}",
    "客人说{}",
    "对方表示{}",
    "您说过{}",
    "听说{}",
    "据说别家{}",
    "他告诉我{}",
    "老板说：{}",
];
const ZH_CONDITIONAL: [&str; 13] = [
    "等领导批了，我们{}",
    "领导同意后，我们{}",
    "审批通过我们就{}",
    "如果您同意，我们{}",
    "要是您同意我们就{}",
    "只要您同意，我们{}",
    "您同意的话，我们{}",
    "假如您同意，就{}",
    "除非您同意，我们{}",
    "若您同意，我们可以{}",
    "就算{}，我们也亏",
    "哪怕{}，也没有用",
    "即使{}，结果一样",
];
const ZH_PAST: [&str; 4] = ["之前我们{}", "去年{}", "上次我们{}", "我们曾经{}"];

fn wrong(
    frames: &[&str],
    parts: [&[&str]; 3],
    wanted: Option<&str>,
    number: impl Fn(&str) -> bool,
) -> Vec<String> {
    let [openings, statements, endings] = parts;
    let mut wrong = Vec::new();
    for frame in frames {
        for statement in statements {
            for (opening, ending) in
                openings.iter().flat_map(|opening| endings.iter().map(move |end| (opening, end)))
            {
                let clause = frame.replace("{}", statement);
                // Endings follow statements only, not questions.
                let ending = if clause.ends_with(['?', '？', '吗']) { "" } else { *ending };
                let text = format!("{opening}{clause}{ending}");
                let words = if number(statement) { "480" } else { statement };
                let found = act(&text, words, number(statement));
                if found != wanted {
                    wrong.push(format!("[{frame}] {text}: {words} is {found:?}, not {wanted:?}"));
                }
            }
        }
    }
    wrong
}

#[test]
fn every_frame_has_its_act_in_both_languages() {
    let english = [&OPENINGS[..], &STATEMENTS, &ENDINGS];
    let chinese = [&ZH_OPENINGS[..], &ZH_STATEMENTS, &ZH_ENDINGS];
    let number = |statement: &str| statement.contains("480");
    let mut all = Vec::new();
    for (frames, parts, wanted) in [
        (&STATED[..], english, None),
        (&NEGATED, english, Some("negated")),
        (&ASKED, english, Some("question")),
        (&REPORTED, english, Some("reported")),
        (&CONDITIONAL, english, Some("conditional")),
        (&PAST, english, Some("past")),
        (&ZH_STATED, chinese, None),
        (&ZH_NEGATED, chinese, Some("negated")),
        (&ZH_ASKED, chinese, Some("question")),
        (&ZH_REPORTED, chinese, Some("reported")),
        (&ZH_CONDITIONAL, chinese, Some("conditional")),
        (&ZH_PAST, chinese, Some("past")),
    ] {
        all.extend(wrong(frames, parts, wanted, number));
    }
    let count = all.len();
    all.dedup_by_key(|wrong| wrong.split(']').next().map(str::to_owned));
    all.truncate(40);
    assert!(all.is_empty(), "{count} wrong: {all:#?}");
}
