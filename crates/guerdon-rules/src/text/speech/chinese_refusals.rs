//! Chinese words with which a speaker refuses or denies what was named before.

/// Questions that deny what they ask: `怎么可能480元就成交`.
pub(super) const RHETORICAL: &[&str] =
    &["怎么可能", "怎么会", "怎么敢", "哪能", "哪会", "哪敢", "哪里会", "岂能", "岂会", "岂敢"];
/// Words of a clause that is granted for the sake of argument: `就算480元成交，…`.
pub(super) const CONCESSIONS: &[&str] = &["就算", "即使", "即便", "哪怕", "纵使", "纵然"];
/// Words before the verb of a refusal.
pub(super) const REFUSING: &[&str] = &[
    "不会",
    "不能",
    "不敢",
    "不想",
    "不可以",
    "不再",
    "不要",
    "不得",
    "从不",
    "绝不",
    "决不",
    "不",
    "没人",
    "没人敢",
    "别",
    "勿",
    "莫",
    "休想",
];
/// Verbs of a refusal, with which its clause ends: `有回扣的合作我们不做`.
pub(super) const REFUSED: &[&str] = &[
    "做",
    "搞",
    "碰",
    "沾",
    "干",
    "接受",
    "说",
    "讲",
    "信",
    "相信",
    "参与",
    "支持",
    "允许",
    "提供",
    "同意",
    "答应",
    "收",
    "考虑",
    "采用",
    "存在",
    "承诺",
    "保证",
    "认可",
    "赞成",
    "当真",
    "听",
    "理",
    "这么做",
    "这样做",
    "这么干",
    "这样干",
    "这么说",
    "乱说",
    "乱承诺",
];
/// Words that refuse without a verb of [`REFUSED`], with which their clause ends.
pub(super) const REFUSALS: &[&str] = &[
    "拒绝",
    "免谈",
    "没门",
    "不行",
    "不可能",
    "没有的事",
    "没这回事",
    "违规",
    "违法",
    "犯法",
    "禁止",
    "严禁",
    "杜绝",
    "没好处",
    "没有好处",
    "假的",
    "骗人",
    "骗您",
    "骗你",
    "骗局",
];
/// Whole clauses that refuse the clause before them: `…，我们不会`.
pub(super) const BARE_REFUSALS: &[&str] =
    &["不会", "不能", "不敢", "不行", "不干", "没有", "不可以", "不可能"];
/// Words before a refusal that is a clause of its own.
pub(super) const BEFORE_REFUSALS: &[&str] = &[
    "我们", "我方", "我司", "我", "咱们", "咱", "平台", "公司", "本店", "这边", "您", "你", "请",
    "千万", "一律", "一概", "绝对", "坚决", "统统", "全部", "全都", "都", "也", "可", "是", "那就",
    "那", "这就", "这", "就", "种", "样", "可以", "肯定", "当然", "从来", "直接", "会", "的",
];
