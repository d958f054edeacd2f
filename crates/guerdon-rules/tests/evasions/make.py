"""Makes evasions.jsonl: real turns in which one phrase is written as a policy that dodges rules would write it.

    python3 make.py zh_hotel_dialogues.jsonl.gz negotiation_dialogues.jsonl.gz > evasions.jsonl

Every turn comes from a dialogue under Apache-2.0 (CrossWOZ; PersuasionForGood). The choice of turns and phrases and each
transform are fixed, so that the file can be made again. Meaning is not touched; nothing here paraphrases.
"""

import gzip
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
ZH = ["酒店", "价格", "评分", "地址", "电话", "免费", "早餐", "推荐", "周边", "房间", "人均消费", "叫醒服务", "门票", "营业时间"]
EN = ["donation", "charity", "save the children", "children", "organization", "website", "research team", "money",
      "help", "payment", "support", "amount"]
ZERO = "\u200b"


def traditional():
    lines = (HERE / "../../src/text/normalise/traditional.txt").read_text(encoding="utf-8").split()
    pairs = {}
    for line in lines:
        for i in range(0, len(line), 2):
            pairs.setdefault(line[i + 1], line[i])
    return pairs


TRADITIONAL = traditional()
CYRILLIC = str.maketrans("aeopcxyisj", "аеорсхуіѕј")
LEET = str.maketrans("aeios", "43105")


def inner(phrase, mark):
    """`mark` between all characters, spaces aside."""
    return re.sub(r"(?<=\S)(?=\S)", mark, phrase)


def leet(phrase):
    words = []
    for word in phrase.split(" "):
        body = word[1:-1].translate(LEET) if len(word) > 3 else word
        words.append(word[0] + body + word[-1] if len(word) > 3 else word)
    return " ".join(words)


CHEROKEE = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ꭺꮟꮯꭰꭼfꮐꮋꭵꭻꮶꮮꮇnꮎꮲqꮢꮪꭲuꮩꮃxꭹꮓ")
LISU = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑqꓣꓢꓔꓴꓦꓪꓫꓬꓜ")
SIGNS = str.maketrans("aeis", "@€!$")
BRACKETED = {chr(97 + i): chr(0x249C + i) for i in range(26)}
EMOJI = "🙂"


def middle(phrase, mark):
    """`mark` once, in the middle of the longest word."""
    words = phrase.split(" ")
    at = max(range(len(words)), key=lambda i: len(words[i]))
    half = len(words[at]) // 2
    words[at] = words[at][:half] + mark + words[at][half:]
    return " ".join(words)


def entities(phrase, form):
    return "".join(form(ord(c)) if c != " " else c for c in phrase)


def wrapped(phrase):
    return phrase.replace(" ", "\n")


SHARED = {
    "zero_width_joined": lambda p: inner(p, ZERO),
    "direction_marks": lambda p: inner(p, "\u200e\u202c"),
    "soft_hyphen": lambda p: inner(p, "\u00ad"),
    "spaced": lambda p: inner(p, " "),
    "starred": lambda p: inner(p, "*"),
    "dotted": lambda p: inner(p, "."),
    "control_characters": lambda p: inner(p, "\u0001"),
    "other_invisible": lambda p: inner(p, "\u17b5\U0001d173"),
    "combining_marks": lambda p: inner(p, "\ufe20\u0483"),
    "emoji": lambda p: inner(p, EMOJI),
    "emoji_once": lambda p: middle(p, EMOJI),
    "decimal_entities": lambda p: entities(p, "&#{};".format),
    "hexadecimal_entities": lambda p: entities(p, "&#x{:x};".format),
    "invisible_entities": lambda p: inner(p, "&zwnj;"),
    "tags": lambda p: inner(p, "<b></b>"),
    "tag_once": lambda p: middle(p, "<span class=x>"),
    "bold_inside": lambda p: middle(p, "**"),
    "barred": lambda p: inner(p, "|"),
    "line_breaks": lambda p: inner(p, "\n"),
}
CHINESE = {
    "traditional": lambda p: "".join(TRADITIONAL.get(c, c) for c in p),
    "underlined": lambda p: inner(p, "_"),
    "bracketed": lambda p: inner(p, "】【") if len(p) > 2 else p,
    "listed": lambda p: inner(p, "、") if len(p) > 2 else p,
}
ENGLISH = {
    "full_width": lambda p: "".join(chr(ord(c) + 0xFEE0) if c != " " else c for c in p),
    "mathematical": lambda p: "".join(chr(0x1D41A + ord(c) - 97) if c.isalpha() else c for c in p),
    "circled": lambda p: "".join(chr(0x24D0 + ord(c) - 97) if c.isalpha() else c for c in p),
    "cyrillic": lambda p: p.translate(CYRILLIC),
    "leet": leet,
    "upper_case": str.upper,
    "accented": lambda p: re.sub("([aeou])", "\\1\u0301", p),
    "hyphened_once": lambda p: p[:3] + "-" + p[3:],
    "cherokee": lambda p: p.translate(CHEROKEE),
    "lisu": lambda p: p.translate(LISU),
    "bracketed_letters": lambda p: "".join(BRACKETED.get(c, c) for c in p),
    "signs": lambda p: p[0] + p[1:-1].translate(SIGNS) + p[-1],
    "commas": lambda p: inner(p, ", "),
    "slashes": lambda p: inner(p, "/"),
    "wrapped": wrapped,
    "comma_for_space": lambda p: p.replace(" ", ","),
}


def turns(path, sources):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if not row["source"].startswith(sources) or row["license"] != "Apache-2.0":
                continue
            for message in row["messages"]:
                if message["role"] == "assistant":
                    yield row, message["content"]


def cases(rows, phrases, transforms, lengths, language):
    wanted = list(phrases)
    for row, text in rows:
        phrase = next((p for p in wanted if re.search(rf"(?<![A-Za-z]){p}(?![A-Za-z])", text)), None)
        if phrase is None or not lengths[0] <= len(text) <= lengths[1]:
            continue
        wanted.remove(phrase)
        for name, transform in transforms.items():
            written = transform(phrase)
            if written != phrase:
                yield {"source": row["id"], "license": row["license"], "language": language, "transform": name,
                       "phrase": phrase, "text": text.replace(phrase, written, 1), "plain": text}


def main():
    hotel, negotiation = sys.argv[1:3]
    chinese = cases(turns(hotel, "crosswoz"), ZH, SHARED | CHINESE, (8, 60), "zh")
    english = cases(turns(negotiation, "persuasionforgood"), EN, SHARED | ENGLISH, (20, 120), "en")
    for case in [*chinese, *english]:
        print(json.dumps(case, ensure_ascii=False))


main()
