"""-1 for each tool call whose arguments are not those that the tool declares.

    pip install jsonschema
    python -m guerdon.source tool_schema.py

The definitions come from the rollout's `tools`, or from `context.tools`, in OpenAI's form.
"""

import json

import guerdon

try:
    import jsonschema
except ModuleNotFoundError as missing:
    raise SystemExit("error: tool_schema.py needs jsonschema\n  help: pip install jsonschema") from missing


@guerdon.source(concurrency=1)
def tool_schema(turn):
    tools = turn.tools or turn.context.get("tools") or []
    schemas = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in tools}
    faults = {}
    for place, call in enumerate(turn.tool_calls):
        name, arguments = call["function"]["name"], call["function"].get("arguments") or "{}"
        if name not in schemas:
            faults[f"{place}:{name}"] = "there is no such tool"
            continue
        try:
            given = json.loads(arguments) if isinstance(arguments, str) else arguments
            jsonschema.validate(given, schemas[name])
        except ValueError as error:
            faults[f"{place}:{name}"] = f"the arguments are not JSON: {error}"
        except jsonschema.ValidationError as error:
            faults[f"{place}:{name}"] = f"{error.json_path}: {error.message}"[:300]
    return guerdon.SourceResult(-float(len(faults)), {"calls": len(turn.tool_calls)}, detail=faults or None)
