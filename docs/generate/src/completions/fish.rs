//! fish: one `complete` command for every word that may stand somewhere.

use std::fmt::Write as _;
use std::io::Write;

use clap::Command;
use clap_complete::Generator;

use super::words::{Argument, Choice, Takes, Values, Words, all, signals};

pub struct Fish;

impl Generator for Fish {
    fn file_name(&self, name: &str) -> String {
        format!("{name}.fish")
    }

    fn generate(&self, _: &Command, buffer: &mut dyn Write) {
        let verbs = all();
        let mut text = format!("{HEAD}{}{WALK}", tables(&verbs));
        for words in &verbs {
            let verb = quoted(&words.verb.join(" "));
            for option in &words.options {
                text += &spelled(&verb, option);
            }
            for (index, argument) in words.arguments.iter().enumerate() {
                text += &spelled_argument(&verb, index, argument);
            }
            let mut list = words.verbs.clone();
            if words.verb.is_empty() {
                list.push(("help".into(), "Print the help on a verb".into()));
            }
            for (name, about) in list {
                let about = quoted(&about.replace('`', ""));
                let _ = writeln!(
                    text,
                    "complete -c orlop -n \"__orlop_argument {verb} 0\" -a {name} -d {about}"
                );
            }
        }
        buffer.write_all(text.as_bytes()).expect("a vector takes everything");
    }
}

fn spelled(verb: &str, option: &Choice) -> String {
    let help = quoted(&option.help.replace('`', ""));
    let long = &option.long;
    let mut after = String::new();
    let words = match (option.takes, &option.values) {
        // fish has no options with an optional value: those with one are words of their own.
        (Takes::Optional, Values::Words(words)) => {
            let forms: Vec<String> = words.iter().map(|word| format!("--{long}={word}")).collect();
            let has_value = format!("string match -q -- '--{long}=*' (commandline -ct)");
            after = format!(
                "complete -c orlop -n \"__orlop_options {verb}; and {has_value}\" -a '{}' -d {help}\n",
                forms.join(" ")
            );
            String::new()
        }
        (Takes::Required, values) => format!(" -r {}", value(values)),
        (Takes::Nothing | Takes::Optional, _) => String::new(),
    };
    let short = option.short.map(|short| format!(" -s {short}")).unwrap_or_default();
    format!("complete -c orlop -n \"__orlop_options {verb}\"{short} -l {long}{words} -d {help}\n{after}")
}

fn spelled_argument(verb: &str, index: usize, argument: &Argument) -> String {
    let from = if argument.repeated {
        format!("{index}-")
    } else {
        index.to_string()
    };
    let mut text = String::new();
    if argument.values != Values::Anything {
        let _ = writeln!(
            text,
            "complete -c orlop -n \"__orlop_argument {verb} {from}\" {}",
            value(&argument.values)
        );
    }
    if argument.values == Values::ContainersAndSignals {
        let signals = signals().join(" ");
        let _ = writeln!(
            text,
            "complete -c orlop -n \"__orlop_argument {verb} 1-\" -xa '{signals}' -d Signal"
        );
    }
    text
}

fn value(values: &Values) -> String {
    match values {
        Values::Anything => "-f".into(),
        Values::Files => "-F".into(),
        Values::Directories => "-xa '(__fish_complete_directories)'".into(),
        Values::Containers | Values::ContainersAndSignals => "-xa '(__orlop_containers)' -d Container".into(),
        Values::Words(words) => format!("-xa '{}'", words.join(" ")),
    }
}

/// What the walk over the words must know.
fn tables(verbs: &[Words]) -> String {
    let mut text = String::from(
        "# Whether an option of a verb has a value, which may be the next word.\nfunction __orlop_has_value\n    switch \"$argv[1]:$argv[2]\"\n",
    );
    for words in verbs {
        let names: Vec<String> = words
            .options
            .iter()
            .filter(|option| option.takes == Takes::Required)
            .flat_map(Choice::spellings)
            .map(|name| quoted(&format!("{}:{name}", words.verb.join(" "))))
            .collect();
        if !names.is_empty() {
            let _ = writeln!(text, "        case {}\n            return 0", names.join(" "));
        }
    }
    text += "    end\n    return 1\nend\n\n# The verbs that may follow a verb.\nfunction __orlop_verbs\n    switch \"$argv[1]\"\n";
    for words in verbs.iter().filter(|words| !words.verbs.is_empty()) {
        let names: Vec<&str> = words.verbs.iter().map(|(name, _)| name.as_str()).collect();
        let help = if words.verb.is_empty() { " help" } else { "" };
        let _ = writeln!(
            text,
            "        case {}\n            string split ' ' '{}{help}'",
            quoted(&words.verb.join(" ")),
            names.join(" ")
        );
    }
    text += "    end\nend\n\n# Whether what follows the first argument of a verb is a program with its arguments.\nfunction __orlop_ends_options\n    contains -- \"$argv[1]\"";
    for words in verbs.iter().filter(|words| words.ends_options) {
        let _ = write!(text, " {}", quoted(&words.verb.join(" ")));
    }
    text + "\nend\n\n"
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

const HEAD: &str = "# Completions of orlop for fish.\n\n";

const WALK: &str = r#"# Walks over the words before the cursor. Prints the verb, how many arguments follow it, whether options may still follow, and
# the state directory.
function __orlop_walk
    set -l words (commandline -opc)
    set -l verb ''
    set -l arguments 0
    set -l options yes
    set -l root
    set -l expected
    for word in $words[2..-1]
        if test -n "$expected"
            test "$verb:$expected" = ':--root'; and set root (string replace -r '^~' $HOME -- $word)
            set expected
        else if test $options = yes; and test "$word" = --
            set options no
        else if test $options = yes; and string match -q -- '-?*' $word
            set -l option (string split -m 1 = -- $word)
            if string match -qr -- '^-[^-].' $option[1]
                # A long option may have one dash, and letters may be joined, as in -it.
                if __orlop_has_value "$verb" -$option[1]
                    set option[1] -$option[1]
                else
                    set option[1] -(string sub -s -1 -- $option[1])
                end
            end
            if set -q option[2]
                test "$verb:$option[1]" = ':--root'; and set root $option[2]
            else if __orlop_has_value "$verb" $option[1]
                set expected $option[1]
            end
        else if test $arguments = 0; and contains -- $word (__orlop_verbs "$verb")
            test $word = help; or set verb (string trim "$verb $word")
        else
            set arguments (math $arguments + 1)
            __orlop_ends_options "$verb"; and set options no
        end
    end
    printf '%s\n' "$verb" $arguments $options $root
end

# Whether options of this verb may follow.
function __orlop_options
    set -l walk (__orlop_walk)
    test "$walk[1]" = "$argv[1]"; and test $walk[3] = yes
end

# Whether an argument of this verb follows that has this number, or a greater one (1-).
function __orlop_argument
    set -l walk (__orlop_walk)
    test "$walk[1]" = "$argv[1]"; or return 1
    # An option and its value after an equals sign are one word.
    test $walk[3] = yes; and string match -q -- '-*' (commandline -ct); and return 1
    if string match -q '*-' $argv[2]
        test $walk[2] -ge (string trim -rc - $argv[2])
    else
        test $walk[2] = $argv[2]
    end
end

# The containers in the state directory that was given.
function __orlop_containers
    set -l walk (__orlop_walk)
    set -l root
    set -q walk[4]; and set root --root $walk[4]
    set -l program (commandline -opc)[1]
    command $program $root list -q 2>/dev/null
end

complete -c orlop -f
"#;
