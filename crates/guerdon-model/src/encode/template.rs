//! Chat templates of Hugging Face tokenizers: Jinja templates written for Python.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use crate::encode::turns::Turn;

/// A compiled chat template.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
    literals: Vec<String>,
}

const NAME: &str = "chat_template.jinja";

impl ChatTemplate {
    /// Compiles `source`. The tokens are available to the template as `bos_token` and `eos_token`.
    pub(crate) fn compile(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        // The settings of transformers, which templates rely on.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", tojson);
        environment
            .add_template_owned(NAME, without_generation_tags(source))
            .map_err(|error| error.display_debug_info().to_string())?;
        Ok(Self {
            environment,
            bos_token: bos_token.to_owned(),
            eos_token: eos_token.to_owned(),
            literals: literals(source),
        })
    }

    /// The string literals of the template.
    pub(crate) fn literals(&self) -> &[String] {
        &self.literals
    }

    /// Renders the dialogue as text, without a prompt for another reply. The error is the
    /// template's own message, such as for a dialogue that does not alternate, or a fault of the
    /// template.
    pub(crate) fn render(&self, turns: &[Turn<'_>]) -> Result<String, String> {
        let messages: Vec<Value> = turns
            .iter()
            .map(|turn| context! { role => turn.role.as_str(), content => &*turn.content })
            .collect();
        self.environment
            .get_template(NAME)
            .and_then(|template| {
                template.render(context! {
                    messages => messages,
                    bos_token => self.bos_token.as_str(),
                    eos_token => self.eos_token.as_str(),
                    add_generation_prompt => false,
                    tools => Value::from(()),
                    documents => Value::from(()),
                })
            })
            .map_err(|error| error.to_string())
    }
}

fn raise_exception(detail: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, detail))
}

/// Always midnight of 26 July 2024: the date to which templates that print the current date default
/// when there is no clock. The current date would change every score from day to day.
#[expect(clippy::needless_pass_by_value, reason = "minijinja hands arguments over by value")]
fn strftime_now(format: String) -> Result<String, Error> {
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        text.push_str(match letters.next() {
            Some('d' | 'e') => "26",
            Some('m') => "07",
            Some('b' | 'h') => "Jul",
            Some('B') => "July",
            Some('y') => "24",
            Some('Y') => "2024",
            Some('a') => "Fri",
            Some('A') => "Friday",
            Some('j') => "208",
            Some('H' | 'M' | 'S') => "00",
            Some('F') => "2024-07-26",
            Some('T') => "00:00:00",
            Some('%') => "%",
            _ => {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("strftime_now: `{format}`"),
                ));
            }
        });
    }
    Ok(text)
}

/// JSON as transformers writes it: Python's spacing, without HTML escapes.
#[expect(clippy::needless_pass_by_value, reason = "minijinja hands arguments over by value")]
fn tojson(value: Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let mut text = Vec::new();
    let written = match indent.map(|width| " ".repeat(width)) {
        Some(indent) => value.serialize(&mut Serializer::with_formatter(
            &mut text,
            PrettyFormatter::with_indent(indent.as_bytes()),
        )),
        None => value.serialize(&mut Serializer::with_formatter(&mut text, SpacedJson)),
    };
    let failed = |error: String| Error::new(ErrorKind::BadSerialization, error);
    written.map_err(|error| failed(error.to_string()))?;
    String::from_utf8(text).map_err(|error| failed(error.to_string()))
}

/// Writes JSON with Python's spacing: `{"a": [1, 2]}`.
struct SpacedJson;

