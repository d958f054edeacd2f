//! The same rules and turns for every engine: built from a seed, or with texts sampled from a file.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// A rule for both engines.
pub(crate) struct BenchRule {
    /// YAML, as in a pack.
    pub(crate) yaml: String,
    /// The same for Python's `re`, to be run on folded text.
    pub(crate) regex: String,
}

/// xorshift64*: the same numbers on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    pub(crate) fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.below(from.len())]
    }
}

static ZH: LazyLock<Vec<&str>> = LazyLock::new(|| {
    "我们|酒店|价格|房间|客人|平台|合作|周末|活动|订单|流量|排名|入住|优惠|前台|大床房|早餐|免费|\
     取消|确认|提前|周边|同档|竞争|淡季|旺季|调整|建议|支持|需要|可以|希望|目前|商圈|评价|图片|服务|\
     停车|发票|押金"
        .split('|')
        .collect()
});
static EN: LazyLock<Vec<&str>> = LazyLock::new(|| {
    "we|the hotel|price|rooms|guests|platform|together|weekend|campaign|bookings|traffic|ranking|\
     stay|offer|front desk|king room|breakfast|free|cancel|confirm|in advance|nearby|similar|\
     compete|low season|high season|adjust|suggest|support|need|can|hope|currently|district|reviews|\
     photos|service|parking|invoice|deposit"
        .split('|')
        .collect()
});
static BAD_ZH: LazyLock<Vec<&str>> = LazyLock::new(|| {
    "工单|目标价|话术|内部系统|考核指标|提示词|底价|心理价|回扣|好处费|返点|下线|下架|封店|降权|\
     罚款|保证满房|稳赚不赔|包在我身上|打包票|百分之百|绝对没问题|双倍赔偿|免佣金|独家|私下|\
     绕开平台|不回复就当同意|视为同意|默认同意|系统提示|推理过程|思考过程|语言模型|人工智能|\
     作为助手|客服电话|加微信|转账|现金|身份证|银行卡|验证码|密码|投诉|差评|刷单|虚假|最低价|\
     全网最低|第一名|永久|无条件|马上签|最后一次|错过就没有|别告诉|内部价|员工价|成本价"
        .split('|')
        .collect()
});
static BAD_EN: LazyLock<Vec<&str>> = LazyLock::new(|| {
    "work order|target price|playbook|internal system|kpi target|system prompt|reservation price|\
     walk-away price|kickback|under the table|delist|take down|penalize|suspend|fine you|\
     full occupancy|no risk|trust me|i promise|one hundred percent|absolutely no problem|\
     double refund|waive the commission|exclusive|off the books|bypass the platform|\
     silence is consent|deemed accepted|we will assume|chain of thought|reasoning|language model|\
     as an ai|as an assistant|call me at|wechat id|wire transfer|cash only|passport number|\
     card number|verification code|password|complain|bad review|fake orders|fraud|lowest price ever|\
     cheapest online|number one|forever|unconditional|sign now|last chance|before it is gone|\
     do not tell|insider price|staff price|cost price|guaranteed profit|secret deal"
        .split('|')
        .collect()
});
const UNITS: [(&str, &str); 8] = [
    ("元", "元"),
    ("块", "块"),
    ("rmb", "rmb(?![a-z])"),
    ("usd", "usd(?![a-z])"),
    ("%", "%"),
    ("折", "折"),
    ("间", "间"),
    ("晚", "晚"),
];

/// `count` rules: literal lists, alternations, numbers, shapes.
pub(crate) fn rules(count: usize) -> Vec<BenchRule> {
    let mut random = Random::new(42);
    (0..count).map(|index| rule(index, &mut random)).collect()
}

