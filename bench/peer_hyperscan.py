"""hyperscan (PyPI `hyperscan`) with `re` on the rules and turns that the Rust benchmark exports.

hyperscan finds which rules match a turn, in one scan for all of them. `re` finds the spans and numbers of these rules
only. Three things are given to it: the turns are folded already and are at hand as text and as bytes, its spans need no
way back, and rules with numbers are compared by one regex each. `bench/run.sh hyperscan` runs it.

Reads one JSON object from the file named on the command line, prints one JSON object.
"""

import json
import re
import sys
import time

import hyperscan

PASSES = 7
# hyperscan has no lookahead, no named groups and no ASCII group. Without the lookahead it finds more, and `re` decides.
REPLACED = [("(?![a-z])", ""), ("(?P<value>", "("), ("(?a:", "(?:")]


def database(patterns):
    expressions = []
    for pattern in patterns:
        for old, new in REPLACED:
            pattern = pattern.replace(old, new)
        pattern = re.sub(r"\\u([0-9a-f]{4})", lambda escape: chr(int(escape[1], 16)), pattern)
        expressions.append(pattern.encode())
    flags = hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
    built = hyperscan.Database()
    built.compile(
        expressions=expressions,
        ids=list(range(len(expressions))),
        elements=len(expressions),
        flags=[flags] * len(expressions),
    )
    return built


def main(path):
    with open(path, encoding="utf-8") as file:
        work = json.load(file)
    rules = [re.compile(pattern) for pattern in work["patterns"]]
    least = work["least"]
    turns = [(text, text.encode()) for text in work["turns"]]
    scan = database(work["patterns"]).scan
    found = []
    add = found.append

    def matched(rule, start, end, flags, context):
        add(rule)

    best = float("inf")
    for _ in range(PASSES):
        started = time.process_time()
        hits = spans = checksum = 0
        for text, data in turns:
            found.clear()
            scan(data, match_event_handler=matched)
            for index in found:
                bound = least[index]
                hit = False
                for match in rules[index].finditer(text):
                    if bound is not None and float(match["value"].replace(",", "")) <= bound:
                        continue
                    hit = True
                    spans += 1
                    checksum += match.start() + match.end()
                hits += hit
        best = min(best, time.process_time() - started)
    speed = len(turns) / best
    print(json.dumps({"engine": "hyperscan", "turns_per_s": speed, "hits": hits, "spans": spans, "checksum": checksum}))


main(sys.argv[1])
