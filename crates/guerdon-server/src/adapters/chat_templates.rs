//! The templates that are known, each by its marks: ChatML (Qwen's too), Llama 3, Gemma, Mistral (Llama 2's too).

use guerdon_types::Role;

/// One turn, where it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Turn<'a> {
    pub(super) role: Role,
    pub(super) content: &'a str,
    /// Whether no mark ends it.
    pub(super) open: bool,
}

/// The turns of `text`; `None` if it has no template's marks, or marks that do not fit together. Text before the first
/// mark is the end of a turn that was cut off, and is dropped.
pub(super) fn turns(text: &str) -> Option<Vec<Turn<'_>>> {
    let headed = HEADED.iter().filter_map(|marks| Some((text.find(marks.start)?, Some(marks))));
    let bracketed = BRACKETS.iter().filter_map(|(open, ..)| Some((text.find(open)?, None)));
    // Whose mark comes first: a later one of another template is what somebody said.
    let (first, marks) = headed.chain(bracketed).min_by_key(|(place, _)| *place)?;
    let text = text.get(first..)?;
    match marks {
        Some(marks) => headed_turns(text, marks),
        None => bracketed_turns(text),
    }
}

/// A template that puts a head with the speaker's role on each turn.
struct Marks {
    start: &'static str,
    head_end: &'static str,
    /// Written between a head and its content.
    gap: &'static str,
    ends: &'static [&'static str],
}

const HEADED: [Marks; 3] = [
    Marks { start: "<|im_start|>", head_end: "\n", gap: "", ends: &["<|im_end|>"] },
    Marks {
        start: "<|start_header_id|>",
        head_end: "<|end_header_id|>",
        gap: "\n\n",
        ends: &["<|eot_id|>", "<|eom_id|>"],
    },
    Marks { start: "<start_of_turn>", head_end: "\n", gap: "", ends: &["<end_of_turn>"] },
];

fn headed_turns<'a>(text: &'a str, marks: &Marks) -> Option<Vec<Turn<'a>>> {
    let mut turns = Vec::new();
    for piece in text.split(marks.start).skip(1) {
        let (role, body) = piece.split_once(marks.head_end)?;
        let body = body.strip_prefix(marks.gap).unwrap_or(body);
        let end = marks.ends.iter().filter_map(|end| body.find(end)).min();
        let content = end.map_or(body, |end| &body[..end]);
        turns.extend(unframed(Turn { role: role_of(role.trim())?, content, open: end.is_none() }));
    }
    Some(turns)
}

/// The speakers, as templates call them.
fn role_of(name: &str) -> Option<Role> {
    match name {
        "system" | "developer" => Some(Role::System),
        "user" => Some(Role::User),
        "assistant" | "model" => Some(Role::Assistant),
        "tool" | "ipython" | "function" | "observation" => Some(Role::Tool),
        _ => None,
    }
}

/// A turn without what its template adds to what was said: the dates with which Llama 3 opens its system turn, which
/// is none if nothing else is in it, and the frame in which Qwen puts a tool's answer into a user's turn.
fn unframed(turn: Turn<'_>) -> Option<Turn<'_>> {
    match turn.role {
        Role::System if turn.content.starts_with("Cutting Knowledge Date: ") => {
            let (_, content) = turn.content.split_once("\n\n")?;
            (!content.is_empty()).then_some(Turn { content, ..turn })
        }
        Role::User => {
            let inner = turn.content.strip_prefix("<tool_response>\n");
            let inner =
                inner.and_then(|content| content.trim_end().strip_suffix("\n</tool_response>"));
            Some(inner.map_or(turn, |content| Turn { role: Role::Tool, content, ..turn }))
        }
        _ => Some(turn),
    }
}

/// Mistral's brackets, and who speaks in them; nobody does in the list of tools.
const BRACKETS: [(&str, &str, Option<Role>); 4] = [
    ("[INST]", "[/INST]", Some(Role::User)),
    ("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", Some(Role::System)),
    ("[TOOL_RESULTS]", "[/TOOL_RESULTS]", Some(Role::Tool)),
    ("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", None),
];

/// Mistral: what stands in no brackets is the assistant's.
fn bracketed_turns(text: &str) -> Option<Vec<Turn<'_>>> {
    let mut turns = Vec::new();
    let mut rest = text;
    let mut asked = false;
    while !rest.is_empty() || asked {
        rest = rest.trim_start().strip_prefix("<s>").unwrap_or(rest);
        let bracket = BRACKETS.iter().find_map(|(open, close, role)| {
            Some((rest.trim_start().strip_prefix(open)?, close, role))
        });
        if let Some((body, close, role)) = bracket {
            let (content, after) = body.split_once(close)?;
            if let Some(role) = role {
                push_bracketed(&mut turns, *role, content);
            }
            asked = matches!(role, Some(Role::User | Role::Tool));
            rest = after;
            continue;
        }
        let end = rest.find("</s>");
        let until = BRACKETS
            .iter()
            .filter_map(|(open, ..)| rest.find(open))
            .chain(end)
            .min()
            .unwrap_or(rest.len());
        let content = rest[..until].strip_prefix(' ').unwrap_or(&rest[..until]);
        if asked || !content.trim().is_empty() {
            turns.push(Turn { role: Role::Assistant, content, open: end != Some(until) });
        }
        asked = false;
        rest = rest[until..].strip_prefix("</s>").unwrap_or(&rest[until..]);
    }
    Some(turns)
}

/// Llama 2 puts the system's turn into the first user's.
fn push_bracketed<'a>(turns: &mut Vec<Turn<'a>>, role: Role, content: &'a str) {
    let closed = |role, content: &'a str| Turn { role, content: content.trim(), open: false };
    let system = content
        .trim_start()
        .strip_prefix("<<SYS>>")
        .and_then(|framed| framed.split_once("<</SYS>>"));
    match system {
        Some((system, said)) if role == Role::User => {
            turns.extend([closed(Role::System, system), closed(Role::User, said)]);
        }
        _ => turns.push(closed(role, content)),
    }
}
