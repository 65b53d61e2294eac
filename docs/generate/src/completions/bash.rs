//! bash. The script walks over the words before the cursor with tables of the verbs, as the program itself would.

use std::fmt::Write as _;
use std::io::Write;

use clap::Command;
use clap_complete::Generator;

use super::words::{Takes, Values, Words, all, signals};

pub struct Bash;

impl Generator for Bash {
    fn file_name(&self, name: &str) -> String {
        name.into()
    }

    fn generate(&self, _: &Command, buffer: &mut dyn Write) {
        let verbs = all();
        let text = format!("{HEAD}{}{}{}{TAIL}", follow(&verbs), values(&verbs), arguments(&verbs));
        buffer.write_all(text.as_bytes()).expect("a vector takes everything");
    }
}

/// What the script says of a kind of value.
fn kind(values: &Values) -> String {
    match values {
        Values::Anything => "nothing".into(),
        Values::Files => "files".into(),
        Values::Directories => "directories".into(),
        Values::Containers => "containers".into(),
        Values::ContainersAndSignals => format!("containers={}", signals().join(" ")),
        Values::Words(words) => format!("={}", words.join(" ")),
    }
}

/// The verbs and the options that may follow a verb.
fn follow(verbs: &[Words]) -> String {
    let mut text =
        String::from("# The options and the verbs that may follow a verb.\n_orlop_follow() {\n    case \"$1\" in\n");
    for verb in verbs {
        let options: Vec<String> = verb
            .options
            .iter()
            .flat_map(|option| {
                let end = if option.takes == Takes::Optional { "=" } else { "" };
                [
                    Some(format!("--{}", option.long)),
                    (!end.is_empty()).then(|| format!("--{}=", option.long)),
                ]
            })
            .flatten()
            .collect();
        let words: Vec<&str> = verb.verbs.iter().map(|(name, _)| name.as_str()).collect();
        let _ = writeln!(
            text,
            "        '{}') options='{}' verbs='{}{}' ;;",
            verb.verb.join(" "),
            options.join(" "),
            words.join(" "),
            if verb.verb.is_empty() { " help" } else { "" },
        );
    }
    text + "        *) options= verbs= ;;\n    esac\n}\n\n"
}

/// What completes the value of an option.
fn values(verbs: &[Words]) -> String {
    let mut text = String::from(
        "# What completes the value of an option of a verb; empty if it has none.\n_orlop_value() {\n    case \"$1:$2\" in\n",
    );
    for verb in verbs {
        for option in verb.options.iter().filter(|option| option.takes != Takes::Nothing) {
            let names: Vec<String> = match option.takes {
                // Only with an equals sign: the next word is another one.
                Takes::Optional => vec![format!("'{}:--{}='", verb.verb.join(" "), option.long)],
                _ => option
                    .spellings()
                    .iter()
                    .map(|name| format!("'{}:{name}'", verb.verb.join(" ")))
                    .collect(),
            };
            let _ = writeln!(text, "        {}) kind='{}' ;;", names.join("|"), kind(&option.values));
        }
    }
    text + "        *) kind= ;;\n    esac\n}\n\n"
}

/// What completes an argument, which has a number from 0 on.
fn arguments(verbs: &[Words]) -> String {
    let mut text = String::from(
        "# What completes an argument of a verb, and whether the words after it are options of the verb.\n_orlop_argument() {\n    case \"$1:$2\" in\n",
    );
    for verb in verbs {
        for (index, argument) in verb.arguments.iter().enumerate() {
            let verb = verb.verb.join(" ");
            let pattern = match argument.repeated {
                true => format!("'{verb}:'*"),
                false => format!("'{verb}:{index}'"),
            };
            let kind = match (&argument.values, index) {
                (Values::ContainersAndSignals, 0) if argument.repeated => {
                    let _ = writeln!(text, "        '{verb}:0') kind='containers' ;;");
                    kind(&argument.values)
                }
                (values, _) => kind(values),
            };
            let _ = writeln!(text, "        {pattern}) kind='{kind}' ;;");
        }
    }
    text += "        *) kind=nothing ;;\n    esac\n    case $1 in\n";
    for verb in verbs.iter().filter(|verb| verb.ends_options) {
        let _ = writeln!(text, "        '{}') ends_options=1 ;;", verb.verb.join(" "));
    }
    text + "    esac\n}\n\n"
}

