//! Chat templates: the text that the model reads, made of a dialogue. They are Jinja templates as
//! in Hugging Face tokenizers, with the same settings.

use guerdon_types::Message;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;

use crate::error::RemoteError;

const NAME: &str = "template";

/// ChatML: Qwen, SmolLM and many others.
const CHATML: &str = "\
{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}";

/// Llama 3. `bos_token` is left to the tokenizer of the server unless it is set.
const LLAMA3: &str = "\
{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>

{{ message.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}";

/// One line for each message, with its role. A single message is its content.
const PLAIN: &str = "\
{% if messages | length == 1 %}{{ messages[0].content }}{% else %}{% for message in messages %}{{ message.role }}: {{ message.content }}
{% endfor %}{% endif %}";

/// The names of the built-in templates.
const BUILT_IN: [(&str, &str); 3] = [("chatml", CHATML), ("llama3", LLAMA3), ("plain", PLAIN)];

/// A compiled chat template.
#[derive(Debug)]
pub(super) struct RmTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

impl RmTemplate {
    /// Compiles `template`: the name of a built-in one, or a Jinja template.
    pub(super) fn compile(
        template: &str,
        bos_token: &str,
        eos_token: &str,
    ) -> Result<Self, RemoteError> {
        let wrong = |detail: String| RemoteError::Value { key: "template", detail };
        let built_in = BUILT_IN.iter().find(|(name, _)| *name == template);
        let source = match built_in {
            Some((_, source)) => *source,
            None if template.contains("{{") || template.contains("{%") => template,
            None => {
                let quoted = guerdon_text::quote(template);
                let names = BUILT_IN.map(|(name, _)| name);
                let meant = guerdon_text::did_you_mean(template, names).unwrap_or_default();
                return Err(wrong(format!(
                    "is {quoted}, which is no Jinja template{meant}\n  help: write {}, or a template with `{{{{ … }}}}`",
                    names.map(|name| format!("`{name}`")).join(", ")
                )));
            }
        };
        let mut environment = Environment::new();
        // The settings of transformers, which templates rely on.
        if built_in.is_none() {
            let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
            environment.set_syntax(syntax.map_err(|error| wrong(error.to_string()))?);
        }
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        let source = without_generation_tags(source);
        environment
            .add_template_owned(NAME, source)
            .map_err(|error| wrong(format!("cannot be compiled: {error}")))?;
        Ok(Self { environment, bos_token: bos_token.to_owned(), eos_token: eos_token.to_owned() })
    }

    /// The text of `messages`; with `opens_reply` up to the start of the next reply.
    ///
    /// # Errors
    /// The template's own message, such as for a dialogue that does not alternate.
    pub(super) fn render(&self, messages: &[Message], opens_reply: bool) -> Result<String, String> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => message.role.as_str(), content => &*message.text_with_calls() })
            .collect();
        let rendered = self.environment.get_template(NAME).and_then(|template| {
            template.render(context! {
                messages => messages,
                bos_token => self.bos_token.as_str(),
                eos_token => self.eos_token.as_str(),
                add_generation_prompt => opens_reply,
                tools => Value::from(()),
                documents => Value::from(()),
            })
        });
        rendered.map_err(|error| error.to_string())
    }
}

fn raise_exception(detail: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, detail))
}

/// Replaces `{% generation %}`, which marks the text for a trainer's loss and is no Jinja.
fn without_generation_tags(source: &str) -> String {
    let mut text = source.to_owned();
    for dash in ["", "-"] {
        for end in ["", "-"] {
            let tag = |word: &str| format!("{{%{dash} {word} {end}%}}");
            text = text.replace(&tag("generation"), &tag("if true"));
            text = text.replace(&tag("endgeneration"), &tag("endif"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use guerdon_types::Role;

    use super::*;

    fn dialogue() -> Vec<Message> {
        vec![
            Message::new(Role::System, "Sell."),
            Message::new(Role::User, "How much?"),
            Message::new(Role::Assistant, "420."),
        ]
    }

    fn rendered(template: &str, messages: &[Message], opens_reply: bool) -> String {
        let template = RmTemplate::compile(template, "<s>", "</s>").unwrap();
        template.render(messages, opens_reply).unwrap()
    }

    #[test]
    fn built_in_templates_render_as_their_models_do() {
        assert_eq!(
            rendered("chatml", &dialogue(), false),
            "<|im_start|>system\nSell.<|im_end|>\n<|im_start|>user\nHow much?<|im_end|>\n\
             <|im_start|>assistant\n420.<|im_end|>\n"
        );
        assert_eq!(
            rendered("llama3", &dialogue()[1..2], true),
            "<s><|start_header_id|>user<|end_header_id|>\n\nHow much?<|eot_id|>\
             <|start_header_id|>assistant<|end_header_id|>\n\n"
        );
        assert_eq!(rendered("plain", &dialogue()[1..2], true), "How much?");
        assert_eq!(
            rendered("plain", &dialogue()[1..], false),
            "user: How much?\nassistant: 420.\n"
        );
    }

    #[test]
    fn a_template_of_a_tokenizer_is_rendered_with_its_settings() {
        let template = "{{ bos_token }}\n{% for m in messages %}\n    {% if m.role.startswith('a') %}\nA{{ m['content'].strip() }}{{ eos_token }}\n    {% endif %}\n{% endfor %}\n{%- generation -%}{%- endgeneration -%}";
        let text = rendered(
            &template
                .replace("{%- generation -%}", "{% generation %}")
                .replace("{%- endgeneration -%}", "{% endgeneration %}"),
            &dialogue(),
            false,
        );
        assert_eq!(text, "<s>\nA420.</s>\n");
    }

    #[test]
    fn a_template_that_is_none_is_refused_with_a_suggestion() {
        let error = RmTemplate::compile("chatlm", "", "").unwrap_err().to_string();
        assert!(error.contains("chatml"), "{error}");
        assert!(RmTemplate::compile("{% for %}", "", "").is_err());
    }

    #[test]
    fn a_template_can_refuse_a_dialogue() {
        let template =
            RmTemplate::compile("{{ raise_exception('roles must alternate') }}", "", "").unwrap();
        assert!(template.render(&dialogue(), false).unwrap_err().contains("roles must alternate"));
    }
}
