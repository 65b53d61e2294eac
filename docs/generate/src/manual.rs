//! Man pages: `orlop(1)`, one page a verb, and `orlop-config(5)`.

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::File;
use crate::verbs::{Verb, program};

/// Written by hand: it describes what no option does.
const CONFIG: &str = include_str!("../orlop-config.5");

/// All pages, with their places below PREFIX.
pub fn files() -> Vec<File> {
    let program = program();
    let page = |verb: &Verb| File {
        path: format!("share/man/man1/{}.1", verb.name("-")),
        text: page(verb, &program),
    };
    let mut files = vec![page(&program)];
    files.extend(program.verbs.iter().map(page));
    files.push(File {
        path: "share/man/man5/orlop-config.5".into(),
        text: CONFIG.into(),
    });
    files
}

/// The page of the program, or of a verb with its own verbs.
fn page(verb: &Verb, program: &Verb) -> String {
    let name = verb.name("-");
    let title = Command::new("orlop").display_name(&name).about(verb.about());
    let man = Man::new(title)
        .title(name.to_uppercase())
        .section("1")
        // None, so that the same sources make the same pages; an empty one would be left out, and the others would move up.
        .date(" ")
        .source(format!("orlop {}", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut head = Vec::new();
    man.render_title(&mut head)
        .and_then(|()| man.render_name_section(&mut head))
        .expect("a vector takes everything");
    let mut text = String::from_utf8(head).expect("clap_mangen writes UTF-8");

    let mut roff = Roff::new();
    // No words are broken, and none are spread: names of options and files stay what they are.
    roff.control("nh", []);
    roff.control("ad", ["l"]);
    synopsis(&mut roff, verb, "SH");
    description(&mut roff, verb, "SH");
    if verb.path.is_empty() {
        roff.control("SH", ["VERBS"]);
        for verb in &verb.verbs {
            roff.control("TP", []);
            roff.text([bold(verb.name("-")), roman("(1)")]);
            roff.text(prose(&verb.about()));
        }
    }
    options(&mut roff, &verb.command, "SH");
    if !verb.path.is_empty() {
        for verb in &verb.verbs {
            roff.control("SH", [verb.name(" ").as_str()]);
            roff.text(prose(&format!("{}.", verb.about())));
            synopsis(&mut roff, verb, "SS");
            description(&mut roff, verb, "SS");
            options(&mut roff, &verb.command, "SS");
            examples(&mut roff, verb, "SS");
        }
    }
    examples(&mut roff, verb, "SH");
    entries(&mut roff, "EXIT STATUS", verb.page.exit_status);
    entries(&mut roff, "ENVIRONMENT", verb.page.environment);
    entries(&mut roff, "FILES", verb.page.files);
    see_also(&mut roff, verb, program);
    text.push_str(&roff.to_roff());
    text
}

/// A title in capitals for a section, as it stands for a part of one.
fn heading(roff: &mut Roff, level: &str, title: &str) {
    match level {
        "SH" => roff.control("SH", [title.to_uppercase().as_str()]),
        _ => roff.control(level, [title]),
    };
}

fn synopsis(roff: &mut Roff, verb: &Verb, level: &str) {
    heading(roff, level, "Synopsis");
    let name = verb.name(" ");
    for (index, usage) in verb.page.usage.iter().enumerate() {
        if index > 0 {
            roff.control("br", []);
        }
        match usage.strip_prefix(&name) {
            Some(rest) => roff.text([bold(&name), roman(rest)]),
            None => roff.text([roman(*usage)]),
        };
    }
}

fn description(roff: &mut Roff, verb: &Verb, level: &str) {
    heading(roff, level, "Description");
    if verb.path.len() == 1 {
        roff.text(prose(&format!("{}.", verb.about())));
        roff.control("PP", []);
    }
    for (index, paragraph) in verb.page.description.trim().split("\n\n").enumerate() {
        if index > 0 {
            roff.control("PP", []);
        }
        for line in paragraph.lines() {
            roff.text(prose(line));
        }
    }
    if verb.path.len() == 1 {
        roff.control("PP", []);
        roff.text([
            roman("Global options, such as "),
            bold("--root"),
            roman(", are written before the verb; see "),
            bold("orlop"),
            roman("(1)."),
        ]);
    }
}

/// Words between backquotes are bold.
fn prose(text: &str) -> Vec<Inline> {
    text.split('`')
        .enumerate()
        .filter(|(_, part)| !part.is_empty())
        .map(|(index, part)| if index % 2 == 1 { bold(part) } else { roman(part) })
        .collect()
}

/// The arguments, and the options in their groups.
fn options(roff: &mut Roff, command: &Command, level: &str) {
    let shown: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set()).collect();
    let positional: Vec<&Arg> = shown.iter().copied().filter(|arg| arg.is_positional()).collect();
    if !positional.is_empty() {
        heading(roff, level, "Arguments");
        for arg in positional {
            option(roff, arg);
        }
    }
    heading(roff, level, "Options");
    let mut last = None;
    let mut groups: Vec<Option<&str>> = Vec::new();
    for arg in &shown {
        if !groups.contains(&arg.get_help_heading()) {
            groups.push(arg.get_help_heading());
        }
    }
    // Those without a heading come first, as in the help.
    groups.sort_by_key(Option::is_some);
    for group in groups {
        for arg in shown
            .iter()
            .filter(|arg| !arg.is_positional() && arg.get_help_heading() == group)
        {
            if last != group {
                last = group;
                match (group, level) {
                    (Some(title), "SH") => heading(roff, "SS", title),
                    (Some(title), _) => {
                        roff.control("PP", []);
                        roff.text([italic(title)]);
                    }
                    (None, _) => {}
                }
            }
            option(roff, arg);
        }
    }
}

fn option(roff: &mut Roff, arg: &Arg) {
    let mut tag = Vec::new();
    if let Some(short) = arg.get_short() {
        tag.push(bold(format!("-{short}")));
    }
    if let Some(long) = arg.get_long() {
        if !tag.is_empty() {
            tag.push(roman(", "));
        }
        tag.push(bold(format!("--{long}")));
    }
    let count = arg.get_num_args().unwrap_or_default();
    if count.takes_values() {
        let names = arg.get_value_names().unwrap_or_default().join(" ");
        match (tag.is_empty(), count.min_values()) {
            (true, _) => tag.push(italic(names)),
            (false, 0) => tag.extend([roman("[="), italic(names), roman("]")]),
            (false, _) => tag.extend([roman(" "), italic(names)]),
        }
        if arg.is_positional() && count.max_values() > 1 {
            tag.push(roman("..."));
        }
    }
    roff.control("TP", []);
    roff.text(tag);
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if !arg.is_hide_default_value_set()
        && let [value] = arg.get_default_values()
        && count.takes_values()
    {
        text += &format!(" [default: {}]", value.to_string_lossy());
    }
    if !arg.is_hide_possible_values_set() && count.takes_values() {
        let values = arg.get_possible_values();
        let values: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
        if !values.is_empty() {
            text += &format!(" [possible values: {}]", values.join(", "));
        }
    }
    roff.text(prose(&text));
}

fn examples(roff: &mut Roff, verb: &Verb, level: &str) {
    heading(roff, level, "Examples");
    for (purpose, lines) in verb.page.examples {
        roff.control("PP", []);
        roff.text(prose(&format!("{purpose}:")));
        roff.control("PP", []);
        roff.control("RS", ["4"]);
        roff.control("nf", []);
        for line in *lines {
            roff.text([roman(*line)]);
        }
        roff.control("fi", []);
        roff.control("RE", []);
    }
}

fn entries(roff: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    if entries.is_empty() {
        return;
    }
    heading(roff, "SH", title);
    for (name, text) in entries {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text(prose(&format!("{text}.")));
    }
}

/// The page of the program names all others; that of a verb names the program's and those of the verbs it mentions.
fn see_also(roff: &mut Roff, verb: &Verb, program: &Verb) {
    let mut names: Vec<(String, &str)> = Vec::new();
    if !verb.path.is_empty() {
        names.push(("orlop".into(), "(1)"));
    }
    let mentions = |name: &str| {
        let parts = [verb.page.description, &verb.about()].join(" ");
        let quoted: Vec<String> = parts.split('`').skip(1).step_by(2).map(str::to_string).collect();
        quoted.iter().any(|words| words.split(' ').any(|word| word == name))
    };
    for other in &program.verbs {
        if verb.path.is_empty() || (other.path != verb.path && mentions(&other.path[0])) {
            names.push((other.name("-"), "(1)"));
        }
    }
    names.push(("orlop-config".into(), "(5)"));
    heading(roff, "SH", "See also");
    let mut line = Vec::new();
    for (name, section) in names {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend([bold(name), roman(section)]);
    }
    roff.text(line);
}