const HEAD: &str = "# Completions of orlop for bash.\n\n";

const TAIL: &str = r#"# Fills COMPREPLY with what completes a word.
_orlop_complete() {
    local kind=$1 word=$2 before
    case $kind in
        files)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            ;;
        directories)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            ;;
        containers*)
            kind=${kind#containers}
            kind="${kind#=} $("$program" "${root[@]}" list -q 2>/dev/null)"
            mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$word")
            ;;
        =*) mapfile -t COMPREPLY < <(compgen -W "${kind#=}" -- "$word") ;;
    esac
    # readline replaces only what follows a colon.
    if [[ $COMP_WORDBREAKS == *:* ]]; then
        before=${word%"${word##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"$before"}")
    fi
}

_orlop() {
    COMPREPLY=()
    local program=${COMP_WORDS[0]} word last= index
    local -a root=() words=()
    # readline splits words at equals signs and colons: put them together again.
    for ((index = 1; index <= COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if [[ $word == [=:]* || $last == [=:] ]] && ((${#words[@]})); then
            words[-1]+=$word
        else
            words+=("$word")
        fi
        last=$word
    done
    word=${words[-1]}
    unset 'words[-1]'

    local verb= options= verbs= kind= option= expected= ends_options= only_arguments= arguments=0 before
    _orlop_follow ''
    for before in "${words[@]}"; do
        if [[ $expected ]]; then
            [[ $verb:$option == :--root ]] && root=(--root "${before/#\~/$HOME}")
            expected=
        elif [[ -z $only_arguments && $before == -- ]]; then
            only_arguments=1
        elif [[ -z $only_arguments && $before == -?* ]]; then
            option=${before%%=*}
            if [[ $option == -[^-]?* ]]; then
                # A long option may have one dash, and letters may be joined, as in -it.
                _orlop_value "$verb" "-$option"
                [[ $kind ]] && option=-$option || option=-${option: -1}
            fi
            _orlop_value "$verb" "$option"
            if [[ $before == *=* ]]; then
                [[ $verb:$option == :--root ]] && root=(--root "${before#*=}")
            elif [[ $kind ]]; then
                expected=$kind
            fi
        elif [[ $arguments == 0 && " $verbs " == *" $before "* ]]; then
            [[ $before == help ]] || verb=${verb:+$verb }$before
            _orlop_follow "$verb"
        else
            arguments=$((arguments + 1))
            _orlop_argument "$verb" "$arguments"
            [[ $ends_options ]] && only_arguments=1
        fi
    done

    if [[ $expected ]]; then
        _orlop_complete "$expected" "$word"
    elif [[ -z $only_arguments && $word == -*=* ]]; then
        _orlop_value "$verb" "${word%%=*}"
        [[ $kind ]] || _orlop_value "$verb" "${word%%=*}="
        _orlop_complete "$kind" "${word#*=}"
        # If readline does not split there, it replaces the whole word.
        [[ $COMP_WORDBREAKS == *=* ]] || COMPREPLY=("${COMPREPLY[@]/#/${word%%=*}=}")
    elif [[ -z $only_arguments && $word == -* ]]; then
        _orlop_complete "=$options" "$word"
        [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    elif [[ $arguments == 0 && $verbs ]]; then
        _orlop_complete "=$verbs" "$word"
    else
        _orlop_argument "$verb" "$arguments"
        _orlop_complete "$kind" "$word"
    fi
}

complete -F _orlop orlop
"#;