impl Formatter for SpacedJson {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// Replaces `{% generation %}` with `{% if true %}`, which keeps its whitespace control. The tag
/// marks the text for a trainer's loss; it does not change the text and is not valid Jinja.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        text.push_str(before);
        let Some(end) = tag.find("%}") else { break };
        let (tag, after) = tag.split_at(end + 2);
        let word = tag.trim_matches(|c: char| c.is_whitespace() || "{}%-+".contains(c));
        match word {
            "generation" => text.push_str(&tag.replace(word, "if true")),
            "endgeneration" => text.push_str(&tag.replace(word, "endif")),
            _ => text.push_str(tag),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The literals in the template's blocks, each once and in order. A template may look for them in
/// a message.
fn literals(source: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find('{') {
        let block = &rest[start..];
        let close = match block.as_bytes().get(1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => {
                rest = block.split_once("#}").map_or("", |(_, rest)| rest);
                continue;
            }
            _ => {
                rest = &block[1..];
                continue;
            }
        };
        rest = &block[2..];
        while !rest.is_empty() && !rest.starts_with(close) {
            let mut letters = rest.chars();
            let quote = letters.next();
            rest = letters.as_str();
            if let Some(quote @ ('\'' | '"')) = quote {
                let (literal, after) = quoted(rest, quote);
                if !found.contains(&literal) {
                    found.push(literal);
                }
                rest = after;
            }
        }
        rest = rest.strip_prefix(close).unwrap_or(rest);
    }
    found
}

/// The literal up to the quote, and the source after it.
fn quoted(source: &str, quote: char) -> (String, &str) {
    let mut literal = String::new();
    let mut letters = source.chars();
    while let Some(letter) = letters.next() {
        match letter {
            _ if letter == quote => break,
            '\\' => match letters.next() {
                Some('n') => literal.push('\n'),
                Some('t') => literal.push('\t'),
                Some('r') => literal.push('\r'),
                Some(other) => literal.push(other),
                None => {}
            },
            _ => literal.push(letter),
        }
    }
    (literal, letters.as_str())
}

#[cfg(test)]
mod tests {
    use guerdon_types::{Message, Role};

    use super::*;

    fn render(source: &str, messages: &[(Role, &str)]) -> Result<String, String> {
        let turns: Vec<_> = messages.iter().map(|(role, text)| Turn::with(*role, text)).collect();
        ChatTemplate::compile(source, "<s>", "</s>")?.render(&turns)
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        dialogues: Vec<Vec<Message>>,
        rows: Vec<Row>,
    }

    #[derive(serde::Deserialize)]
    struct Row {
        template: String,
        dialogue: usize,
        rendered: Option<String>,
        refused: Option<String>,
    }

    #[test]
    fn ten_template_families_match_transformers() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates");
        let read = |name: &str| crate::load::files::read_text(&folder.join(name)).unwrap();
        let golden: Golden = serde_json::from_str(&read("golden.json")).unwrap();
        assert_eq!(golden.rows.len(), 10 * golden.dialogues.len());
        for Row { template, dialogue, rendered, refused } in golden.rows {
            let compiled =
                ChatTemplate::compile(&read(&format!("{template}.jinja")), "<s>", "</s>").unwrap();
            let result = compiled
                .render(&golden.dialogues[dialogue].iter().map(Turn::of).collect::<Vec<_>>());
            match (rendered, refused, result) {
                (Some(expected), None, Ok(text)) => {
                    assert_eq!(text, expected, "{template}, {dialogue}")
                }
                (None, Some(words), Err(error)) => {
                    assert!(error.contains(&words), "{template}: {error}")
                }
                (expected, _, got) => {
                    panic!("{template}, {dialogue}: {got:?} instead of {expected:?}")
                }
            }
        }
    }

    const DIALOGUE: [(Role, &str); 3] = [
        (Role::System, "Be kind. "),
        (Role::User, "480?\nFinal."),
        (Role::Assistant, " 420 & <done>"),
    ];

    const CHATML: &str = "{% for message in messages %}
        {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
    {%- endfor %}
    {% if add_generation_prompt %}
        {{- '<|im_start|>assistant\\n' }}
    {% endif %}";

    #[test]
    fn chatml_renders_as_in_transformers() {
        let text = render(CHATML, &DIALOGUE).unwrap();
        assert_eq!(
            text,
            "<|im_start|>system\nBe kind. <|im_end|>\n<|im_start|>user\n480?\nFinal.<|im_end|>\n\
             <|im_start|>assistant\n 420 & <done><|im_end|>\n"
        );
    }

    const LLAMA3: &str = r#"{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"#;

    #[test]
    fn llama_3_template_renders_a_fixed_date() {
        assert_eq!(
            render(LLAMA3, &DIALOGUE).unwrap(),
            "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\nBe kind.<|eot_id|>\
             <|start_header_id|>user<|end_header_id|>\n\n480?\nFinal.<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n420 & <done><|eot_id|>"
        );
        assert!(
            render(LLAMA3, &DIALOGUE[1..])
                .unwrap()
                .contains("Today Date: 26 Jul 2024\n\n<|eot_id|>")
        );
    }

    #[test]
    fn template_refusal_is_returned_verbatim() {
        let alternate = "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}\
             {{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}";
        assert!(render(alternate, &DIALOGUE).unwrap_err().contains("roles must alternate"));
        assert_eq!(render(alternate, &DIALOGUE[1..]).unwrap(), "");
    }

    #[test]
    fn python_methods_loop_controls_and_json_are_supported() {
        let source = "{% for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}\
             {{ m.content.strip().split(' ')[0].upper() }};{% endfor %}\
             {{ {'a': ['<', 1]} | tojson }}{{ [1] | tojson(indent=2) }}";
        assert_eq!(render(source, &DIALOGUE).unwrap(), "BE;420;{\"a\": [\"<\", 1]}[\n  1\n]");
    }

    #[test]
    fn generation_marks_leave_no_trace() {
        let source = "a\n    {%- generation -%}\n  b {{ '%}' }}{% endgeneration %}c";
        assert_eq!(render(source, &[]).unwrap(), "ab %}c");
    }

    #[test]
    fn template_syntax_error_is_reported_with_its_line() {
        let error = ChatTemplate::compile("a\n{% if %}", "", "").unwrap_err();
        assert!(error.contains("{% if %}"), "{error}");
    }

    #[test]
    fn literals_are_those_in_blocks() {
        let source = "'no' {# 'no' #}{{ 'a\\n' + \"it's\" }}{% if '%}' in m['a\\n'] %}{ 'no' }{% endif %}{{ 'open";
        assert_eq!(literals(source), ["a\n", "it's", "%}", "open"]);
        assert!(literals("{").is_empty());
    }
}