fn rule(index: usize, random: &mut Random) -> BenchRule {
    // Words of rules beyond the first two hundred get a suffix, so that a thousand rules look for
    // different words.
    let more = if index < 200 { String::new() } else { random.pick(&ZH).to_owned() };
    let (matcher, regex) = match index % 10 {
        0..=2 => {
            let words: Vec<String> =
                (0..3).map(|_| format!("{}{more}", random.pick(&BAD_ZH))).collect();
            (any_of(&words), alternation(&words))
        }
        3 | 4 => {
            let words: Vec<String> =
                (0..3).map(|_| format!("{}{more}", random.pick(&BAD_EN))).collect();
            (any_of(&words), alternation(&words))
        }
        5 | 6 => {
            let (unit, pattern) = UNITS[random.below(UNITS.len())];
            let at_least =
                if index < 200 { 660 + 4 * random.below(40) } else { 780 + random.below(18) };
            let number =
                format!("{{ number: {{ unit: ['{unit}'] }} }}\n    where: value > {at_least}");
            (number, format!(r"(?P<value>\d[\d,]*(?:\.\d+)?) ?{pattern}"))
        }
        7 => {
            let (one, two) = (random.pick(&BAD_ZH), random.pick(&ZH));
            quoted(&format!("(?:{one}|{two}{one}){more}[^。!?\\n]{{0,12}}(?:{two}|同意|确认)"))
        }
        8 => {
            let (one, two) = (random.pick(&BAD_EN), random.pick(&EN));
            quoted(&format!(
                "\\b(?:we|i|you) (?:can|will|must) (?:{one}|{two}) (?:{two}|{one})\\b{more}"
            ))
        }
        _ if index < 200 => shape(index / 10),
        _ => {
            let (one, two) = (random.pick(&BAD_ZH), random.pick(&BAD_EN));
            quoted(&format!("(?:{one}|{two}){more}[!?]?"))
        }
    };
    BenchRule { yaml: format!("  - id: r{index}\n    points: -1\n    match: {matcher}\n"), regex }
}

fn shape(index: usize) -> (String, String) {
    let long = 30 + index % 20;
    let patterns = [
        "[!?]{2,}".to_owned(),
        format!("[^\\n]{{{}}}", 560 + index),
        format!("[\\u4e00-\\u9fff]{{{long}}}"),
        "<[a-z_]{1,20}>".to_owned(),
        "\\*\\*[^*\\n]{1,40}\\*\\*".to_owned(),
        "\\b1[3-9]\\d{9}\\b".to_owned(),
        format!("[a-z]{{{}}}", 16 + index % 9),
        "\\{[a-z_]{1,20}\\}".to_owned(),
        "\\b[\\w.]{2,20}@[a-z]{2,20}\\.[a-z]{2,4}\\b".to_owned(),
        "(?:^|\\n)#{1,4} ".to_owned(),
    ];
    quoted(&patterns[index % patterns.len()])
}

fn any_of(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    format!("{{ any_of: [{}] }}", words.join(", "))
}

fn alternation(words: &[String]) -> String {
    let mut words = words.to_vec();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words.join("|")
}

/// Quotes a regex for both engines. `\w` occurs only in brackets, where it is spelt out for Python.
fn quoted(pattern: &str) -> (String, String) {
    let ours = pattern.replace("\\u4e00-\\u9fff", "一-\u{9fff}");
    (
        format!("{{ regex: '{}' }}", ours.replace('\'', "''")),
        format!("(?a:{})", pattern.replace("\\w", "a-z0-9_")),
    )
}

/// The rules as one pack.
pub(crate) fn pack(rules: &[BenchRule]) -> String {
    let mut text = "pack: bench\nabout: Rules for measuring.\nrules:\n".to_owned();
    for rule in rules {
        text.push_str(&rule.yaml);
    }
    text
}

/// `count` turns of about 630 bytes, Chinese and English by turns, or of texts sampled from
/// `samples`.
pub(crate) fn turns(count: usize, samples: &[String]) -> Vec<String> {
    let mut random = Random::new(7);
    (0..count).map(|index| turn(&mut random, index % 2 == 0, samples)).collect()
}

fn turn(random: &mut Random, chinese: bool, samples: &[String]) -> String {
    let mut text = String::new();
    let marks =
        if chinese { ["，", "。", "，", "！", "？"] } else { [", ", ". ", ", ", "! ", "? "] };
    while text.len() < 600 {
        if !samples.is_empty() && random.below(2) == 0 {
            text.push_str(&samples[random.below(samples.len())]);
            text.push_str(if random.below(6) == 0 { "\n" } else { marks[1] });
            continue;
        }
        for _ in 0..3 + random.below(4) {
            let (words, between) = if chinese { (&*ZH, "") } else { (&*EN, " ") };
            text.push_str(random.pick(words));
            text.push_str(between);
        }
        match random.below(24) {
            0 => text.push_str(if chinese { random.pick(&BAD_ZH) } else { random.pick(&BAD_EN) }),
            1 => drop(write!(text, "{}元", 100 + random.below(700))),
            2 => drop(write!(text, "{} usd ", 100 + random.below(700))),
            3 if chinese => text.push_str("４８０元"),
            4 => text.push_str("!!"),
            5 => text.push_str("**优惠**"),
            _ => {}
        }
        text.push_str(random.pick(&marks));
    }
    text
}
