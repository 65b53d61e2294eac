//! The verbs, as the program declares them.

use orlop::cli::{self, Page};

/// A verb, a verb of a verb, or the program itself.
#[derive(Debug)]
pub struct Verb {
    /// Empty for the program, two words for a verb of a verb.
    pub path: Vec<String>,
    pub command: clap::Command,
    pub page: &'static Page,
    pub verbs: Vec<Verb>,
}

impl Verb {
    /// # Panics
    ///
    /// If a verb has no page. A test of the program finds that first.
    fn new(path: Vec<String>) -> Self {
        let mut command = cli::command(&path).unwrap_or_else(|| panic!("no verb {path:?}"));
        command.build();
        let page = cli::page(&path).unwrap_or_else(|| panic!("src/cli/pages has no page of {path:?}"));
        let names = command.get_subcommands().map(|verb| verb.get_name().to_string());
        let verbs = names
            .filter(|name| !(path.is_empty() && name == "help"))
            .map(|name| Verb::new([path.as_slice(), &[name]].concat()))
            .collect();
        Verb {
            path,
            command,
            page,
            verbs,
        }
    }

    /// `orlop seccomp explain`, or with another character between the words.
    pub fn name(&self, separator: &str) -> String {
        let words: Vec<&str> = std::iter::once("orlop")
            .chain(self.path.iter().map(String::as_str))
            .collect();
        words.join(separator)
    }

    pub fn about(&self) -> String {
        self.command.get_about().map(ToString::to_string).unwrap_or_default()
    }

    /// This verb, and all below it.
    pub fn all(&self) -> Vec<&Verb> {
        let below = self.verbs.iter().flat_map(Verb::all);
        std::iter::once(self).chain(below).collect()
    }
}

/// The program with all its verbs.
pub fn program() -> Verb {
    Verb::new(Vec::new())
}
