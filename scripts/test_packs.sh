#!/bin/sh
# Reads the shipped rule packs with PyYAML and yamllint, as the commit hooks of other projects do. Both are installed in a
# virtual environment.
#
#   scripts/test_packs.sh [FILE...]      by default the packs of rules/ and examples/rules/
#
# PYTHON is the Python to use; VENV the folder of the environment.
set -eu
cd "$(dirname "$0")/.."
versions='pyyaml==6.0.4 yamllint==1.38.0'
venv=${VENV:-.venv-packs}
if [ "$(cat "$venv/versions" 2>/dev/null)" != "$versions" ]; then
    "${PYTHON:-python3}" -m venv --clear "$venv"
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check $versions
    echo "$versions" > "$venv/versions"
fi
[ "$#" -gt 0 ] || set -- rules/*.yaml examples/rules/*.yaml
"$venv/bin/python" - "$@" <<'PYTHON'
import sys
import yaml

for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        pack = yaml.safe_load(file)
    if not isinstance(pack, dict) or not (pack.get("pack") or pack.get("library")):
        sys.exit(f"{path}: PyYAML reads no pack in it")
    for rule in pack.get("rules", []):
        for example in rule.get("examples", {}).get("hits", []):
            # An example of tool calls may have no text.
            text = example.get("text", "") if isinstance(example, dict) else example
            if not isinstance(text, str):
                sys.exit(f"{path}: PyYAML reads the example {text!r} of {rule['id']} as {type(text).__name__}")
PYTHON
"$venv/bin/yamllint" --strict -d '{extends: relaxed, rules: {line-length: disable}}' "$@"
echo "ok: $# packs"
