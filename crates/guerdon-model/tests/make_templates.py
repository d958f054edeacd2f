"""Writes tests/templates/: chat templates of ten families, and what transformers renders with them.

    python tests/make_templates.py            needs transformers and jinja2; nothing else of the tests does

The templates are our own, written after the formats that the families document; between them they use what the families'
own use: namespaces, macros, slices, Python's string methods, `loop_controls`, `tojson`, `raise_exception`, generation tags,
whitespace control. What is compared is the rendering, character by character, refusals included.
"""

import json
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

OUT = Path(__file__).parent / "templates"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

TEMPLATES = {
    "chatml": """{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
    "llama2": """{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = '<<SYS>>\\n' ~ messages[0]['content'].strip() ~ '\\n<</SYS>>\\n\\n' %}{% else %}{% set rest = messages %}{% set system = '' %}{% endif %}
{%- for m in rest %}
    {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate user/assistant') }}{% endif %}
    {%- set text = system + m['content'] if loop.index0 == 0 else m['content'] %}
    {%- if m['role'] == 'user' %}{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}{% else %}{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}
{%- endfor %}""",
    "llama3": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "mistral": """{%- set ns = namespace(index=0) %}
{{- bos_token }}
{%- for m in messages %}
    {%- if m.role == 'system' %}{% continue %}{% endif %}
    {%- if (m.role == 'user') != (ns.index % 2 == 0) %}{{ raise_exception('after the system message, roles must alternate, not ' ~ m.role) }}{% endif %}
    {%- set ns.index = ns.index + 1 %}
    {%- if m.role == 'user' %}
        {{- '[INST] ' }}
        {%- if loop.last and messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{% endif %}
        {{- m.content + ' [/INST]' }}
    {%- else %}
        {{- ' ' + m.content | trim + eos_token }}
    {%- endif %}
{%- endfor %}""",
    "gemma": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{% for message in messages %}
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}""",
    "qwen2": """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content']}}{% if (loop.last and add_generation_prompt) or not loop.last %}{{ '<|im_end|>' + '\\n'}}{% endif %}{% endfor %}""",
    "qwen3": """{%- set ns = namespace(last_query=messages | length - 1, searching=true) %}
{%- for m in messages[::-1] %}
    {%- set index = (messages | length - 1) - loop.index0 %}
    {%- if ns.searching and m.role == "user" and not (m.content.startswith('<tool_response>') and m.content.endswith('</tool_response>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for m in messages %}
    {%- if m.role == "assistant" %}
        {%- set content = m.content %}
        {%- set thought = '' %}
        {%- if '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query and (loop.last or thought) %}
            {{- '<|im_start|>assistant\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>assistant\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif m.role == "tool" %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}""",
    "phi3": """{% for message in messages %}{% if message['role'] in ['system', 'user', 'assistant'] %}{{'<|' ~ message['role'] ~ '|>\\n' ~ message['content'] ~ '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}""",
    "zephyr": """{% macro turn(role, text) -%}
<|{{ role }}|>
{{ text }}{{ eos_token }}
{%- endmacro %}
{% for message in messages %}
{% generation %}{{ turn(message['role'], message['content']) }}{% endgeneration %}

{% endfor %}""",
    "command": """{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set rest = messages[1:] %}{% else %}{% set system = false %}{% set rest = messages %}{% endif %}{% if system != false %}{{ '<|SYSTEM|>' + system + '<|END|>' }}{% endif %}{% for m in rest %}{{ '<|' ~ m.role.upper() ~ '|>' ~ ({'text': m.content} | tojson if m.role == 'tool' else m.content.strip()) ~ '<|END|>' }}{% endfor %}""",
}


def say(*turns):
    return [{"role": role, "content": content} for role, content in turns]


DIALOGUES = [
    say(("user", "480 is our best price."), ("assistant", "Would 420 work?")),
    say(("system", " Be kind. "), ("user", "  480?  "), ("assistant", "420.\n"), ("user", "<b>No & \"no\"</b>"), ("assistant", " 好的，那就450元。 ")),
    say(("user", "报价？"), ("assistant", "<think>\nthey want 420\n</think>\n\n我们可以给到430元。"), ("user", "再低一点"), ("assistant", "<think>hold</think>最低425。")),
    say(("user", "rooms?"), ("assistant", "let me look"), ("tool", "{\"rooms\": 3}"), ("assistant", "Three.")),
    say(("assistant", "Hello!")),
]


def main():
    OUT.mkdir(exist_ok=True)
    golden = []
    for name, template in TEMPLATES.items():
        (OUT / f"{name}.jinja").write_text(template)
        for number, messages in enumerate(DIALOGUES):
            try:
                text = render_jinja_template([messages], chat_template=template, add_generation_prompt=False, **TOKENS)[0][0]
                row = {"rendered": text}
            except Exception as refusal:  # the template's refusal, of any class
                row = {"refused": str(refusal)}
            golden.append({"template": name, "dialogue": number, **row})
    lines = [json.dumps(row, ensure_ascii=False) for row in golden]
    dialogues = json.dumps(DIALOGUES, ensure_ascii=False)
    (OUT / "golden.json").write_text('{"dialogues": ' + dialogues + ',\n"rows": [\n' + ",\n".join(lines) + "\n]}\n")


if __name__ == "__main__":
    main()
