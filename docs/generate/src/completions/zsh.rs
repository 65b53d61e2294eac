//! zsh, with its `_arguments`.

use std::fmt::Write as _;
use std::io::Write;

use clap::Command;
use clap_complete::Generator;

use super::words::{Choice, Takes, Values, Words, all, signals};

pub struct Zsh;

impl Generator for Zsh {
    fn file_name(&self, name: &str) -> String {
        format!("_{name}")
    }

    fn generate(&self, _: &Command, buffer: &mut dyn Write) {
        let mut text = String::from(HEAD);
        for words in all() {
            text += &function(&words);
        }
        text += TAIL;
        buffer.write_all(text.as_bytes()).expect("a vector takes everything");
    }
}

/// The function that completes what follows a verb.
fn function(words: &Words) -> String {
    let name = name(&words.verb);
    let mut text = format!("{name}() {{\n");
    if words.verbs.is_empty() {
        let _ = writeln!(
            text,
            "    _arguments -s -S{} : \\",
            if words.ends_options { " -A '-*'" } else { "" }
        );
    } else {
        text += "    local context state state_descr line ret=1\n    typeset -A opt_args\n";
        text += "    _arguments -C -s -S -A '-*' : \\\n";
    }
    for option in &words.options {
        for spec in specs(option) {
            let _ = writeln!(text, "        {spec} \\");
        }
    }
    for (index, argument) in words.arguments.iter().enumerate() {
        let place = if argument.repeated {
            "*".to_string()
        } else {
            (index + 1).to_string()
        };
        // A repeated argument is one that has not been given yet, or a signal.
        let action = action(&argument.values);
        let _ = writeln!(
            text,
            "        {} \\",
            quoted(&format!("{place}:{}:{action}", plain(&argument.name)))
        );
    }
    if words.verbs.is_empty() {
        text.truncate(text.trim_end_matches([' ', '\\', '\n']).len());
        return text + "\n}\n\n";
    }
    let mut verbs: Vec<(&str, &str)> = words
        .verbs
        .iter()
        .map(|(name, about)| (name.as_str(), about.as_str()))
        .collect();
    if words.verb.is_empty() {
        verbs.push(("help", "Print the help on a verb"));
    }
    text += "        '1: :->verb' '*:: :->words' && ret=0\n";
    if words.verb.is_empty() {
        text += "    orlop_root=()\n    [[ -z $opt_args[--root] ]] || orlop_root=(--root ${(Q)~opt_args[--root]})\n";
    }
    text += "    case $state in\n        verb)\n            local -a verbs=(\n";
    for (name, about) in &verbs {
        let _ = writeln!(
            text,
            "                {}",
            quoted(&format!("{name}:{}", about.replace('`', "")))
        );
    }
    text += "            )\n            _describe -t verbs verb verbs && ret=0\n            ;;\n        words)\n";
    text += "            case $words[1] in\n";
    for (verb, _) in &words.verbs {
        let inner = [words.verb.as_slice(), std::slice::from_ref(verb)].concat();
        let _ = writeln!(text, "                {verb}) {} && ret=0 ;;", self::name(&inner));
    }
    if words.verb.is_empty() {
        text += "                help) _orlop && ret=0 ;;\n";
    }
    text += "            esac\n            ;;\n    esac\n    return ret\n}\n\n";
    text
}

fn name(verb: &[String]) -> String {
    let words = std::iter::once("_orlop").chain(verb.iter().map(String::as_str));
    words.collect::<Vec<_>>().join("_")
}

/// The specifications of an option for `_arguments`. Its spellings exclude each other, unless it may be repeated.
fn specs(option: &Choice) -> Vec<String> {
    let spellings = option.spellings();
    let exclusion = match option.repeated {
        true => "*".to_string(),
        false => format!("({})", spellings.join(" ")),
    };
    let help = plain(&option.help);
    let value = format!(":value:{}", action(&option.values));
    spellings
        .iter()
        .map(|spelling| {
            let is_long = spelling.starts_with("--");
            quoted(&match option.takes {
                Takes::Nothing => format!("{exclusion}{spelling}[{help}]"),
                Takes::Optional => format!("{exclusion}{spelling}=-[{help}]:{value}"),
                Takes::Required if is_long => format!("{exclusion}{spelling}=[{help}]{value}"),
                Takes::Required => format!("{exclusion}{spelling}+[{help}]{value}"),
            })
        })
        .collect()
}

fn action(values: &Values) -> String {
    match values {
        Values::Anything => " ".into(),
        Values::Files => "_files".into(),
        Values::Directories => "_files -/".into(),
        Values::Containers => "_orlop_containers".into(),
        Values::ContainersAndSignals => format!("_orlop_containers {}", signals().join(" ")),
        Values::Words(words) => format!("({})", words.join(" ")),
    }
}

/// Without what `_arguments` would take for its own.
fn plain(text: &str) -> String {
    let text = text.replace('`', "");
    ['\\', '[', ']', ':']
        .iter()
        .fold(text, |text, c| text.replace(*c, &format!("\\{c}")))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

const HEAD: &str = r#"#compdef orlop
# Completions of orlop for zsh.

# The containers in the state directory that was given. Words that are given may follow the first argument.
_orlop_containers() {
    local -a ids
    ids=(${(f)"$($orlop_program $orlop_root list -q 2>/dev/null)"})
    local -a choices=("containers:container:compadd -a ids")
    (( $# && CURRENT > 2 )) && choices+=("signals:signal:($*)")
    _alternative $choices
}

"#;

const TAIL: &str = r#"local orlop_program=$words[1]
local -a orlop_root
_orlop "$@"
"#;
