"""Writes tests/cuts/: small tokenizers, dialogues, and digests of the ids that the training recipe reads.

    python tests/make_cuts.py            needs tokenizers, transformers, torch and jinja2

The recipe (examples/reward-model) and guerdon must cut dialogues identically, and must both read control
tokens in messages as text. The rows hold a digest of the ids for every dialogue, limit, tokenizer and
template, computed by the recipe's own functions; src/encode/golden.rs replays them."""

import hashlib
import json
import random
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "examples/reward-model"))

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

from hf_reward import Texts  # noqa: E402
from rm_roles import Roles  # noqa: E402
from rm_text import encode, load_tokenizer  # noqa: E402

OUT = HERE / "cuts"
TEMPLATES = ("chatml", "gemma", "llama2", "llama3", "mistral", "phi3", "qwen2", "qwen3")
LIMITS = (9, 20, 33, 72)
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
# Not special, as in the tokenizers of Gemma, Qwen and Phi.
ADDED = ["<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<think>",
         "</think>", "<tool_response>", "</tool_response>", "<table>", "\n\n"]
WORDS = ("the a room price night offer is 420 480 for we can do deal final no yes please breakfast included thank you "
         "manager asks what about two nights with view over lake zürich 你好 价格 最好 🙂 naïve ok sorry, well. cannot!").split()


def corpus(rng):
    return [" ".join(rng.choices(WORDS, k=rng.randint(3, 12))) for _ in range(400)]


def tokenizers(rng):
    texts = corpus(rng)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    bpe.add_special_tokens(SPECIAL[1:])
    bpe.add_tokens([AddedToken(t, normalized=False) for t in ADDED])

    # As XLM-R: the control tokens are pieces of the vocabulary, which a text can spell.
    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.NFKC()
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.train_from_iterator(texts, trainers.UnigramTrainer(vocab_size=260, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    unigram.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])

    # As BERT, with tokens that are matched after normalisation.
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer(lowercase=True)
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False))
    words.add_tokens([AddedToken("<|MARK|>", normalized=True)])
    words.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])

    # As an old Llama: a vocabulary with merges of the control tokens' pieces.
    letters = "</>abcdefghijklmnopqrstuvwxyz0123456789.,!|_[]INST"
    pieces = dict.fromkeys(["<unk>", "<s>", "</s>", "▁", *letters, "</", "s>", "▁t", "he", "▁the"])
    merges = [("<", "/"), ("s", ">"), ("</", "s>"), ("▁", "t"), ("h", "e"), ("▁t", "he")]
    llama = Tokenizer(models.BPE({t: i for i, t in enumerate(pieces)}, merges, unk_token="<unk>", fuse_unk=True))
    llama.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    llama.add_special_tokens(["<unk>", "<s>", "</s>"])
    return {"bytes": bpe, "unigram": unigram, "words": words, "llama": llama}


def sentence(rng, length):
    return " ".join(rng.choices(WORDS, k=length))


def dialogues(rng):
    """Dialogues of all lengths, and dialogues whose messages spell control tokens or parts of them."""
    lengths = [(3, 4), (6, 8, 5), (2, 30, 4, 6), (60, 5), (8, 70), (50, 60), (5, 6, 7, 8, 9, 10, 11, 12), (120, 150), (0, 4), (4, 0),
               (40, 3, 40, 3, 40, 3)]
    out = []
    for number, turns in enumerate(lengths):
        messages = [{"role": "system", "content": sentence(rng, 4 + 20 * (number % 4 == 3))}] if number % 3 == 2 else []
        for place, length in enumerate(turns):
            role = "assistant" if (len(turns) - place) % 2 else "user"
            messages.append({"role": role, "content": sentence(rng, length)})
        out.append(messages)
    said = [(role, sentence(rng, 5)) for role in ("user", "user", "assistant", "assistant")]
    out.append([{"role": role, "content": content} for role, content in said])
    marks = SPECIAL + ADDED + ["[SEP]", "[CLS]", "[UNK]", "<|mark|>", "<|MARK|>", "＜s＞", "<|im_", "end|>", "<", "|>", "<|im_end|>\n<|im_start|>user\n",
                               "</s", " ", "\n", "<think>\nso\n</think>\n\n", "\U0010fffd0\U0010fffd", "\U000f0041"]
    for _ in range(24):
        turns = rng.choice([2, 2, 4, 5])
        messages = []
        for place in range(turns):
            role = "assistant" if (turns - place) % 2 else "user"
            content = "".join(rng.choice([rng.choice(marks), " " + sentence(rng, 2)]) for _ in range(rng.randint(1, 9)))
            messages.append({"role": role, "content": content})
        out.append(messages)
    return out


def digest(ids):
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()[:12]


def row(tokenizer, template, truncation, keep_system, limit, encoded, roles=Roles()):
    """`encoded`: for each dialogue, what was read, or None for a refusal."""
    ids = [None if e is None else f"{len(e.ids)} {digest(e.ids)}{' cut' if e.truncated else ''}" for e in encoded]
    return {"tokenizer": tokenizer, "template": template, "truncation": truncation, "keep_system": keep_system, "limit": limit, "roles": "\n".join(roles.lines()), "read": ids}


def chat_rows(name, template, talks, cases):
    """`cases`: (truncation, keep_system, limit, roles)"""
    source = (HERE / "templates" / f"{template}.jinja").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "tokenizer.json").write_text((OUT / f"{name}.json").read_text(encoding="utf-8"), encoding="utf-8")
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "chat_template": source}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
        for truncation, keep_system, limit, roles in cases:
            texts = Texts(folder, limit, truncation, keep_system, roles=roles)

            def coded(messages):
                try:
                    return texts.encode(messages)
                except Exception:
                    return None

            yield row(name, template, truncation, keep_system, limit, [coded(m) for m in talks], roles)


def plain_rows(name, talks):
    tok = load_tokenizer(OUT / f"{name}.json")
    for limit in LIMITS:
        for truncation, keep_system in (("tokens", True), ("tokens", False), ("messages", False)):
            yield row(name, None, truncation, keep_system, limit, [encode(tok, m, len(m) - 1, limit, truncation, keep_system) for m in talks])


def main():
    rng = random.Random(16)
    OUT.mkdir(exist_ok=True)
    made = tokenizers(rng)
    for name, tok in made.items():
        tok.save(str(OUT / f"{name}.json"), pretty=False)
    talks = dialogues(rng)
    cases = [("tokens", keep, limit, Roles()) for keep in (True, False) for limit in LIMITS]
    cases += [("messages", True, limit, Roles()) for limit in LIMITS[2:]]
    mended = [Roles("merge", "drop"), Roles("merge", "prefix", "(The assistant begins.)")]
    mended = [("tokens", True, limit, roles) for roles in mended for limit in (33, 72, 400)]
    rows = [r for template in TEMPLATES for r in chat_rows("bytes", template, talks, cases)]
    rows += [r for template in ("llama2", "mistral") for r in chat_rows("llama", template, talks, cases[::2])]
    rows += [r for template in ("gemma", "llama2", "mistral") for r in chat_rows("bytes", template, talks, mended)]
    rows += [r for name in made for r in plain_rows(name, talks)]
    lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows)
    text = json.dumps(talks, ensure_ascii=False, indent=1)
    (OUT / "golden.json").write_text(f'{{"dialogues": {text},\n"rows": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(rows)} rows of {len(talks)} dialogues")


if __name__ == "__main__":
    main()
